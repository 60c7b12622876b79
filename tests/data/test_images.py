"""Images by name, folder, file and TFDS set: content, split, resizing, cache, and every kind of bad input."""

import importlib.util
import itertools
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcreativity import data
from jaxcreativity.data import _embedded as embedded
from jaxcreativity.data import _files as files
from jaxcreativity.data import _tfds_images as tfds_images
from jaxcreativity.data import loading

EMBEDDED = {"digits": (1797, (8, 8, 1)), "natural_patches": (12_071, (16, 16, 1)), "faces": (100, (25, 25, 1))}
every_embedded = pytest.mark.parametrize("name", EMBEDDED)


def _rows(x):
    return {image.tobytes() for image in x}


def _save(folder, name, pixels, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    """Twelve colour images of 6x6, each of one grey level but for one red pixel."""
    root = tmp_path / "pictures"
    for i in range(12):
        pixels = np.full((6, 6, 3), 10 * i, np.uint8)
        pixels[0, 0] = (255, 0, 0)
        _save(root, f"sub{i % 3}/{i:02d}.png", pixels)
    return root


# --- embedded sets ------------------------------------------------------------------------------------------------


@every_embedded
def test_embedded_set_is_scaled_split_and_disjoint(name):
    count, shape = EMBEDDED[name]
    loaded = data.load(name)
    assert loaded.name == name
    assert loaded.shape == shape == loaded.test.shape[1:]
    assert loaded.train.dtype == loaded.test.dtype == np.float32
    assert len(loaded.train) + len(loaded.test) == count
    assert 0.13 < len(loaded.test) / count < 0.17
    assert loaded.train.min() == -1
    assert loaded.train.max() == 1
    assert not _rows(loaded.train) & _rows(loaded.test)
    assert name in repr(loaded)
    assert str(loaded.train.shape) in repr(loaded)


@every_embedded
def test_same_arguments_give_the_same_arrays_and_other_seeds_others(name):
    a, b, c = data.load(name, seed=3), data.load(name, seed=3), data.load(name, seed=4)
    np.testing.assert_array_equal(a.train, b.train)
    np.testing.assert_array_equal(a.test, b.test)
    assert _rows(a.test) != _rows(c.test)


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    raw, loaded = load_digits(), data.load("digits")
    pixels = (raw.images[..., None] / 8 - 1).astype(np.float32)
    label_of = {image.tobytes(): label for image, label in zip(pixels, raw.target, strict=True)}
    for x, labels in ((loaded.train, loaded.train_labels), (loaded.test, loaded.test_labels)):
        np.testing.assert_array_equal([label_of[image.tobytes()] for image in x], labels)


def test_faces_are_faces_only():
    from skimage.data import lfw_subset

    loaded = data.load("faces")
    expected = _rows((2 * lfw_subset()[:100, ..., None] - 1).astype(np.float32))
    assert _rows(loaded.train) | _rows(loaded.test) == expected
    assert loaded.train_labels is loaded.test_labels is None


def test_natural_patches_are_tiles_held_out_in_bands():
    """Every tile is where it says it is in a photograph; of the pairs of neighbours few are split."""
    source = embedded.natural_patches()
    tiles, _ = source.read(np.arange(source.count))
    with Image.open(embedded._file("skimage.data", "camera.png")) as photograph:
        camera = np.asarray(photograph.convert("L"))
    where = {tile.tobytes(): i for i, tile in enumerate(tiles)}
    rows, held_out = source.split(np.random.default_rng(0), 0.15)
    assert sorted([*rows, *held_out]) == list(range(source.count))
    is_held_out = np.isin(np.arange(source.count), held_out)
    grid = [[where.get(camera[r : r + 16, c : c + 16].tobytes()) for c in range(0, 512, 16)] for r in range(0, 512, 16)]
    columns = [{is_held_out[i] for i in column if i is not None} for column in zip(*grid, strict=True)]
    assert sum(i is not None for row in grid for i in row) > 900
    assert all(len(column) == 1 for column in columns)  # a column of tiles is on one side
    sides = [column.pop() for column in columns]
    assert sum(a != b for a, b in itertools.pairwise(sides)) in (1, 2)
    assert sum(sides) == round(0.15 * 32)


def test_num_images_takes_a_nested_random_part_and_keeps_the_test_set():
    small, large, full = (data.load("digits", num_images=n) for n in (20, 50, None))
    np.testing.assert_array_equal(large.train[:20], small.train)
    assert _rows(large.train) < _rows(full.train)
    np.testing.assert_array_equal(large.test, full.test)
    assert len(set(large.train_labels.tolist())) > 5  # not the head of a sorted set
    assert not np.array_equal(data.load("digits", num_images=20, seed=1).train, small.train)


def test_test_fraction_is_obeyed():
    assert len(data.load("digits", test_fraction=0.5).test) in (898, 899)
    assert len(data.load("faces", test_fraction=1e-6).test) == 1
    assert len(data.load("faces", test_fraction=1 - 1e-6).train) == 1


# --- resizing -----------------------------------------------------------------------------------------------------


@every_embedded
@pytest.mark.parametrize("size", [5, 32])
def test_image_size_resizes_and_keeps_the_range_and_the_mean(name, size):
    native, resized = (data.load(name, image_size=s, num_images=40) for s in (None, size))
    assert resized.train.shape == (40, size, size, native.shape[2])
    assert resized.train.min() >= -1
    assert resized.train.max() <= 1
    means = native.train.mean((1, 2, 3)), resized.train.mean((1, 2, 3))
    assert np.corrcoef(*means)[0, 1] > 0.95


def test_resizing_is_antialiased(tmp_path):
    """A checkerboard of single pixels has no detail that a smaller image can hold: it turns grey."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    np.save(tmp_path / "boards.npy", np.stack([board * (i / 255) for i in range(1, 9)]).astype(np.float32) / 9)
    loaded = data.load(tmp_path / "boards.npy", image_size=9, value_range=(-1, 1))
    for image in loaded.train:
        assert image.std() < 0.06 * image.mean()


def test_resizing_crops_to_the_centre(tmp_path):
    for i in range(4):  # only the central square is not black
        pixels = np.zeros((8, 20, 3), np.uint8)
        pixels[:, 6:14] = 100 + i
        _save(tmp_path, f"{i}.png", pixels)
    loaded = data.load(tmp_path, image_size=4)
    assert loaded.shape == (4, 4, 1)
    assert loaded.train.min() >= 100 / 127.5 - 1 - 1e-6


# --- folders ------------------------------------------------------------------------------------------------------


def test_folder_is_read_recursively(folder):
    loaded = data.load(folder, test_fraction=0.25)
    assert loaded.train.shape == (9, 6, 6, 3)
    assert loaded.test.shape == (3, 6, 6, 3)
    levels = np.concatenate([loaded.train, loaded.test])[:, 3, 3, 0]
    np.testing.assert_allclose(np.sort(levels), 10 * np.arange(12) / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(loaded.train[:, 0, 0], np.tile([1, -1, -1], (9, 1)))
    np.testing.assert_array_equal(data.load(str(folder), test_fraction=0.25).train, loaded.train)


def test_folder_reads_every_format_and_mode(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)
    for suffix in ("png", "jpg", "JPEG", "bmp", "gif", "webp", "tif", "tiff"):
        _save(tmp_path, f"image.{suffix}", colours)
    for mode in ("1", "L", "P", "CMYK", "LA", "RGBA"):
        path = tmp_path / f"mode_{mode}.{'tif' if mode == 'CMYK' else 'png'}"
        Image.fromarray(np.roll(colours, 1, axis=0)).convert(mode).save(path)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image")
    source = files.folder(tmp_path)
    assert source.count == 14
    pixels, labels = source.read(np.arange(14))
    assert pixels.shape == (14, 5, 5, 3)
    assert labels is None
    exact = [p.name for p in sorted(tmp_path.glob("[im]*"))].index("image.bmp")
    np.testing.assert_array_equal(pixels[exact], colours)


def test_folder_of_grey_images_has_one_channel(tmp_path):
    for i in range(3):
        _save(tmp_path, f"{i}.png", np.full((4, 4), 80 * i))
        _save(tmp_path, f"rgb{i}.png", np.full((4, 4, 3), 80 * i + 7))  # grey, stored as colour
    assert data.load(tmp_path).shape == (4, 4, 1)
    _save(tmp_path, "colour.png", np.broadcast_to(np.array([9, 8, 7], np.uint8), (4, 4, 3)))
    assert data.load(tmp_path).shape == (4, 4, 3)


def test_transparency_is_laid_over_white_and_16_bits_are_scaled(tmp_path):
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = (10, 20, 30, 255)
    _save(tmp_path, "a.png", rgba)
    Image.fromarray(np.array([[0, 257], [32896, 65535]], np.uint16)).save(tmp_path / "b.png")
    pixels, _ = files.folder(tmp_path).read(np.arange(2))
    np.testing.assert_array_equal(pixels[0].reshape(4, 3), [(10, 20, 30)] + 3 * [(255,) * 3])
    np.testing.assert_array_equal(pixels[1][..., 0].ravel(), [0, 1, 128, 255])


def test_16_bits_of_every_layout_are_rounded(tmp_path):
    """Against the written 16-bit values, divided by 257 = 65535 / 255 and rounded."""
    import tifffile

    rng = np.random.default_rng(0)
    colours, grey = (rng.integers(0, 65536, (5, 4, *c), np.uint16) for c in ((3,), ()))
    # Of these Pillow's upper byte alone is wrong: 65535 / 2 rounds up.
    colours[0, 0] = (255, 256, 32767 + 129)
    written = {"a.png": colours, "b.tif": colours[::-1], "c.tif": colours[:, ::-1], "d.png": grey}
    _save_png16(tmp_path / "a.png", colours)
    tifffile.imwrite(tmp_path / "b.tif", written["b.tif"], photometric="rgb")
    tifffile.imwrite(tmp_path / "c.tif", written["c.tif"], photometric="rgb", compression="zlib", byteorder=">")
    Image.fromarray(grey).save(tmp_path / "d.png")
    opaque = np.concatenate([colours, np.full((5, 4, 1), 65535, np.uint16)], axis=-1)
    written["e.png"] = colours
    _save_png16(tmp_path / "e.png", opaque, colour_type=6)
    pixels, _ = files.folder(tmp_path).read(np.arange(5))
    for found, values in zip(pixels, written.values(), strict=True):
        expected = np.round(values.reshape(5, 4, -1) / 257)
        np.testing.assert_array_equal(found, np.broadcast_to(expected, (5, 4, 3)))


def _save_png16(path, pixels, colour_type=2):
    """A PNG of 16 bits a channel, which Pillow cannot write."""
    chunk = lambda kind, body: (  # noqa: E731
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    )
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def test_links_are_followed_and_dangling_ones_are_named(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    _save(elsewhere, "linked.png", np.zeros((6, 6, 3)))
    (folder / "set").symlink_to(elsewhere)
    (folder / "loop").symlink_to(folder)
    assert files.folder(folder).count == 13
    (folder / "lost.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match=r"1 of 14 image files cannot be read(.|\n)*lost\.png"):
        data.load(folder)


def test_held_out_copies_of_training_images_are_dropped(tmp_path):
    for i in range(20):
        _save(tmp_path, f"{i:02d}.png", np.full((4, 4), i // 2))  # every image twice
    loaded = data.load(tmp_path, test_fraction=0.5)
    assert not _rows(loaded.train) & _rows(loaded.test)
    assert 0 < len(loaded.test) < 10


def test_folder_without_one_size_needs_image_size(folder):
    _save(folder, "large.png", np.zeros((9, 7, 3)))
    with pytest.raises(ValueError, match=r"2 sizes \(6x6, 9x7\); pass image_size"):
        data.load(folder)
    assert data.load(folder, image_size=5).shape == (5, 5, 3)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_unreadable_image_files_are_named(folder, damage, suffix):
    path = _save(folder, f"bad.{suffix}", np.random.default_rng(0).integers(0, 256, (6, 6, 3)))
    content = path.read_bytes()
    path.write_bytes({"truncated": content[: len(content) * 2 // 3], "empty": b"", "text": b"not an image" * 9}[damage])
    with pytest.raises(ValueError, match=rf"1 of 13 image files cannot be read(.|\n)*bad\.{suffix}"):
        data.load(folder)


def test_float_image_files_are_refused(folder):
    Image.fromarray(np.zeros((6, 6), np.float32)).save(folder / "float.tif")
    with pytest.raises(ValueError, match=r"float\.tif: pixels of type F"):
        data.load(folder)


# --- arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test_fraction": 0.0}, "test_fraction must lie strictly between 0 and 1, got 0"),
        ({"test_fraction": 1.0}, "test_fraction"),
        ({"test_fraction": float("nan")}, "test_fraction"),
        ({"num_images": 86}, "num_images=86, but 'faces' has 85 training images"),
        ({"num_images": 0}, "num_images must be an integer of at least 1"),
        ({"image_size": 0}, "image_size must be an integer of at least 1"),
        ({"image_size": 2.5}, "image_size must be an integer"),
        ({"seed": -1}, "seed must be a non-negative integer"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.load("faces", **arguments)


def test_missing_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no such file or folder"):
        data.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no such file or folder"):
        data.load("./nowhere.npz")
    with pytest.raises(ValueError, match="no such file or folder"):
        data.load("")
    with pytest.raises(ValueError, match="no image files in"):
        data.load(tmp_path)
    _save(tmp_path, "single.png", np.zeros((3, 3)))
    with pytest.raises(ValueError, match="need at least 2"):
        data.load(tmp_path)
    _save(tmp_path, "copy.png", np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"every held-out image .* is a copy"):
        data.load(tmp_path)


# --- TFDS ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of decoded sets."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "jaxcreativity"


@pytest.fixture
def mnist(cache, monkeypatch, real_dataset):
    """The real MNIST, but of each split only the first 600 images, so that filling the cache takes a second."""
    real_dataset("mnist")
    whole = tfds_images.ImageSource
    monkeypatch.setattr(tfds_images, "ImageSource", lambda count, read, split: whole(600, read, split))
    read = tfds_images._read
    monkeypatch.setattr(tfds_images, "_read", lambda reader, count, rows: read(reader, 600, rows))
    return cache


def test_tfds_set_is_read_with_its_own_test_split(mnist):
    tfds = pytest.importorskip("tensorflow_datasets")
    loaded = data.load("mnist")
    assert loaded.train.shape == loaded.test.shape == (600, 28, 28, 1)
    for split, x, labels in (
        ("train", loaded.train, loaded.train_labels),
        ("test", loaded.test, loaded.test_labels),
    ):
        raw = tfds.data_source("mnist", split=split, data_dir=os.environ["TFDS_DATA_DIR"], download=False)
        for i in (0, 5, 599):  # TFDS's own decoder
            np.testing.assert_allclose(x[i], raw[i]["image"] / 127.5 - 1, atol=1e-6)
            assert labels[i] == raw[i]["label"]


def test_tfds_cache_is_used_and_rebuilt_when_damaged(mnist, monkeypatch):
    first = data.load("mnist")
    (train_file,) = mnist.glob("mnist-*-train-native-*.npz")
    assert not list(mnist.glob("*.tmp"))
    decoded = []
    decode = tfds_images._Reader.decode
    monkeypatch.setattr(
        tfds_images._Reader, "decode", lambda self, rows: decoded.append(len(rows)) or decode(self, rows)
    )
    np.testing.assert_array_equal(data.load("mnist").train, first.train)
    assert decoded == []
    content = bytearray(train_file.read_bytes())
    content[len(content) // 2] ^= 255
    for damaged in (bytes(content), bytes(content[:1000]), b""):
        train_file.write_bytes(damaged)
        np.testing.assert_array_equal(data.load("mnist").train, first.train)
    assert decoded == [600] * 3
    np.testing.assert_array_equal(np.load(train_file)["images"][0] / np.float32(127.5) - 1, first.train[0])


def test_tfds_part_is_the_same_with_and_without_cache_and_is_not_cached(mnist):
    part = data.load("mnist", num_images=30, seed=2)
    assert len(part.train) == 30
    assert not list(mnist.glob("*-train-*"))
    data.load("mnist")
    again = data.load("mnist", num_images=30, seed=2)
    np.testing.assert_array_equal(again.train, part.train)
    np.testing.assert_array_equal(again.train_labels, part.train_labels)


def test_tfds_copy_with_other_images_does_not_share_a_cache(mnist, tmp_path, monkeypatch):
    """Another copy of the same version, split and number of images, with the images in reverse order."""
    module = pytest.importorskip("array_record.python.array_record_module")
    first = data.load("mnist").test
    root = tmp_path / "tfds"
    shutil.copytree(Path(os.environ["TFDS_DATA_DIR"]) / "mnist", root / "mnist")
    (path,) = root.glob("mnist/*/mnist-test.array_record*")
    reader = module.ArrayRecordReader(str(path))
    records = reader.read_all()
    reader.close()
    path.chmod(0o644)
    writer = module.ArrayRecordWriter(str(path), "group_size:1")
    for record in reversed(records[:600]):
        writer.write(record)
    for record in records[600:]:
        writer.write(record)
    writer.close()
    monkeypatch.setenv("TFDS_DATA_DIR", str(root))
    np.testing.assert_array_equal(data.load("mnist").test, first[::-1])


def test_tfds_sizes_do_not_share_a_cache(mnist):
    assert data.load("mnist", image_size=14).shape == (14, 14, 1)
    assert data.load("mnist").shape == (28, 28, 1)
    assert data.load("mnist", image_size=14).shape == (14, 14, 1)


def test_unwritable_cache_only_warns(mnist, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="set XDG_CACHE_HOME"):
        loaded = data.load("mnist")
    assert len(loaded.train) == 600


@pytest.mark.usefixtures("cache")
def test_cifar10_is_in_colour(real_dataset):
    real_dataset("cifar10")
    source, _ = tfds_images.dataset("cifar10", None)
    pixels, labels = source.read(np.arange(0, 50_000, 500))
    assert source.count == 50_000
    assert pixels.shape == (100, 32, 32, 3)
    assert pixels.dtype == np.uint8
    assert set(labels) == set(range(10))
    assert (pixels[..., 0] != pixels[..., 1]).any()


def test_tensorflow_is_not_imported(mnist):
    data.load("mnist", num_images=10)
    assert "tensorflow" not in sys.modules


@pytest.fixture
def empty_tfds(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))


@pytest.mark.usefixtures("empty_tfds", "cache")
def test_absent_tfds_set_without_tensorflow_says_what_to_do(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "tensorflow" else find(name, *a))
    with pytest.raises(ValueError, match=r"'fashion_mnist/.*set TFDS_DATA_DIR .* or install tensorflow"):
        data.load("fashion_mnist")


@pytest.mark.usefixtures("empty_tfds", "cache")
def test_absent_tfds_set_without_network_fails_soon(monkeypatch):
    """As if TensorFlow were installed and no name could be resolved."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: name == "tensorflow" or find(name, *a))

    def no_network(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"'fashion_mnist/.*; set TFDS_DATA_DIR to a folder"):
        data.load("fashion_mnist")
    assert time.monotonic() - start < 20


def test_unreachable_server_is_given_up_on(monkeypatch):
    pytest.importorskip("requests")
    monkeypatch.setattr(tfds_images, "_PROBE_SECONDS", 0.2)
    released = threading.Event()

    def silent_name_server(*_, **__):
        released.wait(30)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", silent_name_server)
    start = time.monotonic()
    assert not tfds_images._reachable("http://example.invalid/file")
    assert time.monotonic() - start < 10
    released.set()


@pytest.mark.usefixtures("empty_tfds")
def test_unknown_names_get_a_suggestion():
    with pytest.raises(ValueError, match=r"'cifar_10' is neither .* did you mean .*'cifar10"):
        data.load("cifar_10")
    with pytest.raises(ValueError, match=r"'digit' is neither .* did you mean 'digits'"):
        data.load("digit")
    with pytest.raises(ValueError, match=r"TFDS cannot open 'mnist:0.0.1'"):
        data.load("mnist:0.0.1")


def test_without_tfds_installed_the_error_says_so(monkeypatch):

    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ValueError, match="needs tensorflow-datasets and array-record"):
        data.load("mnist")
    assert len(data.load("faces").train) == 85


def test_loading_gives_no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in loading.EMBEDDED:
            data.load(name, num_images=5)


def test_importing_data_loads_what_every_set_needs_only():
    code = (
        "import sys, jaxcreativity.data\n"
        "unwanted = ('PIL', 'sklearn', 'skimage', 'tensorflow_datasets', 'tqdm', 'flax', 'jaxcreativity.theory')\n"
        "sys.exit(', '.join(name for name in unwanted if name in sys.modules) or 0)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.stderr, found.returncode) == ("", 0)
