"""Neighbours against float64 brute force, copies and duplicates, chunking, memory, the held-out reference."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxcreativity import metrics
from jaxcreativity.metrics.memorisation import neighbours

SHAPE = (3, 4, 2)
N = 150


def brute_force(queries, data, k, exclude_self=False):
    """Distances and indices by differences in float64, ties by index."""
    queries, data = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (queries, data))
    distances = np.sqrt(((queries[:, None] - data[None]) ** 2).sum(axis=2))
    if exclude_self:
        np.fill_diagonal(distances, np.inf)
    indices = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, indices, axis=1), indices


def check(queries, data, k=2, **options):
    exact_distances, exact_indices = brute_force(queries, data, k, options.get("exclude_self", False))
    found = metrics.nearest_neighbours(queries, data, k, **options)
    assert found.distances.dtype == queries.dtype
    np.testing.assert_array_equal(found.indices, exact_indices)
    np.testing.assert_allclose(found.distances, exact_distances, rtol=50 * np.finfo(queries.dtype).eps)


def two_sets(dtype):
    """Queries, some of them copies with and without a small change, and data."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(N, *SHAPE))
    queries = np.concatenate([rng.normal(size=(20, *SHAPE)), data[:10] + 1e-4, data[10:13]])
    return queries.astype(dtype), data.astype(dtype)


@pytest.fixture(params=[np.float64, np.float32], ids=["float64", "float32"])
def sets(request):
    return two_sets(request.param)


@pytest.mark.parametrize("k", [1, 3, 140])
def test_neighbours_equal_brute_force(sets, k):
    check(*sets, k)


@pytest.mark.parametrize("chunk_size", [1, 75, N - 1])
def test_chunk_size_changes_nothing(chunk_size):
    queries, data = two_sets(np.float32)
    check(queries, data, 3, chunk_size=chunk_size)


@pytest.mark.parametrize("m", [1, 2 * neighbours._BLOCK, neighbours._BLOCK + 7])
def test_blocks_of_queries_that_do_and_do_not_divide(m):
    queries = np.random.default_rng(4).normal(size=(m, *SHAPE)).astype(np.float32)
    check(queries, two_sets(np.float32)[1])


@pytest.mark.parametrize("k", [3, N - 1])
def test_exclude_self_leaves_out_the_image_but_not_its_duplicate(sets, k):
    data = sets[1].copy()
    data[5] = data[90]
    check(data, data, k, exclude_self=True, chunk_size=64)
    found = metrics.nearest_neighbours(data, data, k, exclude_self=True)
    assert found.distances[5, 0] == 0
    assert found.indices[5, 0] == 90
    assert not (found.indices == jnp.arange(N)[:, None]).any()


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_neighbours_in_few_dimensions(dim, scale):
    """Where the candidates beyond the neighbours are hardly farther than these, of all sizes."""
    queries, data = (scale * np.random.default_rng(7).normal(size=(x, dim)) for x in (200, N))
    check(queries, data, 3)


@pytest.mark.parametrize("offset", [0.0, 1000.0, -1000.0])
def test_near_duplicates_are_told_apart_in_float32(offset):
    # 60 images closer to each other than the rounding of |a|^2 - 2ab + |b|^2, among others that are far.
    rng = np.random.default_rng(1)
    cluster = rng.normal(size=SHAPE) + 0.0001 * rng.normal(size=(60, *SHAPE))
    data = (np.concatenate([rng.normal(size=(90, *SHAPE)), cluster]) + offset).astype(np.float32)
    queries = np.concatenate([data[100:104], data[:2]])
    check(queries, data, 8, chunk_size=40)


def test_ties_go_to_the_lower_index():
    # 100 equal images: more than there are candidates.
    data = np.tile(np.arange(2.0, dtype=np.float32)[:, None], (50, 3))
    check(data[:4], data, 5, chunk_size=33)


def equally_far(query, seed):
    """A query of integers, and from there to the data: 11 that are near, 30 at one distance, 60 that are far."""
    rng = np.random.default_rng(seed)
    mixed = lambda x, count: rng.permuted(np.tile(x, (count, 1)), axis=1)  # noqa: E731
    dim = 8 if query == "far from the mean" else 24
    to_shell = rng.integers(-16, 16, size=dim)
    to_near = to_shell - np.sign(to_shell)
    if query == "far from all":
        parts = 100 + mixed(to_near, 11) - 1, 100 + mixed(to_shell, 30), rng.integers(120, 130, size=(60, dim))
    elif query == "at the mean":
        half = mixed(to_shell, 15), 2 * mixed(to_shell, 30)
        parts = 0 * mixed(to_near, 1), mixed(to_near, 10), *half, *(-x for x in half)
    else:
        parts = mixed(to_near, 11), mixed(to_shell, 30), rng.integers(60, 99, size=(60, dim))
    return rng.integers(-8, 9, size=(1, dim)), rng.permutation(np.concatenate(parts))


@pytest.mark.parametrize("scale", [2.0**-20, 1.0, 2.0**20])
@pytest.mark.parametrize("query", ["far from the mean", "at the mean", "far from all"])
def test_equal_distances_that_rounding_would_tell_apart_go_to_the_lower_index(query, scale):
    """The last neighbours are some of 30 at exactly the same distance, of which rounding would prefer others."""
    for seed in range(20):
        place, others = equally_far(query, seed)
        queries, data = ((scale * x).astype(np.float32) for x in (place, place + others))
        check(queries, data, 12 if seed % 2 else 20, chunk_size=60)


def test_one_image_as_data(sets):
    check(sets[0], sets[1][:1], 1)


def test_memory_is_bounded_by_the_chunk():
    d, n, k, chunk = 784, 20_000, 2, 512
    bound = 4 * (256 * (chunk + (k + 16) * d) + chunk * d)
    data = jax.ShapeDtypeStruct((n, d), np.float32)
    for m in (512, 8192):
        queries = jax.ShapeDtypeStruct((m, d), np.float32)
        search = jax.jit(lambda q, x: metrics.nearest_neighbours(q, x, k, chunk_size=chunk))
        memory = search.lower(queries, data).compile().memory_analysis().temp_size_in_bytes
        assert memory < bound < 0.3 * 4 * d * n


def test_no_recompilation(sets):
    queries, data = sets
    metrics.nearest_neighbours(queries, data, 2)
    before = neighbours._nearest._cache_size()
    metrics.nearest_neighbours(queries + 1, data, 2)
    assert neighbours._nearest._cache_size() == before


def test_ratio_is_nearest_over_kth(sets):
    queries, data = sets
    distances, _ = brute_force(queries, data, 3)
    got = metrics.neighbour_ratio(queries, data, 3)
    np.testing.assert_allclose(got, distances[:, 0] / distances[:, -1], rtol=50 * np.finfo(data.dtype).eps)


def test_ratio_of_zero_over_zero_is_zero():
    data = np.asarray([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    np.testing.assert_array_equal(metrics.neighbour_ratio(data[:1], data), [0.0])


def test_distances_and_ratio_are_differentiable():
    rng = np.random.default_rng(2)
    queries, data = jnp.asarray(rng.normal(size=(4, 6))), jnp.asarray(rng.normal(size=(30, 6)))

    def distances(queries, data):
        return metrics.nearest_neighbours(queries, data, 2, chunk_size=8).distances

    for function in (jax.jit(distances), jax.jit(metrics.neighbour_ratio)):
        check_grads(function, (queries, data), order=1, modes=("rev",), atol=1e-6, rtol=1e-6)
        slopes = jax.grad(lambda q, x, f=function: f(q, x).sum(), argnums=(0, 1))(data[:4], data)
        assert all(np.isfinite(slope).all() for slope in slopes)


def test_copies_are_memorised_and_new_images_are_not(digits):
    train, test = digits[:40], digits[40:]
    rng = np.random.default_rng(3)
    samples = np.concatenate([train[:6], train[6:9] + 0.01 * rng.normal(size=(3, 8, 8, 1)), test[:6]])
    result = metrics.novelty(samples, train, test)
    np.testing.assert_array_equal(result.memorised, [True] * 9 + [False] * 6)
    np.testing.assert_array_equal(result.indices[:9, 0], np.arange(9))
    np.testing.assert_array_equal(result.distances[:6, 0], 0)
    np.testing.assert_allclose(result.memorised_fraction, 0.6)
    low, high = result.memorised_interval
    assert 0 < low < 0.6 < high < 1
    distances, _ = brute_force(test, train, 2)
    np.testing.assert_allclose(result.held_out.distances, distances, rtol=1e-12)
    np.testing.assert_allclose(
        result.held_out.ratio_quartiles, np.quantile(distances[:, 0] / distances[:, 1], [0.25, 0.5, 0.75])
    )


@pytest.mark.parametrize("neighbour", [2, 4])
def test_duplicated_training_images_count_once(digits, neighbour):
    distinct = digits[:30]
    train = np.concatenate([distinct[:5], distinct[:5], distinct, distinct[:1]])
    samples = distinct + 0.01  # near copies, the first five of images that the set holds three or four times
    result = metrics.novelty(samples, train, neighbour=neighbour)
    reference = metrics.novelty(samples, distinct, neighbour=neighbour)
    assert (result.num_train, result.num_duplicates) == (41, 11)
    assert (reference.num_train, reference.num_duplicates) == (30, 0)
    assert result.memorised.all()
    np.testing.assert_array_equal(result.distances, reference.distances)
    np.testing.assert_array_equal(train[result.indices], distinct[reference.indices])
    np.testing.assert_array_equal(result.indices[:5, 0], np.arange(5))  # the first of each group
    # Kept in, the duplicates would have hidden the copies.
    assert (metrics.neighbour_ratio(samples[:5], train) > 0.99).all()


def test_minus_zero_is_zero():
    train = np.asarray([[0.0, 1.0], [-0.0, 1.0], [2.0, 2.0]])
    assert metrics.novelty(train, train).num_duplicates == 1


def test_threshold_is_strict_and_used():
    train = np.asarray([[0.0, 0.0], [4.0, 0.0]])
    samples = np.asarray([[1.0, 0.0], [2.0, 0.0]])  # ratios 1/3 and 1
    memorised = [metrics.novelty(samples, train, threshold=t).memorised.tolist() for t in (1 / 3, 0.34, 1.0)]
    assert memorised == [[False, False], [True, False], [True, False]]


@pytest.mark.parametrize("held_out", [False, True])
def test_summary_is_plain_numbers_for_json(sets, held_out):
    queries, data = sets
    result = metrics.novelty(queries, data, queries[:20] if held_out else None, confidence=0.9)
    numbers = json.loads(json.dumps(result.summary(), allow_nan=False))
    memorised = {f"memorised_{what}" for what in ("fraction", "low", "high", "at_half", "at_double")}
    measured = {"count", *memorised} | {
        f"{measure}_{at}" for measure in ("ratio", "distance") for at in ("q25", "median", "q75")
    }
    settings = {"neighbour", "threshold", "confidence", "num_train", "num_duplicates"} | {
        "duplicate_fraction", "neighbour_scale", "near_duplicate_share"
    }  # fmt: skip
    assert set(numbers) == measured | settings | ({f"held_out_{name}" for name in measured} if held_out else set())
    assert (numbers["count"], numbers["num_train"], numbers["confidence"]) == (33, N, 0.9)
    assert numbers["memorised_fraction"] == pytest.approx(13 / 33, abs=1e-6)
    assert numbers["ratio_median"] == pytest.approx(np.median(result.ratio), rel=1e-6)
    if held_out:
        assert (numbers["held_out_count"], numbers["held_out_memorised_fraction"]) == (20, 0)


DATA = np.arange(12.0).reshape(4, 3)
TWINS = np.zeros((4, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.nearest_neighbours(DATA, DATA, 5), "k = 5 neighbours need at least as many images.*got 4"),
        (lambda: metrics.nearest_neighbours(DATA, DATA, 4, exclude_self=True), "other images in data, got 3"),
        (lambda: metrics.nearest_neighbours(DATA, DATA, 0), "k must be an integer of at least 1"),
        (lambda: metrics.nearest_neighbours(DATA[:2], DATA, exclude_self=True), "exclude_self needs queries"),
        (lambda: metrics.nearest_neighbours(DATA[:, :2], DATA), r"same shape, got \(2,\) and \(3,\)"),
        (lambda: metrics.nearest_neighbours(DATA[:0], DATA), "queries needs at least 1"),
        (lambda: metrics.nearest_neighbours(DATA, DATA[:0]), "data needs at least 1"),
        (lambda: metrics.nearest_neighbours(DATA * np.nan, DATA), "queries has NaN or infinite entries in 4 of 4"),
        (lambda: metrics.nearest_neighbours(DATA, DATA.astype(int)), "data must be floating point"),
        (lambda: metrics.nearest_neighbours(DATA, DATA, chunk_size=0), "chunk_size must be an integer"),
        (
            lambda: metrics.nearest_neighbours(np.float32(1e20) * DATA.astype(np.float32), DATA.astype(np.float32)),
            "queries has entries up to 1.1e.21, whose squared distances overflow in float32",
        ),
        (lambda: metrics.neighbour_ratio(DATA, DATA, 1), "k must be at least 2"),
        (lambda: metrics.neighbour_ratio(DATA, DATA, 5), "k = 5"),
        (lambda: metrics.novelty(DATA, DATA[:, :2]), "images of samples and train must have the same shape"),
        (lambda: metrics.novelty(DATA, DATA, DATA[:, :2]), "images of test and train must have the same shape"),
        (lambda: metrics.novelty(DATA, DATA, DATA[:0]), "test needs at least 1"),
        (lambda: metrics.novelty(DATA + np.inf, DATA), "samples has NaN or infinite"),
        (lambda: metrics.novelty(DATA, DATA, neighbour=1), "neighbour must be at least 2"),
        (lambda: metrics.novelty(DATA, DATA, neighbour=5), "distinct training images, got 4"),
        (lambda: metrics.novelty(TWINS, TWINS), "distinct training images, got 1.*4 less 3 duplicates"),
        (lambda: metrics.novelty(DATA, DATA, threshold=0.0), "threshold is a ratio"),
        (lambda: metrics.novelty(DATA, DATA, threshold=1.5), "threshold is a ratio"),
        (lambda: metrics.novelty(DATA, DATA, confidence=95.0), "confidence must lie between 0 and 1"),
        (lambda: jax.jit(lambda x: metrics.novelty(x, DATA).ratio)(DATA), "outside jit"),
    ],
)
def test_bad_input_raises(call, message):
    with pytest.raises(ValueError, match=message):
        call()
