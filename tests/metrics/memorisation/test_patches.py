"""Patch distances against float64 brute force; copies, mosaics and new images told apart; memory; bad input."""

import json

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxcreativity.metrics import memorisation
from jaxcreativity.metrics.memorisation import _patch_distances
from jaxcreativity.metrics.memorisation.patches import patch_novelty


def patches(x, k):
    """`(n, rows, columns, d)` by loops."""
    rows, columns = (length - k + 1 for length in x.shape[1:3])
    cut = [[x[:, i : i + k, j : j + k].reshape(len(x), -1) for j in range(columns)] for i in range(rows)]
    return np.moveaxis(np.array(cut, np.float64), 2, 0)


def brute_force(x, train, k, same_location):
    """Root-mean-square distance of every patch of x to its nearest training patch, `(n, rows, columns)`."""
    mine, theirs = patches(x, k), patches(train, k)
    d = mine.shape[-1]
    if same_location:
        return np.sqrt(((mine[:, None] - theirs[None]) ** 2).sum(axis=-1).min(axis=1) / d)
    keys = theirs.reshape(-1, d)
    squares = [((keys - patch) ** 2).sum(axis=1).min() for patch in mine.reshape(-1, d)]
    return np.sqrt(np.array(squares) / d).reshape(mine.shape[:-1])


def sets(dtype, shape=(6, 7, 2)):
    rng = np.random.default_rng(0)
    samples, train, held_out = (rng.normal(size=(n, *shape)).astype(dtype) for n in (4, 11, 4))
    samples[0, 1:5, 2:7] = train[3, :4, :5]  # a patch that is copied, elsewhere
    return samples, train, held_out


@pytest.mark.parametrize(("same_location", "dtype"), [(False, np.float64), (True, np.float64), (True, np.float32)])
def test_distances_are_the_brute_force(same_location, dtype):
    samples, train, held_out = sets(dtype)
    result = patch_novelty(samples, train, held_out, patch_sizes=(3,), same_location=same_location, min_contrast=0.0)
    for found, x in ((result.samples, samples), (result.held_out, held_out)):
        expected = brute_force(x, train, 3, same_location)
        np.testing.assert_allclose(found[3].distances, expected.ravel(), rtol=100 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(found[3].owners, np.arange(len(x)).repeat(expected[0].size))
        assert found[3].share == 1
        whole = np.sqrt(((x[:, None] - train[None]) ** 2).mean(axis=(2, 3, 4)).min(axis=1))
        np.testing.assert_allclose(found[0].distances, whole, rtol=1e-5)
    if not same_location:
        assert (result.samples[3].distances == 0).sum() == 6  # 2 x 3 windows inside the copied 4 x 5 pixels


def test_parts_of_the_data_do_not_change_distances(monkeypatch):
    samples, train, held_out = sets(np.float32)
    monkeypatch.setattr(_patch_distances, "_PATCHES", 60)  # three images at once, the last time two of them again
    monkeypatch.setattr(_patch_distances, "_BLOCK", 33)
    split = patch_novelty(samples, train, held_out, patch_sizes=(3,), min_contrast=0.0)
    np.testing.assert_allclose(split.samples[3].distances, brute_force(samples, train, 3, False).ravel(), rtol=1e-5)


def test_flat_patches_are_left_out_by_contrast():
    samples, train, held_out = sets(np.float64)
    samples[:, :, 2:] = np.array([3.0, -3.0]) + 1e-3 * samples[:, :, 2:]  # flat in each channel, at different levels
    result = patch_novelty(samples, train, held_out, patch_sizes=(3,))
    windows = patches(samples, 3).reshape(4, 4, 5, 9, 2)
    kept = np.sqrt(windows.var(axis=3).mean(axis=-1)) >= 0.1 * train.std()
    assert not kept[:, :, 2].any()
    assert kept[:, :, 0].all()
    assert result.samples[3].share == pytest.approx(kept.mean())
    np.testing.assert_allclose(result.samples[3].distances, brute_force(samples, train, 3, False)[kept], rtol=1e-10)


def test_nearer_is_the_count_of_pairs():
    samples, train, held_out = sets(np.float64)
    train[0, :3, :3] = held_out[0, :3, :3] = samples[1, :3, :3]  # ties at 0
    result = patch_novelty(samples, train, held_out, patch_sizes=(3,), min_contrast=0.0)
    mine, theirs = result.samples[3].distances, result.held_out[3].distances
    pairs = (mine[:, None] < theirs).mean() + 0.5 * (mine[:, None] == theirs).mean()
    value, low, high = result.nearer(3)
    assert value == pytest.approx(pairs)
    assert low < value < high


def test_interval_covers_the_half_as_often_as_it_says():
    # Both sets of one law, patches of an image alike: taken as independent they would cover far less.
    rng = np.random.default_rng(2)
    covered, times = 0, 400
    for _ in range(times):
        sets = []
        for count in (30, 40):
            distances = (rng.normal(size=(count, 1)) + 0.3 * rng.normal(size=(count, 9))).ravel()
            sets.append({3: memorisation.patches.PatchDistances(distances, np.arange(count).repeat(9), count, 1.0)})
        _, low, high = memorisation.patches.PatchNovelty(
            *sets, same_location=False, min_contrast=0.0, confidence=0.9
        ).nearer(3)
        covered += low < 0.5 < high
    # Standard error 0.015, and the Gaussian interval of a few dozen images is a little short.
    assert 0.84 < covered / times < 0.95


@pytest.fixture(scope="module")
def split_digits():
    order = np.random.default_rng(0).permutation(1797)[:328]  # in order, the last come from other writers
    x = (load_digits().images[order, :, :, None] / 8 - 1).astype(np.float32)
    return x[:200], x[200:264], x[264:]


@pytest.mark.slow
def test_copies_mosaics_and_new_images_are_told_apart(split_digits):
    train, held_out, new = split_digits
    rng = np.random.default_rng(1)
    left, right = train[rng.integers(0, 200, (2, 64))]
    mosaics = np.concatenate([left[:, :, :4], right[:, :, 4:]], axis=2)
    measure = lambda x: patch_novelty(x, train, held_out, patch_sizes=(3, 5), confidence=0.999).summary()  # noqa: E731
    of_new, of_copies, of_mosaics = measure(new), measure(train[:64]), measure(mosaics)
    for size in ("patch3", "patch5", "image"):
        assert of_new[f"{size}_nearer_low"] < 0.5 < of_new[f"{size}_nearer_high"]
    assert of_copies["patch5_nearer"] == of_copies["image_nearer"] == 1
    # Two thirds of their 3 x 3 windows lie in one half, and are copied; no larger window does.
    assert of_mosaics["patch3_nearer_low"] > 0.5
    assert of_mosaics["patch5_nearer_high"] < 0.5
    assert of_mosaics["image_nearer_high"] < 0.5


def test_place_matters_only_where_asked(split_digits):
    train, held_out, _ = split_digits
    moved = np.roll(train[:64], (1, 1), axis=(1, 2))
    anywhere, here = (
        patch_novelty(moved, train, held_out, patch_sizes=(5,), same_location=flag).summary() for flag in (False, True)
    )
    assert anywhere["patch5_nearer"] > 0.5 > here["patch5_nearer"]


def test_summary_is_plain_numbers_for_json():
    samples, train, held_out = sets(np.float32)
    result = patch_novelty(samples, train, held_out, patch_sizes=(3,))
    numbers = json.loads(json.dumps(result.summary(), allow_nan=False))
    measured = {"count"} | {
        f"{size}_{what}" for size in ("patch3", "image")
        for what in ("share", "distance_q25", "distance_median", "distance_q75")
    }  # fmt: skip
    nearer = {f"{size}_nearer{end}" for size in ("patch3", "image") for end in ("", "_low", "_high")}
    settings = {"same_location", "min_contrast", "confidence"}
    assert set(numbers) == measured | nearer | settings | {f"held_out_{name}" for name in measured}
    assert (numbers["count"], numbers["held_out_count"], numbers["confidence"]) == (4, 4, 0.95)


def test_blank_samples_have_no_patches():
    samples, train, held_out = sets(np.float32)
    numbers = patch_novelty(0 * samples, train, held_out, patch_sizes=(3,)).summary()
    assert numbers["patch3_share"] == 0
    assert numbers["patch3_nearer"] is numbers["patch3_distance_median"] is None
    assert numbers["image_nearer"] is not None


def test_query_blocks_have_one_shape():
    samples, train, held_out = sets(np.float32)
    patch_novelty(samples, train, held_out, patch_sizes=(3,), same_location=True)
    before = _patch_distances._nearest_in_place._cache_size()
    patch_novelty(samples[:2], train, held_out, patch_sizes=(3,), same_location=True)
    assert _patch_distances._nearest_in_place._cache_size() == before


S, T, H = sets(np.float32)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: patch_novelty(S, T, H, patch_sizes=(4,)), "odd and at most 6.*got 4"),
        (lambda: patch_novelty(S, T, H, patch_sizes=(7,)), "odd and at most 6.*got 7"),
        (lambda: patch_novelty(S, T, H, patch_sizes=(0,)), "patch_sizes must be an integer"),
        (lambda: patch_novelty(S, T, H, patch_sizes=()), "at least one"),
        (lambda: patch_novelty(S, T, H, patch_sizes=(3, 3)), "different sizes"),
        (lambda: patch_novelty(S, T, H, patch_sizes=(3,), min_contrast=-1.0), "min_contrast must be at least 0"),
        (lambda: patch_novelty(S, T, 0 * H, patch_sizes=(3,)), "no 3 x 3 patch of held_out"),
        (lambda: patch_novelty(S[:, :5], T, H), "same shape"),
        (lambda: patch_novelty(S, T, H[:, :5]), "same shape"),
        (lambda: patch_novelty(S, T[:0], H), "train needs at least 1"),
        (lambda: patch_novelty(S, T, H[0]), r"held_out must have shape \(n, height"),
        (lambda: patch_novelty(S * np.nan, T, H), "samples has NaN"),
        (lambda: patch_novelty(S, T, H, confidence=2.0), "confidence must lie"),
        (lambda: jax.jit(lambda x: patch_novelty(x, T, H))(S), "samples is traced"),
    ],
)
def test_bad_input_raises(call, message):
    with pytest.raises(ValueError, match=message):
        call()
