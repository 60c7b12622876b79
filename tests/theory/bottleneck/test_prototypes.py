"""Prototype denoisers: atoms, weights, and fits, against float64 NumPy and scikit-learn-free brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxcreativity import generate, schedules
from jaxcreativity.theory.bottleneck import PrototypeDenoiser, fit_prototypes
from jaxcreativity.training import denoising_loss

apply = jax.jit(jax.vmap(lambda denoiser, y, sigma: denoiser(y, sigma), (None, 0, None)))

CENTRES = np.random.default_rng(0).standard_normal((5, 3))
LOG_WEIGHTS = np.log([0.4, 0.05, 0.25, 0.2, 0.1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_is_the_posterior_mean(dtype):
    denoiser = PrototypeDenoiser(CENTRES.astype(dtype), LOG_WEIGHTS.astype(dtype) + dtype(3.0))
    for sigma in (0.2, 1.0, 50.0):
        y = np.random.default_rng(1).standard_normal((6, 3)) * (1 + sigma)
        squares = np.square(y[:, None] - CENTRES).sum(axis=2)
        expected = scipy.special.softmax(LOG_WEIGHTS - squares / (2 * sigma**2), axis=1) @ CENTRES
        # Squared distances of size 2 y^2 carry that times eps of rounding into the exponent.
        slack = 20 * np.finfo(dtype).eps * (1 + np.square(y).sum(axis=1).max() / sigma**2)
        np.testing.assert_allclose(apply(denoiser, y.astype(dtype), dtype(sigma)), expected, atol=slack)


def test_equal_weights_by_default():
    assert PrototypeDenoiser(CENTRES).generated_limit().weights.tolist() == [0.2] * 5


def test_generates_its_atoms_with_their_weights():
    count = 4000
    denoiser = PrototypeDenoiser(CENTRES, LOG_WEIGHTS)
    grid = schedules.grid(schedules.log_linear(1e-3, 1e3), 400)
    out = np.asarray(generate(denoiser, jax.random.normal(jax.random.key(0), (count, 3)), grid))
    distances = np.abs(out[:, None] - CENTRES).max(axis=2)
    assert distances.min(axis=1).max() == 0
    law = denoiser.generated_limit()
    weights = np.asarray(law.weights)
    np.testing.assert_allclose(weights, np.exp(LOG_WEIGHTS), atol=1e-15)
    frequencies = np.bincount(distances.argmin(axis=1), minlength=5) / count
    assert (np.abs(frequencies - weights) < 4 * np.sqrt(weights * (1 - weights) / count)).all()


def best_partition(x, k):
    """Least k-means distortion over all assignments."""
    best = np.inf
    for labels in itertools.product(range(k), repeat=len(x)):
        groups = [x[np.array(labels) == j] for j in range(k)]
        best = min(best, sum(np.square(g - g.mean(axis=0)).sum() for g in groups if len(g)))
    return best


def test_k_means_finds_the_best_partition_of_few_points():
    x = np.random.default_rng(2).standard_normal((8, 2))
    fitted = fit_prototypes(x, 3, jax.random.key(0))
    squares = np.square(x[:, None] - np.asarray(fitted.centres)).sum(axis=2)
    assert squares.min(axis=1).sum() == pytest.approx(best_partition(x, 3), rel=1e-12)
    counts = np.bincount(squares.argmin(axis=1), minlength=3)
    np.testing.assert_allclose(fitted.weights, counts / 8, atol=1e-15)


def test_as_many_prototypes_as_images_are_the_images(digits):
    x = digits[:12].astype(np.float32)
    fitted = fit_prototypes(x, 12, jax.random.key(0))
    distances = np.abs(np.asarray(fitted.centres)[:, None] - x).max(axis=(2, 3, 4))
    assert sorted(distances.argmin(axis=1).tolist()) == list(range(12))
    assert distances.min(axis=1).max() == 0
    np.testing.assert_allclose(fitted.weights, 1 / 12, rtol=1e-6)


def test_minimising_the_loss_improves_on_k_means(digits):
    levels = np.array([3.0, 2.0, 0.0])
    k_means = fit_prototypes(digits, 6, jax.random.key(0))
    fitted = fit_prototypes(
        digits, 6, jax.random.key(0), sigmas=levels, num_steps=200, batch_size=64, learning_rate=0.05
    )
    losses = [
        float(denoising_loss(d, jnp.asarray(digits), jnp.asarray(levels), jax.random.key(1), num_draws=20).mean())
        for d in (k_means, fitted)
    ]
    # The same noise for both; 1280 draws a level.
    assert losses[1] < 0.993 * losses[0]


def test_at_small_noise_nothing_beats_k_means(digits):
    k_means = fit_prototypes(digits, 6, jax.random.key(0))
    fitted = fit_prototypes(
        digits, 6, jax.random.key(0), sigmas=np.array([1e-3]), num_steps=200, batch_size=64, learning_rate=1e-3
    )
    squares = [
        np.square(digits[:, None] - np.asarray(d.centres)).sum(axis=(2, 3, 4)).min(axis=1).sum()
        for d in (k_means, fitted)
    ]
    assert squares[0] <= squares[1] < 1.002 * squares[0]


DUPLICATED = np.concatenate([CENTRES, CENTRES[:2]])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PrototypeDenoiser(CENTRES, LOG_WEIGHTS[:4]), r"log_weights must be floating point \(5,\).*got \(4,\)"),
        (lambda: PrototypeDenoiser(CENTRES, np.array([0.0, 0, 0, 0, -np.inf])), "log_weights must be finite"),
        (lambda: PrototypeDenoiser(CENTRES * np.inf), "centres has NaN or infinite entries in 5 of 5"),
        (lambda: fit_prototypes(CENTRES, 6, jax.random.key(0)), "exceeds the 5 distinct examples .5 less 0 dup"),
        (lambda: fit_prototypes(DUPLICATED, 6, jax.random.key(0)), "exceeds the 5 distinct examples .7 less 2 dup"),
        (lambda: fit_prototypes(CENTRES, 0, jax.random.key(0)), "num_prototypes must be an integer of at least 1"),
        (
            lambda: fit_prototypes(CENTRES, 2, jax.random.key(0), sigmas=np.array([1.0, -1.0])),
            "positive noise levels",
        ),
        (lambda: jax.jit(lambda x: fit_prototypes(x, 2, jax.random.key(0)))(CENTRES), "outside jit"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
