"""Polynomial modules have the degree that they claim, and can hold what the closed forms hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity import networks, schedules, training
from jaxcreativity._numerics import hermite
from jaxcreativity.theory import polynomial
from tests.registry import random_network

LEVELS = (10.0, 1.0, 0.1)
SHAPE = (4, 5, 2)
MODULES = {
    "pixel": (networks.PolynomialReadout(LEVELS, 3), 3),
    "patch": (networks.PolynomialReadout(LEVELS, 2, "patch", 3), 2),
    "joint": (networks.PolynomialReadout(LEVELS, 2, "joint"), 2),
    "quadratic MLP": (networks.MLP(width=8, depth=1, activation="quadratic"), 4),
}


@pytest.mark.parametrize("name", MODULES)
def test_degree_along_a_line(name):
    """On any line the output is a polynomial of that degree: the next finite difference vanishes, this one does not."""
    module, degree = MODULES[name]
    y, step = jax.random.normal(jax.random.key(1), (2, *SHAPE))
    denoiser = random_network(module, SHAPE, scale=0.3)
    points = y[None] + jnp.arange(degree + 2.0).reshape(-1, 1, 1, 1) * step[None]
    values = jax.jit(jax.vmap(lambda point: denoiser(point, 1.0)))(points)
    size = float(jnp.abs(values).max())
    assert np.abs(np.diff(values, degree + 1, axis=0)).max() < 1e-10 * size
    assert np.abs(np.diff(values, degree, axis=0)).max() > 1e-3 * size


def test_features_are_orthonormal_for_gaussian_noise():
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    v = jnp.asarray(np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 2))
    w = np.outer(weights, weights).ravel() / weights.sum() ** 2
    features = np.asarray(hermite.hermite_features(v, jnp.ones(2), 3)) / hermite.norms(2, 3)
    assert features.shape[1] == hermite.num_features(2, 3)
    np.testing.assert_allclose(features.T @ (w[:, None] * features), np.eye(10), atol=1e-12)


def test_training_reaches_the_closed_form():
    """Two skewed pixels at degree 2: the trained readout is the least-squares polynomial of the training set."""
    x = jax.random.exponential(jax.random.key(0), (2000, 2), jnp.float32) - 1
    grid = schedules.grid(schedules.log_linear(0.1, 5.0), 4).astype(jnp.float32)
    module = networks.PolynomialReadout(tuple(np.asarray(grid[:-1]).tolist()), 2)
    network = training.fit(
        module, x, grid, key=jax.random.key(1), num_steps=1500, batch_size=256, learning_rate=0.03, progress=False
    )
    theory = polynomial.fit(x, 2, basis="pixel", sigmas=grid)
    y = jnp.stack([jnp.linspace(-1.0, 2.0, 7)] * 2, axis=1).astype(jnp.float32)
    for sigma in grid[:-1]:
        predict = jax.jit(lambda d, y, s: jax.vmap(lambda point: d(point, s))(y))
        np.testing.assert_allclose(predict(network, y, sigma), predict(theory, y, sigma), atol=0.06)


@pytest.mark.parametrize("options", [{"basis": "patch"}, {"kernel_size": 3}, {"degree": 0}, {"basis": "fourier"},
                                     {"basis": "patch", "kernel_size": 4}])  # fmt: skip
def test_bad_settings(options, unchecked):
    with pytest.raises(ValueError, match=r"kernel_size|degree|basis"):
        networks.PolynomialReadout(LEVELS, **options).init(jax.random.key(0), jnp.zeros(SHAPE), jnp.ones(()))


def test_unknown_activation(unchecked):
    assert networks.MLP().degree is None
    with pytest.raises(ValueError, match="activation"):
        networks.MLP(activation="cubic").init(jax.random.key(0), jnp.zeros(SHAPE), jnp.ones(()))
