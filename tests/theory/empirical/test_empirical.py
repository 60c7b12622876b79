"""The empirical denoiser against float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxcreativity import generate, schedules, score
from jaxcreativity.theory.empirical import EmpiricalDenoiser

apply = jax.jit(lambda denoiser, y, sigma: denoiser(y, sigma))


def posterior_mean(data, y, sigma):
    flat = np.asarray(data, np.float64).reshape(len(data), -1)
    squares = np.square(flat - np.asarray(y, np.float64).ravel()).sum(axis=1)
    return (scipy.special.softmax(-squares / (2 * sigma**2)) @ flat).reshape(y.shape)


def test_is_the_posterior_mean(digits):
    noise = np.random.default_rng(0).standard_normal(digits.shape[1:])
    for sigma in (0.05, 0.8, 3.0, 100.0):
        y = digits[5] + sigma * noise
        got = apply(EmpiricalDenoiser(digits), y, np.float64(sigma))
        np.testing.assert_allclose(got, posterior_mean(digits, y, sigma), atol=1e-12)


@pytest.mark.parametrize("chunk_size", [1, 8, 15, 63, 64, 1000])
def test_does_not_depend_on_chunks(digits, chunk_size):
    y = digits[5] + 1.5 * np.random.default_rng(0).standard_normal(digits.shape[1:])
    got = apply(EmpiricalDenoiser(digits, chunk_size), y, 1.5)
    np.testing.assert_allclose(got, posterior_mean(digits, y, 1.5), atol=1e-12)


def test_score_is_the_gradient_of_the_mixture_density():
    data = np.random.default_rng(1).standard_normal((6, 3))
    y, sigma = np.array([0.1, 0.5, -0.3]), 0.6
    log_density = lambda y: jax.nn.logsumexp(-jnp.sum(jnp.square(y[None] - data), axis=1) / (2 * sigma**2))  # noqa: E731
    np.testing.assert_allclose(
        score(EmpiricalDenoiser(data), y, sigma), jax.grad(log_density)(jnp.asarray(y)), atol=1e-12
    )


@pytest.mark.parametrize("chunk_size", [None, 15])
def test_float32_at_small_sigma(digits, chunk_size):
    """Between two images, where the weights hang on the difference of two distances that are nearly equal."""
    denoiser = EmpiricalDenoiser(digits.astype(np.float32), chunk_size)
    a, b = digits[3].astype(np.float32), digits[13].astype(np.float32)
    gap = np.square(a - b).sum()
    for sigma in (0.3, 0.1, 0.05):
        # Off the middle by so much that the log-odds, gap * (1 - 2 f) / (2 sigma^2), are 1.
        f = np.float32(0.5 - sigma**2 / gap)
        y = a + f * (b - a)
        got = apply(denoiser, y, np.float32(sigma))
        # Squared distances of 64 entries have a relative error of about 64 eps / 4 = 1e-6 in float32, so the log-odds
        # have one of 1e-6 * (gap / 4) / (2 sigma^2), and a weight a quarter of that; images differ by at most 2.
        tolerance = 2 * 0.25 * 1e-6 * (gap / 4) / (2 * sigma**2) + 1e-6
        assert 1e-7 < tolerance < 0.01
        np.testing.assert_allclose(got, posterior_mean(digits, y, np.float64(np.float32(sigma))), atol=tolerance)


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_float32_between_near_images_among_distant_ones(chunk_size):
    """Rounding of distances to the origin, to the mirror image of y or to what lies beyond y is 100 times `sigma^2`."""
    rng, sigma = np.random.default_rng(0), np.float32(0.03)
    y, gap = 100 * rng.standard_normal(16).astype(np.float32), rng.standard_normal(16).astype(np.float32)
    gap *= sigma / np.linalg.norm(gap)
    data = np.stack([0 * y, -y, y + gap, 1.5 * y, y - 1.5 * gap])
    got = apply(EmpiricalDenoiser(data, chunk_size), y, sigma)
    expected = posterior_mean(data, y, np.float64(sigma))
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("chunk_size", [None, 7])
def test_finite_and_nearest_at_tiny_sigma_in_float32(digits, chunk_size):
    denoiser = EmpiricalDenoiser(digits.astype(np.float32), chunk_size)
    y = digits[20].astype(np.float32) + 0.1
    for sigma in (1e-4, 1e-8, 1e-30, 0.0):
        np.testing.assert_allclose(apply(denoiser, y, np.float32(sigma)), digits[20], atol=1e-6)


@pytest.mark.parametrize("chunk_size", [None, 2])
def test_tied_data(chunk_size):
    """Equal images count as often as they occur; the middle of two stays the middle."""
    data = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [5.0, 5.0], [1.0, 0.0]], np.float32)
    denoiser = EmpiricalDenoiser(data, chunk_size)
    for sigma in (1e-4, 0.1):
        np.testing.assert_allclose(apply(denoiser, np.zeros(2, np.float32), np.float32(sigma)), [0.5, 0.0], atol=1e-6)


def test_one_image_is_returned_whatever_y():
    data = np.array([[0.3, -0.2]])
    for sigma in (1e-4, 1.0, 1e3):
        np.testing.assert_allclose(apply(EmpiricalDenoiser(data), np.array([9.0, 9.0]), sigma), data[0], atol=1e-12)


def test_samples_are_training_images(digits):
    """Memorisation (theory section 1)."""
    sigmas = schedules.grid(schedules.karras(0.02, 80.0), 20)
    z = jax.random.normal(jax.random.key(0), (16, *digits.shape[1:]))
    samples = generate(EmpiricalDenoiser(digits), z, sigmas)
    distances = np.abs(np.asarray(samples)[:, None] - digits).reshape(16, len(digits), -1).max(axis=2)
    assert (distances.min(axis=1) < 1e-6).all()
    assert len(set(distances.argmin(axis=1))) > 5


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_gradient_is_that_of_finite_differences(chunk_size):
    rng = np.random.default_rng(2)
    data, y, weights = rng.standard_normal((6, 3)), rng.standard_normal(3), rng.standard_normal(3)
    loss = lambda x, y, sigma: jnp.sum(weights * EmpiricalDenoiser(x, chunk_size)(y, sigma))  # noqa: E731
    both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
    at, h = (data, y, np.float64(0.8)), 1e-5
    gradient = both(*at)[1]
    for i, part in enumerate(at):
        direction = rng.standard_normal(np.shape(part))
        high, low = (float(both(*at[:i], part + s * h * direction, *at[i + 1 :])[0]) for s in (1, -1))
        assert np.sum(gradient[i] * direction) == pytest.approx((high - low) / (2 * h), abs=1e-8)  # h**2, 1e-16 / h


@pytest.mark.parametrize(
    ("data_shape", "batch"),
    [((2**20, 4), 2**14), ((64, 2**12), 2**17), ((2**17, 2**12), 2**12)],
    ids=["many images", "many queries", "large images"],
)
def test_memory_of_a_batch_is_bounded(data_shape, batch):
    """Temporary arrays stay below a GiB, by the compiled program's own account: nothing is computed."""
    data, y = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (data_shape, (batch, data_shape[1])))
    estimates = jax.jit(jax.vmap(lambda data, y: EmpiricalDenoiser(data)(y, 1.0), (None, 0)))
    assert estimates.lower(data, y).compile().memory_analysis().temp_size_in_bytes < 2**30


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("data", "chunk_size", "message"),
    [
        (np.zeros((0, 3)), None, "data needs at least 1 non-empty example"),
        (np.zeros((2, 0)), None, "data needs at least 1 non-empty example"),
        (np.zeros(3), None, "add the axis of examples"),
        (np.zeros((2, 3), np.uint8), None, "data must be floating point, got uint8"),
        (np.array([[0.0, np.nan], [1.0, 1.0]]), None, "NaN or infinite entries in 1 of 2 examples"),
        (np.array([[0.0, np.inf], [-np.inf, 1.0]]), None, "NaN or infinite entries in 2 of 2 examples"),
        ([[0.0, 1.0]], None, "data must be an array of examples, got list"),
        (np.zeros((2, 3)), 0, "chunk_size must be an integer of at least 1, got 0"),
        (np.zeros((2, 3)), True, "chunk_size must be an integer of at least 1, got True"),
    ],
)
def test_bad_input(data, chunk_size, message):
    with pytest.raises(ValueError, match=message):
        EmpiricalDenoiser(data, chunk_size)


@pytest.mark.usefixtures("unchecked")
def test_bad_query():
    denoiser = EmpiricalDenoiser(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"y must have shape \(3,\), got \(4,\)"):
        denoiser(np.zeros(4), 0.1)
    with pytest.raises(ValueError, match="y must be floating point, got int"):
        denoiser(np.zeros(3, int), 0.1)
