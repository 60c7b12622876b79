"""Arbitrary affine denoisers: a dense NumPy recursion and Monte Carlo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity import generate, schedules
from jaxcreativity.theory import linear
from jaxcreativity.theory.empirical import EmpiricalDenoiser
from jaxcreativity.theory.linear import AffineDenoiser
from tests.theory.linear.test_linear import assert_moments, dense_chain

SHAPE = (2, 2, 1)
SIGMAS = np.array([5.0, 2.0, 0.7, 0.2, 0.0])


def random_denoiser():
    """Matrices that are not symmetric and do not commute, like those of a trained network."""
    rng = np.random.default_rng(0)
    return AffineDenoiser(SIGMAS[:-1], 0.4 * rng.standard_normal((4, 4, 4)), rng.standard_normal((4, 4)), SHAPE)


def test_applies_the_nearest_level():
    denoiser = random_denoiser()
    y = np.random.default_rng(1).standard_normal(SHAPE)
    apply = jax.jit(lambda d, y, s: d(y, s))
    for sigma, level in [(100.0, 0), (5.0, 0), (2.1, 1), (0.7, 2), (0.38, 2), (0.37, 3), (1e-4, 3)]:
        expected = denoiser.matrices[level] @ y.ravel() + denoiser.biases[level]
        np.testing.assert_allclose(apply(denoiser, y, sigma), expected.reshape(SHAPE), atol=1e-13)


def test_numpy_fields_work_in_traced_code():
    denoiser = random_denoiser()
    jax.jit(lambda y: denoiser(y, y[0, 0, 0]))(jnp.ones(SHAPE))


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_generated_is_the_dense_recursion(eta):
    denoiser = random_denoiser()
    law = linear.generated(denoiser, SIGMAS, eta=eta)
    mean, covariance = dense_chain(np.asarray(denoiser.matrices), np.asarray(denoiser.biases), SIGMAS, eta)
    np.testing.assert_allclose(law.mean, mean, atol=1e-12)
    np.testing.assert_allclose(law.covariance, covariance, atol=1e-12)


def test_generated_is_the_samplers_by_monte_carlo():
    """Within 4 standard errors, 3 etas x 14 numbers; the seed is fixed."""
    denoiser, n = random_denoiser(), 20_000
    for seed, eta in enumerate((0.0, 0.5, 1.0)):
        z_key, step_key = jax.random.split(jax.random.key(seed))
        drawn = generate(denoiser, jax.random.normal(z_key, (n, *SHAPE)), SIGMAS, eta=eta, key=step_key)
        assert_moments(drawn.reshape(n, -1), linear.generated(denoiser, SIGMAS, eta=eta))


def test_from_denoiser_reads_matrices_and_biases():
    denoiser = random_denoiser()
    read = linear.from_denoiser(denoiser, SIGMAS, SHAPE)
    np.testing.assert_allclose(read.levels, denoiser.levels)
    np.testing.assert_allclose(read.matrices, denoiser.matrices, atol=1e-13)
    np.testing.assert_allclose(read.biases, denoiser.biases, atol=1e-13)


def test_from_denoiser_of_a_fit_generates_the_same():
    x = np.random.default_rng(2).standard_normal((12, *SHAPE)) + 0.5
    denoiser, sigmas = linear.fit(x, "full"), schedules.grid(schedules.cosine(), 8)
    got = jax.jit(lambda d: linear.generated(linear.from_denoiser(d, sigmas, SHAPE), sigmas, eta=0.5))(denoiser)
    expected = jax.jit(lambda d: linear.generated(d, sigmas, eta=0.5))(denoiser)
    np.testing.assert_allclose(got.mean, expected.mean, atol=1e-9)
    np.testing.assert_allclose(got.covariance, expected.covariance, atol=1e-9)


def test_float32_denoiser_is_recognised_as_affine():
    x = np.random.default_rng(2).standard_normal((12, *SHAPE)).astype(np.float32)
    sigmas = schedules.grid(schedules.cosine(), 8).astype(jnp.float32)
    assert linear.from_denoiser(linear.fit(x, "full"), sigmas, SHAPE).matrices.dtype == jnp.float32


def test_a_denoiser_that_is_not_affine_is_refused():
    data = np.random.default_rng(3).standard_normal((5, *SHAPE))
    with pytest.raises(ValueError, match="not affine in y"):
        linear.from_denoiser(EmpiricalDenoiser(data), SIGMAS, SHAPE)
    slightly = jax.tree_util.Partial(lambda y, sigma: 0.5 * y + 1e-4 * jnp.sin(y))
    with pytest.raises(ValueError, match="not affine in y"):
        linear.from_denoiser(slightly, SIGMAS, SHAPE)


@pytest.mark.usefixtures("unchecked")
def test_bad_input():
    good = {"levels": np.ones(2), "matrices": np.zeros((2, 4, 4)), "biases": np.zeros((2, 4)), "shape": SHAPE}
    for change in (
        {"levels": np.ones(3)},
        {"matrices": np.zeros((2, 4, 3))},
        {"biases": np.zeros((2, 3))},
        {"shape": (5,)},
    ):
        with pytest.raises(ValueError, match=r"for \d levels and examples of shape"):
            AffineDenoiser(**{**good, **change})
    with pytest.raises(ValueError, match=r"y must have shape \(2, 2, 1\), got \(4,\)"):
        AffineDenoiser(**good)(np.zeros(4), 0.1)
    with pytest.raises(ValueError, match="strictly decreasing"):
        linear.from_denoiser(random_denoiser(), SIGMAS[::-1], SHAPE)
    with pytest.raises(ValueError, match="strictly decreasing"):
        linear.generated(random_denoiser(), SIGMAS[::-1])
