"""Samplers, moments and densities against SciPy, quadrature in float64, and Monte Carlo with stated standard errors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from jaxcreativity import distributions
from tests.distributions.laws import (
    ONE_DIMENSIONAL,
    WITH_DENSITY,
    draw,
    every_target,
    log_prob,
    log_prob_batch,
    make,
    one_dimensional,
)

# --- sampler, moments ---------------------------------------------------------------------------------------------


@every_target
def test_sampler_has_the_exact_mean_and_covariance(name, key):
    target, n = make(name), 20_000
    x = np.asarray(draw(target, key, n))
    assert x.shape == (n, *target.shape)
    u = x.reshape(n, -1) - np.asarray(target.mean)
    # Four standard errors, each estimated from the sample.
    assert (np.abs(u.mean(0)) <= 4 * u.std(0) / n**0.5 + 1e-12).all()
    products, squared_products = u.T @ u / n, np.square(u).T @ np.square(u) / n
    error = np.abs(products - np.asarray(target.covariance))
    assert (error <= 4 * np.sqrt(squared_products - products**2) / n**0.5 + 1e-12).all()


@one_dimensional
def test_moments_are_those_of_the_samples(name, key):
    target, n = make(name), 50_000
    x = np.asarray(draw(target, key, n))[:, 0]
    moments = np.asarray(target.moments(4))
    assert moments.shape == (5,)
    for k in range(5):
        assert abs((x**k).mean() - moments[k]) <= 4 * (x**k).std() / n**0.5 + 1e-12
    np.testing.assert_allclose(moments[1], target.mean[0], rtol=1e-12)
    np.testing.assert_allclose(moments[2] - moments[1] ** 2, target.covariance[0, 0], rtol=1e-12)
    assert target.moments(0).shape == (1,)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("laplace", scipy.stats.laplace(0.4, 0.7)),
        ("exponential", scipy.stats.expon(scale=1 / 1.6)),
        ("uniform", scipy.stats.uniform(-0.5, 2.5)),
    ],
)
def test_one_dimensional_targets_are_scipys(name, reference):
    target = make(name)
    x = np.linspace(-2, 3, 41)
    ours = log_prob_batch(target, jnp.asarray(x)[:, None])
    np.testing.assert_allclose(ours, reference.logpdf(x), rtol=1e-12, atol=1e-12)
    for k, moment in enumerate(target.moments(7)):
        np.testing.assert_allclose(moment, reference.moment(k), rtol=1e-7)  # SciPy integrates some of them


@pytest.mark.parametrize("name", [name for name in ONE_DIMENSIONAL if name in WITH_DENSITY])
def test_samples_follow_the_distribution_function(name, key):
    target = make(name)
    x = np.sort(np.asarray(draw(target, key, 4000))[:, 0])
    grid = np.linspace(x[0] - 3, x[-1] + 3, 20_001)
    density = np.exp(np.asarray(log_prob_batch(target, grid[:, None])))
    cdf = scipy.integrate.cumulative_trapezoid(density, grid, initial=0)
    statistic = np.abs(np.interp(x, grid, cdf) - (np.arange(4000) + 0.5) / 4000).max()
    assert statistic < 1.95 / 4000**0.5  # exceeded with probability 0.001


# --- densities ----------------------------------------------------------------------------------------------------


@one_dimensional
def test_density_integrates_to_one(name):
    target = make(name)
    if name == "atoms_1d":
        total = sum(np.exp(float(target.log_prob(point))) for point in target.points)
        assert float(target.log_prob(jnp.array([0.1]))) == -np.inf
    else:
        density = lambda x: np.exp(float(log_prob(target, np.array([x]))))  # noqa: E731
        cuts = [-30.0, -3.0, -0.5, 0.0, 0.4, 2.0, 5.0, 40.0]
        total = sum(scipy.integrate.quad(density, a, b, epsabs=1e-10)[0] for a, b in itertools.pairwise(cuts))
    assert abs(total - 1) < 1e-8


@pytest.mark.parametrize("name", ["ring", "mixture_2d"])
def test_density_in_the_plane_has_mass_one_and_the_exact_covariance(name):
    target = make(name)
    axis = np.linspace(-6, 6, 401)
    x = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    # The trapezoidal rule is spectrally accurate for a smooth density that vanishes at the ends.
    weights = np.exp(np.asarray(log_prob_batch(target, x))) * (axis[1] - axis[0]) ** 2
    u = x - np.asarray(target.mean)
    np.testing.assert_allclose(weights.sum(), 1, atol=1e-9)
    np.testing.assert_allclose((weights[:, None] * u).sum(0), 0, atol=1e-9)
    np.testing.assert_allclose((weights[:, None] * u).T @ u, target.covariance, atol=1e-9)


def test_log_prob_of_mixture_and_texture_is_scipys(key):
    mixture, texture = make("mixture_2d"), make("texture")
    x = draw(mixture, key, 20)
    parts = [
        np.log(w) + scipy.stats.multivariate_normal(m, c).logpdf(x)
        for w, m, c in zip(*(np.asarray(leaf) for leaf in jax.tree.leaves(mixture)), strict=True)
    ]
    np.testing.assert_allclose(log_prob_batch(mixture, x), np.logaddexp(*parts), rtol=1e-10)
    images = draw(texture, key, 20)
    normal = scipy.stats.multivariate_normal(np.zeros(20), np.asarray(texture.covariance))
    np.testing.assert_allclose(log_prob_batch(texture, images), normal.logpdf(images.reshape(20, -1)), rtol=1e-10)


def test_texture_without_power_at_a_frequency_has_no_density(key):
    power = np.ones((4, 4))
    power[0, 0] = 0
    texture = distributions.Texture(power)
    x = draw(texture, key, 1)[0]
    assert float(texture.log_prob(x)) == np.inf
    assert float(texture.log_prob(x + 0.5)) == -np.inf
