"""Bayes-optimal denoisers against SciPy and quadrature in float64, and at extremes of the noise."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from jaxcreativity import distributions
from tests.distributions.laws import (
    SIGMAS,
    WITH_DENSITY,
    denoise,
    denoise_batch,
    draw,
    every_target,
    log_prob_batch,
    make,
    one_dimensional,
)

PRIORS = {
    "laplace": lambda x: -np.abs(x - 0.4) / 0.7,
    "exponential": lambda x: -1.6 * x,
    "uniform": lambda x: 0 * x,
    "mixture_1d": lambda x: np.logaddexp(
        np.log(0.3 / 0.2**0.5) - (x + 1) ** 2 / 0.4, np.log(0.7 / 0.5**0.5) - (x - 0.8) ** 2
    ),
}
"""Log-densities up to a constant, inside the support."""


NODES, WEIGHTS = np.polynomial.legendre.leggauss(400)


def _gauss_legendre(edges):
    """Nodes and weights of integrals over the union of the pieces between `edges`."""
    pieces = list(itertools.pairwise(edges))
    x = np.concatenate([a + (b - a) * (NODES + 1) / 2 for a, b in pieces])
    return x, np.concatenate([(b - a) / 2 * WEIGHTS for a, b in pieces])


def _posterior_mean_by_quadrature(name, target, y, sigma):
    """E[x | y] in one dimension: a ratio of two integrals, by 400 Gauss-Legendre nodes on each smooth piece."""
    if name == "atoms_1d":
        x, log_prior = np.asarray(target.points)[:, 0], np.log(np.asarray(target.weights))
        log_w = log_prior - (x - y) ** 2 / (2 * sigma**2)
        w = np.exp(log_w - log_w.max())
        return (w * x).sum() / w.sum()
    kinks = {"laplace": [0.4], "exponential": [0.0], "uniform": [-0.5, 2.0], "mixture_1d": [0.0]}[name]
    low = {"exponential": 0.0, "uniform": -0.5}.get(name, -60.0)
    high = {"uniform": 2.0}.get(name, 60.0)

    def energy(x):
        return PRIORS[name](x) - (x - y) ** 2 / (2 * sigma**2)

    # Find where the posterior is above e^-50 of its peak on ever finer grids, then integrate there.
    for _ in range(14):
        grid = np.unique(np.concatenate([np.linspace(low, high, 801), [k for k in kinks if low <= k <= high]]))
        values = energy(grid)
        above = np.flatnonzero(values > values.max() - 50)
        low, high = grid[max(above[0] - 1, 0)], grid[min(above[-1] + 1, grid.size - 1)]
    edges = sorted({low, high, *(k for k in kinks if low < k < high)})
    x, w = _gauss_legendre(edges)
    values = energy(x)
    density = w * np.exp(values - values.max())
    return low + (density * (x - low)).sum() / density.sum()


@one_dimensional
def test_denoiser_is_the_posterior_mean_by_quadrature(name):
    target = make(name)
    denoiser = target.denoiser()
    spread = float(target.covariance[0, 0]) ** 0.5
    single = make(name, np.float32).denoiser()
    for sigma in SIGMAS:
        for x, noise in ((0.4, 0.3), (0.4, -2.5), (1.9, 1.5), (0.0, 0.0), (-0.5, -6.0)):
            y = x + sigma * noise
            expected = _posterior_mean_by_quadrature(name, target, y, sigma)
            posterior_scale = min(spread, sigma)
            got = float(denoise(denoiser, jnp.array([y]), sigma)[0])
            assert abs(got - expected) <= 1e-9 * posterior_scale + 4e-15 * abs(y), (sigma, y, got, expected)
            # float32: y itself is rounded, and the prior matters where the posterior does not resolve it.
            y32 = np.float32(y)
            expected = _posterior_mean_by_quadrature(name, target, float(y32), float(np.float32(sigma)))
            got = float(denoise(single, jnp.array([y32]), np.float32(sigma))[0])
            rounding = 3e-7  # of numbers near 1, such as the ends and the kink
            assert abs(got - expected) <= 2e-5 * posterior_scale + rounding, (sigma, y, got, expected)


def test_uniform_denoiser_is_scipys_truncated_normal():
    denoiser = distributions.Uniform(-0.5, 2.0).denoiser()
    for sigma in (0.3, 1.0, 2.0):
        for y in (-1.0, 0.3, 2.5):
            reference = scipy.stats.truncnorm((-0.5 - y) / sigma, (2.0 - y) / sigma, y, sigma).mean()
            np.testing.assert_allclose(denoise(denoiser, jnp.array([y]), sigma)[0], reference, rtol=1e-10)


@pytest.mark.parametrize("name", ["ring", "mixture_2d"])
def test_denoiser_in_the_plane_is_the_posterior_mean(name):
    target = make(name)
    axis = np.linspace(-6, 6, 601)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    prior = np.asarray(log_prob_batch(target, grid))
    denoiser = target.denoiser()
    for sigma in (0.1, 0.6, 4.0):
        for y in ([0.0, 0.0], [1.0, -0.4], [-1.6, 0.9]):
            log_w = prior - ((grid - y) ** 2).sum(1) / (2 * sigma**2)
            w = np.exp(log_w - log_w.max())
            np.testing.assert_allclose(denoise(denoiser, jnp.array(y), sigma), w @ grid / w.sum(), atol=1e-8)


def test_texture_denoiser_is_the_wiener_filter(key):
    texture = make("texture")
    y, sigma = jax.random.normal(key, texture.shape), 0.6
    covariance = np.asarray(texture.covariance)
    expected = covariance @ np.linalg.solve(covariance + sigma**2 * np.eye(20), np.asarray(y).ravel())
    np.testing.assert_allclose(np.ravel(texture.denoiser()(y, sigma)), expected, atol=1e-12)


@pytest.mark.parametrize("name", WITH_DENSITY)
def test_tweedie_denoiser_is_the_score_of_the_noisy_density(name, key):
    """The score of the noisy law, from the target with `sigma` added where the family has it, else by Monte Carlo."""
    target, sigma = make(name), 0.5
    y = draw(target, key, 1)[0] + 0.1
    if name == "ring":
        noisy = distributions.Ring(1.3, (0.2**2 + sigma**2) ** 0.5).log_prob
    elif name == "texture":
        noisy = distributions.Texture(target.power_spectrum + sigma**2).log_prob
    elif name.startswith("mixture"):
        noisy = lambda v: target.denoiser().log_prob(v, sigma)  # noqa: E731
    else:
        x, w = _gauss_legendre([-0.5, 2] if name == "uniform" else [-20, 0, 0.4, 20])
        prior = log_prob_batch(target, x[:, None]) + jnp.log(w)
        noisy = lambda v: jax.nn.logsumexp(prior - (v[0] - x) ** 2 / (2 * sigma**2))  # noqa: E731
    np.testing.assert_allclose(target.denoiser()(y, sigma), y + sigma**2 * jax.grad(noisy)(y), atol=1e-9)


@every_target
def test_denoiser_in_float32_is_finite_and_bounded_at_any_noise(name, key):
    target = make(name, np.float32)
    denoiser = target.denoiser()
    x = np.concatenate([draw(target, key, 30), np.zeros((1, *target.shape), np.float32)])
    bound = 5 + np.abs(x).max()
    for sigma in (*SIGMAS, 3e-4, 30.0):
        noise = np.asarray(jax.random.normal(key, x.shape, jnp.float32))
        for y in (x, x + np.float32(sigma) * noise, 1e4 + x, -1e4 + 0 * x):
            x_hat = denoise_batch(denoiser, y.astype(np.float32), np.float32(sigma))
            assert x_hat.dtype == jnp.float32
            assert x_hat.shape == x.shape
            assert np.isfinite(x_hat).all(), sigma
            if y is x and name.split("_")[0] not in ("mixture", "texture", "ring"):
                assert np.abs(x_hat).max() <= bound
    # sigma -> 0: the example itself; sigma -> infinity: the mean.
    np.testing.assert_allclose(denoise_batch(denoiser, x[:30], np.float32(1e-4)), x[:30], atol=2e-3)
    large = np.asarray(denoise_batch(denoiser, np.zeros_like(x), np.float32(1e3)))
    np.testing.assert_allclose(large.reshape(31, -1), np.tile(np.asarray(target.mean), (31, 1)), atol=1e-4)


def test_denoiser_at_no_noise_keeps_points_of_the_support():
    for target, y in (
        (distributions.Uniform(0.0, 1.0), 0.3),
        (distributions.Exponential(2.0), 0.3),
        (distributions.Laplace(1.0), 0.3),
    ):
        np.testing.assert_allclose(target.denoiser()(jnp.array([y]), 1e-30), [y])


@pytest.mark.parametrize("name", ["laplace", "exponential", "uniform"])
def test_denoiser_far_outside_the_target_in_float32(name):
    """The posterior is then so narrow that the squares of its widths underflow."""
    denoiser = make(name, np.float32).denoiser()
    # An unbounded target follows y, less the pull of its tail; a bounded one ends at its end.
    above = {"uniform": 2.0}.get(name, 1e15)
    below = {"uniform": -0.5, "exponential": 1e-8 / 1e15}.get(name, -1e15)  # sigma^2 / |y| from the end at 0
    for y, expected in ((1e15, above), (-1e15, below)):
        got = denoise(denoiser, np.array([y], np.float32), np.float32(1e-4))
        np.testing.assert_allclose(got, [expected], rtol=1e-6)


def test_ring_denoiser_is_smooth_at_the_origin():
    """D(y) = (radius^2 / (2 s^2) (1 - width^2 / s^2) + width^2 / s^2) y + O(y^3), s^2 = width^2 + sigma^2."""
    ring, sigma = distributions.Ring(1.3, 0.2), 0.7
    total = 0.2**2 + sigma**2
    slope = 1.3**2 / (2 * total) * (1 - 0.2**2 / total) + 0.2**2 / total
    jacobian = jax.jit(jax.jacfwd(lambda y: ring.denoiser()(y, sigma)))
    for size in (0.0, 1e-12, 1e-9, 1e-5):
        np.testing.assert_allclose(jacobian(np.array([size, -size])), slope * np.eye(2), atol=1e-8)


def test_atoms_denoiser_resolves_near_ties_in_float32():
    """Squared distances near 1 differ by less than their rounding, and sigma**2 is smaller still."""
    atoms = distributions.Atoms(np.array([[-1.0], [1.0]], np.float32))
    y, sigma = np.float32(2e-8), np.float32(2e-4)
    expected = np.tanh(float(y) / float(sigma) ** 2)
    np.testing.assert_allclose(denoise(atoms.denoiser(), jnp.array([y]), sigma)[0], expected, rtol=1e-4)


def test_singular_covariance_is_denoised_onto_its_support(key):
    target = distributions.GaussianMixture(
        np.ones(1, np.float32), np.zeros((1, 2), np.float32), np.array([[[1, 1], [1, 1]]], np.float32)
    )
    y = jnp.array([1.0, -0.5], jnp.float32)
    for sigma in (1e-4, 1.0):
        x_hat = denoise(target.denoiser(), y, np.float32(sigma))
        np.testing.assert_allclose(x_hat, 0.25 * 2 / (2 + sigma**2) * np.ones(2), atol=1e-5)
    x = np.asarray(draw(target, key, 50))
    np.testing.assert_allclose(x[:, 0], x[:, 1], atol=1e-5)


@every_target
@pytest.mark.parametrize("sigma", [0.0, 1e-25])
def test_no_noise_at_all_leaves_a_draw_as_it_is(name, sigma, key):
    """The limit, also where the square of the noise level underflows; and its derivatives are numbers."""
    target = make(name, np.float32)
    x = draw(target, key, 16)
    np.testing.assert_allclose(denoise_batch(target.denoiser(), x, np.float32(sigma)), x, atol=1e-5)  # roundings
    gradients = jax.grad(lambda d, y: jnp.sum(denoise(d, y, np.float32(sigma))), argnums=(0, 1))(
        target.denoiser(), x[0]
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_singular_components_without_noise(dtype):
    """Of two lines in the plane, y is projected onto the nearer one."""
    lines = np.array([np.diag([1.0, 0.0]), np.diag([0.0, 1.0])], dtype)
    mixture = distributions.GaussianMixture(np.array([0.5, 0.5], dtype), np.zeros((2, 2), dtype), lines)
    for sigma in (0.0, 1e-25):
        np.testing.assert_allclose(denoise(mixture.denoiser(), np.array([0.3, 0.1], dtype), sigma), [0.3, 0], atol=1e-6)


@pytest.mark.usefixtures("unchecked")
@every_target
def test_refuses_what_is_no_noise_level(name):
    denoiser, y = make(name).denoiser(), jnp.zeros(make(name).shape)
    for sigma in (-0.1, np.nan):
        with pytest.raises(ValueError, match="sigma must be at least 0"):
            denoiser(y, sigma)
