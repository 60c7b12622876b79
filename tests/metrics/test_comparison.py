"""Agreement against NumPy, SciPy and scikit-learn, its invariances, and images that have no variance."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.test_util import check_grads
from sklearn.metrics import r2_score

from jaxcreativity import metrics
from jaxcreativity.distributions import gaussian

SHAPE = (5, 4, 3)
DTYPES = [np.float64, np.float32]


def tolerance(dtype):
    return 100 * np.finfo(dtype).eps


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    a = rng.normal(size=SHAPE)
    return a, 0.6 * a + 0.5 * rng.normal(size=SHAPE) + 0.3


@pytest.mark.parametrize("dtype", DTYPES)
def test_measures_equal_scipy_and_scikit_learn(pair, dtype):
    a, b = pair
    a, b = a.astype(dtype), b.astype(dtype)
    correlation, explained = metrics.pearson(a, b), metrics.r_squared(a, b)
    assert correlation.dtype == explained.dtype == dtype
    np.testing.assert_allclose(correlation, scipy.stats.pearsonr(a.ravel(), b.ravel()).statistic, atol=tolerance(dtype))
    np.testing.assert_allclose(explained, r2_score(b.ravel(), a.ravel()), atol=tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_pearson_ignores_contrast_and_brightness_and_r_squared_does_not(pair, dtype):
    a, b = (jnp.asarray(x, dtype) for x in pair)
    changed = 3 * a + 7
    np.testing.assert_allclose(metrics.pearson(changed, b), metrics.pearson(a, b), atol=tolerance(dtype))
    np.testing.assert_allclose(metrics.pearson(-a, b), -metrics.pearson(a, b), atol=tolerance(dtype))
    np.testing.assert_allclose(metrics.pearson(b, a), metrics.pearson(a, b), atol=tolerance(dtype))
    assert metrics.r_squared(changed, b) < metrics.r_squared(a, b) - 1
    # The same change of both images is no change.
    np.testing.assert_allclose(metrics.r_squared(changed, 3 * b + 7), metrics.r_squared(a, b), atol=tolerance(dtype))


def test_r_squared_is_not_the_square_of_pearson(pair):
    b = pair[1]
    half = b.mean() + 0.5 * (b - b.mean())
    np.testing.assert_allclose(metrics.pearson(half, b), 1, atol=1e-14)
    np.testing.assert_allclose(metrics.r_squared(half, b), 0.75, atol=1e-14)
    negative = 2 * b.mean() - b
    np.testing.assert_allclose(metrics.pearson(negative, b), -1, atol=1e-14)
    np.testing.assert_allclose(metrics.r_squared(negative, b), -3, atol=1e-14)
    np.testing.assert_allclose(metrics.r_squared(np.full_like(b, b.mean()), b), 0, atol=1e-14)
    assert metrics.r_squared(*pair) < metrics.pearson(*pair) ** 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_identical_images_agree_exactly(pair, dtype):
    a = pair[0].astype(dtype)
    assert metrics.pearson(a, a) <= 1
    np.testing.assert_allclose(metrics.pearson(a, a), 1, atol=tolerance(dtype))
    assert metrics.r_squared(a, a) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.0, 0.1, -1.0, 1e6])
def test_constant_images_give_zero_unless_equal(pair, dtype, value):
    a = pair[0].astype(dtype)
    constant = np.full(SHAPE, value, dtype)
    rounded = constant * (1 + np.finfo(dtype).eps * (np.arange(a.size).reshape(SHAPE) % 2)).astype(dtype)
    other = constant + dtype(1)
    for flat in (constant, rounded):
        assert metrics.pearson(a, flat) == metrics.pearson(flat, a) == 0
        assert metrics.pearson(flat, other) == 0
        assert metrics.pearson(flat, constant) == 1
        assert metrics.r_squared(a, flat) == 0
        assert metrics.r_squared(other, flat) == 0
        assert metrics.r_squared(flat, constant) == 1
        assert np.isfinite(metrics.r_squared(flat, a))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.5, -1.0])
def test_constant_images_are_equal_to_within_four_units_in_the_last_place(dtype, value):
    flat = np.full(SHAPE, value, dtype)
    for units, is_equal in ((3, 1), (5, 0)):
        moved = flat * dtype(1 + units * np.finfo(dtype).eps)
        for a, b in ((flat, moved), (moved, flat)):
            assert metrics.pearson(a, b) == metrics.r_squared(a, b) == is_equal
    one_pixel = flat.copy()
    one_pixel[1, 2, 0] += 1
    assert metrics.r_squared(one_pixel, flat) == 0
    # And constant to within four.
    steps = np.arange(flat.size).reshape(SHAPE) % 2
    for units in (3, 5):
        rising = flat * (1 + units * dtype(np.finfo(dtype).eps) * steps).astype(dtype)
        assert metrics.pearson(rising, steps.astype(dtype)) == pytest.approx(np.sign(value) * (units == 5))


def test_an_image_that_is_brightest_at_its_first_pixel(pair):
    a, b = (np.sort(x.ravel())[::-1].reshape(SHAPE) for x in pair)
    np.testing.assert_allclose(metrics.pearson(a, b), scipy.stats.pearsonr(a.ravel(), b.ravel()).statistic, rtol=1e-12)
    np.testing.assert_allclose(metrics.r_squared(a, b), r2_score(b.ravel(), a.ravel()), rtol=1e-12)


def test_correlations_stay_within_one():
    """Rounding alone takes some of these to 1 + 1e-7."""
    x = np.random.default_rng(2).normal(size=(500, 7)).astype(np.float32)
    assert np.abs(jax.vmap(metrics.pearson)(x, 3 * x)).max() <= 1
    assert np.abs(jax.vmap(metrics.pearson)(x, -3 * x)).max() <= 1


def test_one_pixel_is_a_constant_image():
    assert metrics.pearson(np.ones((1, 1)), np.ones((1, 1))) == 1
    assert metrics.r_squared(np.zeros((1, 1)), np.ones((1, 1))) == 0


@pytest.mark.parametrize("scale", [1e-30, 1e30, 1e38])
def test_extreme_contrast_in_float32_neither_overflows_nor_underflows(pair, scale):
    a, b = (np.asarray(x / np.abs(x).max() * scale, np.float32) for x in pair)
    exact = [x.astype(np.float64).ravel() for x in (a, b)]
    np.testing.assert_allclose(metrics.pearson(a, b), scipy.stats.pearsonr(*exact).statistic, atol=1e-5)
    np.testing.assert_allclose(metrics.r_squared(a, b), r2_score(*exact[::-1]), atol=1e-5)


def test_blown_up_prediction_gives_a_finite_negative_r_squared(pair):
    a, b = (np.asarray(x, np.float32) for x in pair)
    for prediction in (a * 1e25, a * 1e36):
        value, slope = jax.value_and_grad(metrics.r_squared)(jnp.asarray(prediction), b)
        assert np.isfinite(value)
        assert value < -1e30
        assert np.isfinite(slope).all()


def test_small_contrast_on_a_large_offset_is_resolved_in_float32():
    rng = np.random.default_rng(1)
    a, b = ((1000 + rng.integers(0, 50, size=SHAPE) / 1024).astype(np.float32) for _ in range(2))
    exact = scipy.stats.pearsonr(a.ravel().astype(np.float64), b.ravel().astype(np.float64)).statistic
    np.testing.assert_allclose(metrics.pearson(a, b), exact, atol=1e-5)


@pytest.mark.parametrize("measure", [metrics.pearson, metrics.r_squared])
def test_gradients_equal_finite_differences(pair, measure):
    images = tuple(map(jnp.asarray, pair))
    check_grads(jax.jit(measure), images, order=1, modes=("fwd", "rev"), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("measure", [metrics.pearson, metrics.r_squared])
def test_gradients_at_constant_and_equal_images_are_finite(pair, measure):
    a = jnp.asarray(pair[0])
    flat = jnp.full(SHAPE, 0.1)
    slopes = jax.jit(jax.grad(measure, argnums=(0, 1)))
    for images in ((a, flat), (flat, a), (flat, flat), (flat, flat + 1), (a, a)):
        for slope in slopes(*images):
            assert np.isfinite(slope).all()


def test_batch_is_the_loop_over_pairs(pair):
    rng = np.random.default_rng(2)
    prediction = rng.normal(size=(7, *SHAPE))
    target = prediction + rng.normal(size=(7, *SHAPE)) * np.linspace(0.1, 2, 7).reshape(7, 1, 1, 1)
    result = metrics.agreement(prediction, target)
    reference = [scipy.stats.pearsonr(p.ravel(), t.ravel()).statistic for p, t in zip(prediction, target, strict=True)]
    explained = [r2_score(t.ravel(), p.ravel()) for p, t in zip(prediction, target, strict=True)]
    np.testing.assert_allclose(result.pearson, reference, atol=1e-13)
    np.testing.assert_allclose(result.r_squared, explained, atol=1e-13)
    np.testing.assert_allclose(result.pearson_quartiles, np.quantile(reference, [0.25, 0.5, 0.75]), atol=1e-13)
    np.testing.assert_allclose(result.r_squared_quartiles, np.quantile(explained, [0.25, 0.5, 0.75]), atol=1e-13)
    jitted = jax.jit(metrics.agreement)(prediction, target)
    np.testing.assert_allclose(jitted.r_squared, result.r_squared, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_summary_is_plain_numbers_for_json(dtype):
    rng = np.random.default_rng(3)
    result = metrics.agreement(rng.normal(size=(9, *SHAPE)).astype(dtype), rng.normal(size=(9, *SHAPE)).astype(dtype))
    numbers = json.loads(json.dumps(result.summary(), allow_nan=False))
    assert set(numbers) == {"count"} | {
        f"{measure}_{at}" for measure in ("pearson", "r_squared") for at in ("q25", "median", "q75")
    }
    assert numbers["count"] == 9
    np.testing.assert_allclose(numbers["pearson_median"], np.median(result.pearson), rtol=1e-6)
    np.testing.assert_allclose(numbers["r_squared_q75"], np.quantile(result.r_squared, 0.75), rtol=1e-6)


def law(covariance):
    return gaussian.Gaussian(np.zeros(len(covariance)), covariance)


@pytest.mark.parametrize("n", [5, 6, 40], ids=lambda n: f"{n} samples of 6 entries")
def test_covariance_error_of_samples_and_of_laws(n):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(n, 2, 3, 1)) * np.arange(1, 7).reshape(2, 3, 1)
    other = np.cov(rng.normal(size=(40, 6)).T)
    sampled = np.cov(x.reshape(n, 6).T, bias=True)
    expected = np.linalg.norm(sampled - other) / np.linalg.norm(other)
    for estimate in (x, x.reshape(n, 6), law(sampled)):
        np.testing.assert_allclose(metrics.covariance_error(estimate, other), expected, rtol=1e-12)
    assert metrics.covariance_error(law(other), other) == 0
    np.testing.assert_allclose(metrics.covariance_error(law(2 * other), other), 1, rtol=1e-12)


def test_a_symmetric_array_is_samples_too():
    x = np.asarray([[2.0, 1.0], [1.0, 4.0]])
    expected = np.linalg.norm(np.cov(x.T, bias=True) - x) / np.linalg.norm(x)
    np.testing.assert_allclose(metrics.covariance_error(x, x), expected, rtol=1e-12)


def test_covariance_error_is_differentiable():
    rng = np.random.default_rng(5)
    x, covariance = jnp.asarray(rng.normal(size=(9, 4))), jnp.diag(jnp.arange(1.0, 5.0))
    check_grads(jax.jit(metrics.covariance_error), (x, covariance), order=1, modes=("rev",), atol=1e-6, rtol=1e-6)


def test_sampling_error_is_the_rms_covariance_error_of_gaussian_samples(key):
    law = gaussian.Gaussian(jnp.arange(4.0), jnp.diag(jnp.asarray([4.0, 2.0, 1.0, 0.5])))
    n, repeats = 12, 4000
    sets = law.sample(key, n * repeats).reshape(repeats, n, 4)
    squares = np.asarray(jax.vmap(lambda x: metrics.covariance_error(x, law.covariance))(sets)) ** 2
    standard_error = squares.std() / np.sqrt(repeats)
    expected = float(metrics.sampling_error(law.covariance, n)) ** 2
    assert abs(squares.mean() - expected) < 4 * standard_error
    assert 4 * standard_error < 0.1 * expected


IMAGE = np.zeros((2, 2))
BATCH = np.zeros((3, 2, 2))
EYE = np.eye(4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.pearson(IMAGE, IMAGE[:1]), r"same shape, got \(2, 2\) and \(1, 2\)"),
        (lambda: metrics.pearson(IMAGE, IMAGE.astype(int)), "b must be floating point"),
        (lambda: metrics.r_squared(IMAGE.astype(int), IMAGE), "prediction must be floating point"),
        (lambda: metrics.r_squared(IMAGE, IMAGE + np.nan), "target has NaN or infinite entries"),
        (lambda: metrics.pearson(IMAGE + np.inf, IMAGE), "a has NaN or infinite entries"),
        (lambda: metrics.pearson(IMAGE[:0], IMAGE[:0]), "must not be empty"),
        (lambda: metrics.agreement(BATCH, BATCH[:2]), r"same shape .* got \(3, 2, 2\) and \(2, 2, 2\)"),
        (lambda: metrics.agreement(BATCH[:0], BATCH[:0]), "prediction needs at least 1"),
        (lambda: metrics.agreement(BATCH, BATCH + np.nan), "target has NaN or infinite entries in 3 of 3"),
        (lambda: metrics.agreement(BATCH.astype(int), BATCH), "prediction must be floating point"),
        (lambda: metrics.covariance_error(EYE, 0 * EYE), "covariance is zero"),
        (lambda: metrics.covariance_error(EYE, EYE[:2]), r"covariance must have shape \(d, d\)"),
        (lambda: metrics.covariance_error(EYE, np.triu(EYE + 1)), "covariance is not symmetric"),
        (lambda: metrics.covariance_error(law(np.triu(EYE + 1)), EYE), "covariance of estimate is not symmetric"),
        (lambda: metrics.covariance_error(law(EYE[:3, :3]), EYE), "must have 4 entries per sample.*got 3"),
        (lambda: metrics.covariance_error(np.zeros((9, 3)), EYE), "must have 4 entries per sample.*got 3"),
        (lambda: metrics.covariance_error(EYE * np.nan, EYE), "estimate has NaN"),
        (lambda: metrics.sampling_error(EYE, 0), "n must be an integer of at least 1"),
        (lambda: metrics.sampling_error(0 * EYE, 9), "covariance is zero"),
    ],
)
def test_bad_input_raises(call, message):
    with pytest.raises(ValueError, match=message):
        call()
