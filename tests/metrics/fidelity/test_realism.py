"""Distances between sets against SciPy, float64 brute force and Monte-Carlo; the report and its floor."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxcreativity import metrics
from jaxcreativity.metrics import fidelity
from jaxcreativity.metrics.fidelity.overlap import overlap


def two_sets(dtype=np.float64, n=500, m=500, d=8):
    """Correlated vectors with another mean and another covariance, some of one set copied into the other."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 0.3
    y = rng.normal(size=(m, d)) @ rng.normal(size=(d, d))
    x[: n // 10] = y[: n // 10]
    return x.astype(dtype), y.astype(dtype)


def frechet_with_sqrtm(x, y):
    (p, q), root = (np.cov(z.T) for z in (x, y)), scipy.linalg.sqrtm
    return np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2) + np.trace(p + q - 2 * root(root(p) @ q @ root(p))).real


# --- Frechet distance ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [(500, 500), (9, 40)])
def test_frechet_is_scipys(counts):
    x, y = two_sets(n=counts[0], m=counts[1])
    assert metrics.frechet_distance(x, y) == pytest.approx(frechet_with_sqrtm(x, y), abs=1e-6)
    assert metrics.frechet_distance(y, x) == pytest.approx(frechet_with_sqrtm(x, y), abs=1e-6)


def test_frechet_of_float32_features_is_computed_in_float64():
    x, y = two_sets(np.float32)
    y = (x + 1e-3 * y).astype(np.float32)  # a distance that float32 would lose: 1e-5 of the trace
    exact = frechet_with_sqrtm(x.astype(np.float64), y.astype(np.float64))
    with jax.enable_x64(False):
        assert metrics.frechet_distance(x, y) == pytest.approx(exact, abs=1e-6)
        assert metrics.frechet_distance(jnp.asarray(x), jnp.asarray(y)) == pytest.approx(exact, abs=1e-6)


def test_frechet_with_constant_and_collinear_features():
    # Pixels that never change: they add the squared difference of their values and nothing else.
    x, y = two_sets()
    pad = lambda z, value: np.concatenate([z, np.full((len(z), 3), value), z[:, :1]], axis=1)  # noqa: E731
    once = lambda z: np.concatenate([z[:, :1] * np.sqrt(2), z[:, 1:]], axis=1)  # noqa: E731
    expected = frechet_with_sqrtm(once(x), once(y)) + 3 * 0.5**2
    assert metrics.frechet_distance(pad(x, 1.0), pad(y, 0.5)) == pytest.approx(expected, abs=1e-5)


def test_extrapolation_removes_the_bias_of_finite_counts():
    rng = np.random.default_rng(1)
    found = np.array([metrics.frechet_extrapolated(*rng.normal(size=(2, 100, 8))) for _ in range(40)])
    value, half, extrapolated = found.mean(axis=0)
    error = found[:, 2].std() / np.sqrt(40)
    assert abs(extrapolated) < 4 * error < 0.2 * value
    np.testing.assert_allclose(half / value, 2, rtol=0.1)  # the bias is c / n, to within some c' / n^2


def test_extrapolated_is_linear_in_the_inverse_count():
    x, y = two_sets(n=101, m=101)
    result = metrics.frechet_extrapolated(x, y)
    halves = [metrics.frechet_distance(a, b) for a in (x[:50], x[50:100]) for b in (y[:50], y[50:100])]
    assert result.half_count == pytest.approx(np.mean(halves))
    slope = (result.half_count - result.value) / (1 / 50 - 1 / 101)
    assert result.extrapolated == pytest.approx(result.value - slope / 101)


# --- kernel distance ----------------------------------------------------------------------------------------------


def kid(x, y):
    """Binkowski et al. (2018), sums written out."""
    k = lambda a, b: (sum(a[i] * b[i] for i in range(len(a))) / len(a) + 1) ** 3  # noqa: E731
    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_kernel_distance_is_the_brute_force(key):
    x, y = two_sets(n=31, m=23, d=4)
    assert metrics.kernel_distance(x, y, key=key).value == pytest.approx(kid(x, y), rel=1e-12)


def test_blocks_of_the_kernel_matrix_do_not_change_it(key, monkeypatch):
    x, y = two_sets(n=31, m=23, d=4)
    whole = metrics.kernel_distance(x, y, key=key)
    monkeypatch.setattr(fidelity.kernel, "_BLOCK", 7)
    np.testing.assert_allclose(metrics.kernel_distance(x, y, key=key), whole, rtol=1e-10)


def test_interval_is_that_of_brute_force_subsets(key):
    # Drawn from 6 vectors, 20 subsets of 3 each: the mean over 4 000 draws of both is that over all 400 pairs.
    from itertools import combinations

    x, y = two_sets(n=6, m=6, d=3)
    value = kid(x, y)
    squares = [
        (kid(x[list(a)], y[list(b)]) - value) ** 2 for a in combinations(range(6), 3) for b in combinations(range(6), 3)
    ]
    result = metrics.kernel_distance(x, y, key=key, num_subsets=4000, confidence=0.6826894921370859)
    error = np.std(squares) / np.sqrt(4000)
    assert abs((result.high - value) ** 2 - np.mean(squares)) < 4 * error
    assert result.value - result.low == pytest.approx(result.high - result.value)


def split_many_times(x, times, **options):
    rng = np.random.default_rng(2)
    found = []
    for seed in range(times):
        shuffled = rng.permutation(x)
        half = len(x) // 2
        found.append(metrics.kernel_distance(shuffled[:half], shuffled[half:], key=jax.random.key(seed), **options))
    return np.array(found)


def test_kernel_distance_of_a_set_split_in_two_is_centred_on_zero(digits):
    found = split_many_times(digits.reshape(len(digits), -1), 200, num_subsets=20)
    values, low, high = found.T
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    assert np.mean((low < 0) & (high > 0)) > 0.95  # too wide, as said, in this degenerate case


def test_interval_covers_the_distance_of_two_laws():
    # k(u, v) = (uv + 1)^3 in one dimension, N(1, 1) against N(0, 1): sum_p binom(3, p) (difference of p-th moments)^2.
    exact = 3 * 1**2 + 3 * (2 - 1) ** 2 + (4 - 0) ** 2
    rng = np.random.default_rng(3)
    times, covered = 120, 0
    values = []
    for seed in range(times):
        x, y = rng.normal(size=(150, 1)) + 1, rng.normal(size=(100, 1))
        value, low, high = metrics.kernel_distance(x, y, key=jax.random.key(seed), num_subsets=25, confidence=0.9)
        covered += low < exact < high
        values.append(value)
    assert abs(np.mean(values) - exact) < 4 * np.std(values) / np.sqrt(times)
    # A heavy-tailed statistic: somewhat below the nominal 0.9, whose own standard error is 0.027.
    assert 0.79 < covered / times < 0.98


# --- precision, recall, density, coverage -------------------------------------------------------------------------


def brute_force_balls(samples, real, k):
    """Precision, recall, density, coverage from the full matrix of differences."""
    distances = lambda a, b: np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2))  # noqa: E731
    between = distances(samples, real)
    real_radii = np.sort(distances(real, real), axis=1)[:, k]  # the 0th is the vector itself
    sample_radii = np.sort(distances(samples, samples), axis=1)[:, k]
    precision = np.mean([any(between[j] <= real_radii) for j in range(len(samples))])
    recall = np.mean([any(between[:, i] <= sample_radii) for i in range(len(real))])
    density = sum(between[j, i] < real_radii[i] for i in range(len(real)) for j in range(len(samples)))
    coverage = np.mean([any(between[:, i] < real_radii[i]) for i in range(len(real))])
    return precision, recall, density / (k * len(samples)), coverage


@pytest.mark.parametrize(("k", "dtype"), [(1, np.float64), (5, np.float64), (5, np.float32)])
def test_overlap_is_the_brute_force_on_500_points(k, dtype):
    samples, real = two_sets(dtype)
    expected = brute_force_balls(samples.astype(np.float64), real.astype(np.float64), k)
    found = (*metrics.precision_recall(samples, real, k), *metrics.density_coverage(samples, real, k))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert 0.1 < min(found[:2]) < 0.9


def test_ties_are_inside_for_precision_and_outside_for_density():
    # Integers at distance 1 from their nearest: radius 1, on whose boundary samples lie; far from the origin.
    real = np.arange(10.0)[:, None] + 1e3
    assert metrics.precision_recall(real + 0.0, real, 1) == (1, 1)
    assert metrics.density_coverage(real + 0.0, real, 1) == (1, 1)
    beside = np.array([[999.0], [1010.0]])  # each on the boundary of one ball
    assert metrics.precision_recall(beside, real, 1).precision == 1
    assert metrics.density_coverage(beside, real, 1) == (0, 0)


def test_copies_of_the_real_set_have_density_one(digits):
    flat = digits.reshape(len(digits), -1)
    for real in (flat, np.zeros_like(flat), np.repeat(flat[:8], 8, axis=0), np.round(flat[:, :3])):
        assert metrics.density_coverage(real, real, 5) == (pytest.approx(1), 1)


@pytest.mark.parametrize("k", [1, 5])
def test_ties_count_by_the_share_of_the_boundary_that_is_among_the_nearest(k):
    # Some 50 different points, far from the origin: radii 0 and 1, most of them with ties.
    samples, real = 300.0 + np.random.default_rng(0).integers(0, 7, (2, 150, 2))
    distances = lambda a: np.square(a[:, None] - real[None]).sum(axis=2)  # noqa: E731
    own, weights = np.sort(distances(real), axis=0), np.zeros((150, 150))  # each centre itself among its nearest
    for i, row in enumerate(distances(samples)):
        for j, distance in enumerate(row):
            nearest = own[:k, j]
            if distance < own[k, j]:
                weights[i, j] = 1
            elif distance == own[k, j]:
                weights[i, j] = (nearest == distance).sum() / (own[:, j] == distance).sum()
    density, coverage = metrics.density_coverage(samples, real, k)
    assert density == pytest.approx(weights.sum() / (k * 150))
    assert coverage == pytest.approx((weights > 0).any(axis=0).mean())
    assert abs(density - 1) < 0.2  # two sets of one law
    assert overlap(samples, real, k)[2:] == (density, coverage)


def test_modes_that_are_dropped_or_made_up(digits):
    real, other = digits.reshape(len(digits), -1)[:40], np.full((40, 64), 5.0) + np.arange(40)[:, None] / 100
    assert metrics.precision_recall(other, real) == (0, 0)
    assert metrics.density_coverage(other, real) == (0, 0)
    one = np.repeat(real[:1], 40, axis=0)
    assert metrics.precision_recall(one, real).precision == 1
    assert metrics.density_coverage(one, real).coverage < 0.5


# --- power spectrum -----------------------------------------------------------------------------------------------


def brute_force_spectrum(images):
    h, w = images.shape[1:3]
    power = {}
    for u in range(h):
        for v in range(w):
            rows, columns = np.fft.fftfreq(h)[u] * min(h, w), np.fft.fftfreq(w)[v] * min(h, w)
            wave = np.exp(-2j * np.pi * (u * np.arange(h)[:, None] / h + v * np.arange(w)[None] / w))
            squares = np.abs(np.einsum("nhwc,hw->nc", images, wave)) ** 2 / (h * w)
            power.setdefault(round(np.hypot(rows, columns)), []).append(squares.mean())
    return np.array([np.mean(power[r]) for r in sorted(power)])


@pytest.mark.parametrize("shape", [(7, 7, 1), (6, 9, 2), (1, 5, 1)])
def test_power_spectrum_is_the_brute_force(shape):
    images = np.random.default_rng(4).normal(size=(3, *shape)) + 0.5
    np.testing.assert_allclose(metrics.power_spectrum(images), brute_force_spectrum(images), rtol=1e-10)


def test_power_of_a_wave_and_of_white_noise():
    wave = np.cos(2 * np.pi * (3 * np.arange(16)[:, None] + 4 * np.arange(16)[None]) / 16)[None, :, :, None]
    power = metrics.power_spectrum(wave)
    np.testing.assert_allclose(power[np.arange(len(power)) != 5], 0, atol=1e-12)
    assert power[5] > 1
    noise = 0.3 * np.random.default_rng(5).normal(size=(4000, 8, 8, 1))
    # Squares of one frequency of one image have standard deviation 1 of their mean (root 2 where they are real).
    np.testing.assert_allclose(metrics.power_spectrum(noise), 0.09, rtol=4 * np.sqrt(2 / 4000))


def test_spectrum_error_of_another_contrast(digits):
    assert float(metrics.spectrum_error(digits, digits)) == 0
    assert float(metrics.spectrum_error(2 * digits, digits)) == pytest.approx(np.log(4))
    assert float(metrics.spectrum_error(digits, 2 * digits)) == pytest.approx(np.log(4))
    blank = np.ones((2, 8, 8, 1))  # no power but at 0: finite all the same
    assert np.isfinite(metrics.spectrum_error(blank, digits))


# --- the report ---------------------------------------------------------------------------------------------------


def images(n, seed, shift=0.0):
    return np.random.default_rng(seed).normal(size=(n, 3, 3, 1)).astype(np.float32) + np.float32(shift)


def measure(samples, train, held_out, **options):
    return metrics.realism(samples, train, held_out, key=jax.random.key(0), num_subsets=10, **options)


def test_report_is_its_measures():
    samples, train, held_out = images(60, 0, 0.5), images(60, 1), images(60, 2)
    numbers = measure(samples, train, held_out).summary()
    flat = {name: x.reshape(60, 9) for name, x in (("", samples), ("held_out_", held_out), ("train", train))}
    for prefix, whole in (("", samples), ("held_out_", held_out)):
        x, y = flat[prefix], flat["train"]
        assert numbers[f"{prefix}frechet"] == pytest.approx(metrics.frechet_distance(x, y))
        assert numbers[f"{prefix}kernel_distance"] == pytest.approx(
            metrics.kernel_distance(x, y, key=jax.random.key(0))[0]
        )
        precision, recall = metrics.precision_recall(x, y, 5)
        density, coverage = metrics.density_coverage(x, y, 5)
        assert [numbers[prefix + name] for name in ("precision", "recall", "density", "coverage")] == pytest.approx(
            [precision, recall, density, coverage]
        )
        assert numbers[f"{prefix}precision_low"] < precision <= numbers[f"{prefix}precision_high"]
        assert numbers[f"{prefix}spectrum_error"] == pytest.approx(
            float(metrics.spectrum_error(whole, train)), rel=1e-4
        )
        covariances = [np.cov(z.T, bias=True) for z in (x, y)]
        error = np.linalg.norm(covariances[0] - covariances[1]) / np.linalg.norm(covariances[1])
        assert numbers[f"{prefix}covariance_error"] == pytest.approx(error, rel=1e-4)


def test_summary_is_plain_numbers_for_json_at_one_count():
    result = measure(images(100, 0), images(130, 1), images(60, 2))
    numbers = json.loads(json.dumps(result.summary(), allow_nan=False))
    assert numbers["count"] == numbers["held_out_count"] == result.count == 60
    settings = {"num_features", "neighbour", "num_subsets", "subset_size", "confidence"}
    measured = {name for name in numbers if not name.startswith("held_out_")} - settings
    assert {name for name in numbers if name.startswith("held_out_")} == {f"held_out_{name}" for name in measured}
    assert (numbers["num_features"], numbers["subset_size"], result.features) == (9, 30, "pixels")
    without = measure(images(100, 0), images(130, 1), None).summary()
    assert set(without) == measured | settings


def test_samples_of_the_data_score_like_held_out_images_and_others_do_not():
    train, held_out = images(60, 1), images(60, 2)
    good, bad = (measure(images(60, 3, shift), train, held_out).summary() for shift in (0.0, 0.7))
    assert good["held_out_frechet"] == bad["held_out_frechet"]  # the same images whatever the samples
    assert good["frechet"] < 2 * good["held_out_frechet"] < bad["frechet"]
    assert abs(good["frechet_extrapolated"]) < 0.5 * good["frechet"]
    assert good["kernel_distance_low"] < 0 < good["kernel_distance_high"]
    assert bad["kernel_distance_low"] > 0
    assert good["coverage"] > bad["coverage"]


def test_features_see_only_the_count_that_is_used():
    seen = []

    def spy(x):
        seen.append(len(x))
        return x.reshape(len(x), -1)

    result = measure(images(60, 0), images(1000, 1), images(70, 2), features=spy)
    assert seen == [2, 60, 60, 60]
    assert (result.features, result.summary()["num_features"]) == ("spy", 9)


# --- bad input ----------------------------------------------------------------------------------------------------

X = np.random.default_rng(6).normal(size=(12, 4))
IMAGES = images(60, 0)


def must_not_run(x):
    if len(x) > 2:
        raise AssertionError("features of all images before the checks")
    return x.reshape(len(x), -1)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.frechet_distance(X[:1], X, min_count=2), "x has 1 vectors.*at least 2"),
        (
            lambda: metrics.frechet_distance(X, X[:4]),
            "y has 4 vectors of 4 features.*at least 5.*fewer features",
        ),
        (lambda: metrics.frechet_distance(X, X, min_count=1), "min_count must be at least 2"),
        (lambda: metrics.frechet_distance(X, X[:, :3]), r"same shape, got \(4,\) and \(3,\)"),
        (lambda: metrics.frechet_distance(X[:, :, None], X), r"x must have shape \(n, d\)"),
        (lambda: metrics.frechet_distance(X * np.nan, X), "x has NaN"),
        (lambda: metrics.frechet_distance(X, X.astype(int)), "y must be floating point"),
        (lambda: jax.jit(lambda x: metrics.frechet_distance(x, X))(X), "x is traced"),
        (lambda: metrics.frechet_extrapolated(X, X[:11]), "same count, got 12 and 11"),
        (lambda: metrics.frechet_extrapolated(X[:9], X[:9]), "x has 9 vectors.*at least 10"),
        (lambda: metrics.kernel_distance(X[:3], X, key=jax.random.key(0)), "x needs at least 4"),
        (lambda: metrics.kernel_distance(X, X, key=jax.random.key(0), subset_size=12), "between 2 and 11"),
        (lambda: metrics.kernel_distance(X, X, key=jax.random.key(0), subset_size=1), "between 2 and 11"),
        (
            lambda: metrics.kernel_distance(X, X, key=jax.random.key(0), num_subsets=1),
            "num_subsets must be at least 2",
        ),
        (lambda: metrics.kernel_distance(X, X, key=jax.random.key(0), confidence=95), "confidence must lie"),
        (lambda: metrics.precision_recall(X, X[:3], 3), "real must have more than k = 3 vectors.*got 3"),
        (lambda: metrics.precision_recall(X[:3], X, 3), "samples must have more than k = 3"),
        (lambda: metrics.precision_recall(X, X, 0), "k must be an integer of at least 1"),
        (lambda: metrics.density_coverage(X, X[:5]), "real must have more than k = 5"),
        (lambda: metrics.power_spectrum(X), r"images must have shape \(n, height, width, channels\)"),
        (lambda: metrics.spectrum_error(IMAGES, IMAGES[:, :2]), "same shape"),
        (lambda: metrics.spectrum_error(0 * IMAGES, 0 * IMAGES), "all zeros"),
        (lambda: measure(IMAGES, IMAGES[:, :2], IMAGES), "same shape"),
        (lambda: measure(IMAGES, IMAGES, X), "images of held_out and train must have the same shape"),
        (lambda: measure(X, X, X), r"samples must have shape \(n, height"),
        (lambda: measure(IMAGES + np.inf, IMAGES, None), "samples has NaN or infinite"),
        (
            lambda: measure(IMAGES, IMAGES, IMAGES[:19], features=must_not_run),
            "held_out has 19 .*9 features.*least 20.*8",
        ),
        (lambda: measure(IMAGES, IMAGES, IMAGES, features=must_not_run, neighbour=60), "neighbour must be below.*60"),
        (lambda: measure(IMAGES, IMAGES, None, features=must_not_run, subset_size=60), "subset_size must lie between"),
        (lambda: measure(IMAGES, IMAGES, None, features=must_not_run, confidence=0), "confidence must lie"),
        (lambda: measure(IMAGES, IMAGES, None, features=lambda x: x), "features must map 2 images to .2, d."),
        (lambda: measure(IMAGES, IMAGES, None, features=lambda x: None), "must return an array"),
        (lambda: measure(IMAGES, IMAGES, None, features=lambda x: x[:, 0, 0] * np.nan), "features of train has NaN"),
        (lambda: fidelity.report.check_counts(100, 10, None, 20), "train has 10 images.*at least 42"),
    ],
)
def test_bad_input_raises(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_counts_that_suffice():
    assert fidelity.report.check_counts(100, 42, 50, 20) == 42
    assert fidelity.report.check_counts(100, 42, None, 20) == 42
    assert metrics.features.name_of(must_not_run) == "must_not_run"
