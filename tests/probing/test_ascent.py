"""Gradient ascent on the noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity import probing, schedules


def test_finds_the_direction_in_which_linear_denoisers_part():
    """They differ in the second entry alone, so the worst seeds have nothing else; their norm stays."""
    sigmas = schedules.grid(schedules.log_linear(0.1, 10.0), 5)
    one = lambda y, sigma: y / (1 + sigma**2)  # noqa: E731
    other = lambda y, sigma: y * jnp.array([1.0, 0.5], y.dtype) / (1 + sigma**2)  # noqa: E731
    start = z = jax.random.normal(jax.random.key(0), (4, 2))
    step = jax.jit(lambda z: probing.ascent_step(one, other, z, sigmas, step_size=0.3))
    values = []
    for _ in range(40):
        value, z = step(z)
        values.append(float(value))
    assert np.all(np.diff(values) > -1e-6)
    np.testing.assert_allclose(values[0], probing.discrepancy(one, other, start, sigmas), rtol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(z, axis=1), jnp.linalg.norm(start, axis=1), rtol=1e-5)
    np.testing.assert_allclose(jnp.abs(z[:, 1]), jnp.linalg.norm(start, axis=1), rtol=1e-3)


def test_seeds_on_which_nothing_differs_stay():
    sigmas = schedules.grid(schedules.log_linear(0.1, 10.0), 3)
    z = jax.random.normal(jax.random.key(0), (2, 3))
    same = lambda y, sigma: y / (1 + sigma**2)  # noqa: E731
    value, moved = probing.ascent_step(same, same, z, sigmas)
    assert value == 0
    np.testing.assert_allclose(moved, z, rtol=1e-6)


def test_rejects_what_discrepancy_rejects():
    with pytest.raises(ValueError, match="z"):
        probing.ascent_step(lambda y, sigma: y, lambda y, sigma: y, jnp.ones(3), jnp.array([1.0, 0.0]))
