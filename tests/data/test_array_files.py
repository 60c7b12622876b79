"""Images in NumPy files: types, scales, layouts, and what looks like another scale or layout."""

import numpy as np
import pytest

from jaxcreativity import data


def _rows(x):
    return {image.tobytes() for image in x}


def test_array_files_of_bytes_and_floats(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 5, 4), np.uint8)
    np.save(tmp_path / "bytes.npy", pixels)
    loaded = data.load(tmp_path / "bytes.npy")
    assert loaded.shape == (5, 4, 1)
    np.savez(tmp_path / "floats.npz", images=pixels[..., None] / 127.5 - 1, labels=np.arange(10))
    floats = data.load(tmp_path / "floats.npz")
    np.testing.assert_allclose(floats.train, loaded.train, atol=1e-6)
    np.testing.assert_allclose(floats.train[:, 0, 0, 0], pixels[floats.train_labels, 0, 0] / 127.5 - 1, atol=1e-6)
    assert set(floats.train_labels) | set(floats.test_labels) == set(range(10))


BAD_ARRAYS = {
    "integers": (np.zeros((4, 3, 3), np.int64), r"must be uint8 or floating point in \[-1, 1\], got int64"),
    "16 bits": (np.full((4, 3, 3), 300, np.uint16), r"got uint16; value_range=\(0, 65535\) tells which"),
    "booleans": (np.ones((4, 3, 3), bool), r"got bool; value_range=\(0, 1\) tells which"),
    "complex": (np.ones((4, 3, 3), complex), "must be real numbers, got complex128"),
    "range": (np.full((4, 3, 3), 2.0), r"must lie in \[-1, 1\], got values from 2.0 to 2.0; .*value_range=\(0, 2.0\)"),
    "unit interval": (
        np.linspace(0, 1, 36).reshape(4, 3, 3),
        r"as if scaled to \[0, 1\]: save 2 \* images - 1, or value",
    ),
    "bits in bytes": (np.eye(4, dtype=np.uint8)[None].repeat(4, 0), r"none is above 1: value_range=\(0, 1\)"),
    "nan": (np.full((4, 3, 3), np.nan), "got values from nan"),
    "one colour image": (np.zeros((16, 16, 3), np.uint8), r"looks like one colour image; .* \(n, height, width"),
    "small channels first": (-np.ones((5, 3, 4, 4)), r"channels came first \(3 of 4x4 pixels\).*np.moveaxis"),
    "small grey first": (-np.ones((5, 1, 2, 2)), "channels came first"),
    "rank": (np.zeros((4, 3)), r"\(n, height, width\)"),
    "channels first": (np.zeros((4, 3, 8, 8)), "channels last"),
    "empty": (np.zeros((0, 3, 3)), r"got \(0, 3, 3, 1\)"),
    "one image": (-np.ones((1, 3, 3)), "at least 2"),
    "objects": (np.array([None, 1], object), "cannot read images"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_are_refused(case, tmp_path):
    array, message = BAD_ARRAYS[case]
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(ValueError, match=message):
        data.load(tmp_path / "bad.npy")


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [(np.uint16, 0, 65535), (np.int64, -4, 4), (np.uint8, 0, 1), (np.float64, 0, 1), (np.float32, 0, 255.0)],
)
def test_value_range_becomes_minus_one_to_one(tmp_path, dtype, low, high):
    rng = np.random.default_rng(0)
    values = (
        rng.uniform(low, high, (12, 5, 4))
        if dtype in (np.float32, np.float64)
        else rng.integers(low, high + 1, (12, 5, 4))
    )
    values[:, 0, :2] = low, high
    np.savez(tmp_path / "x.npz", images=values.astype(dtype), labels=np.arange(12))
    loaded = data.load(tmp_path / "x.npz", value_range=(low, high))
    expected = np.interp(values.astype(dtype).astype(np.float64), (low, high), (-1, 1))[..., None]
    for images, labels in ((loaded.train, loaded.train_labels), (loaded.test, loaded.test_labels)):
        np.testing.assert_allclose(images, expected[labels], atol=4 * np.finfo(np.float32).eps)
    assert (loaded.train.min(), loaded.train.max()) == (-1, 1)
    with pytest.raises(ValueError, match=r"must lie in value_range=.*, got values from"):
        data.load(tmp_path / "x.npz", value_range=(low, high - 0.5))


def test_scales_that_are_said_are_taken_as_they_are(tmp_path):
    values = np.random.default_rng(0).random((12, 5, 4), np.float32)
    np.save(tmp_path / "x.npy", values)
    assert _rows(data.load(tmp_path / "x.npy", value_range=(-1, 1)).train) < _rows(values)
    pixels = np.random.default_rng(0).integers(0, 2, (12, 5, 4), np.uint8)
    np.save(tmp_path / "x.npy", pixels)
    found = data.load(tmp_path / "x.npy", value_range=(0, 255)).train
    np.testing.assert_allclose(np.unique(found), [-1, 1 / 127.5 - 1], rtol=1e-6)
    np.save(tmp_path / "x.npy", pixels[..., None].repeat(4, -1))
    assert data.load(tmp_path / "x.npy", value_range=(0, 1)).shape == (5, 4, 4)


@pytest.mark.parametrize(
    ("what", "value_range", "message"),
    [
        ("digits", (0, 1), "value_range is for array files; 'digits' is none"),
        (".", (0, 1), r"value_range is for array files; '\.' is none"),
        ("digits", (1, 0), r"value_range must be two numbers, the lower one first, got \(1, 0\)"),
        ("digits", (0, np.nan), "value_range must be two numbers"),
    ],
)
def test_bad_value_ranges_are_refused(what, value_range, message):
    with pytest.raises(ValueError, match=message):
        data.load(what, value_range=value_range)


def test_bad_archives_are_refused(tmp_path):
    x = -np.ones((4, 3, 3))
    path = tmp_path / "bad.npz"
    np.savez(path, pixels=x)
    with pytest.raises(ValueError, match=r"keys \['pixels'\], but not 'images'"):
        data.load(path)
    np.savez(path, images=x, labels=np.arange(3))
    with pytest.raises(ValueError, match=r"labels in .* must be 4 integers"):
        data.load(path)
    np.savez(path, images=x, labels=np.zeros(4))
    with pytest.raises(ValueError, match=r"labels in .* must be 4 integers"):
        data.load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot read images from"):
        data.load(path)
    (tmp_path / "image.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"neither \.npy nor \.npz"):
        data.load(tmp_path / "image.png")
