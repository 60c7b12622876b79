"""The compiler below: sums with an affine epilogue, which jaxlib 0.10.2 gets wrong on CPUs (JAX issue 39103)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_large_sums_are_right(dtype):
    y = jax.random.normal(jax.random.key(0), (8000, 9), dtype)
    theta = jax.random.normal(jax.random.key(1), (9, 2), dtype)
    features = lambda q: jnp.stack([jnp.ones_like(q), q], axis=1)  # noqa: E731
    got = jax.jit(jax.vmap(lambda q: 3 * q - 2 * jnp.sum(theta * features(q), axis=1)))(y)
    slope, offset = 3 - 2 * np.asarray(theta, float)[:, 1], -2 * np.asarray(theta, float)[:, 0]
    np.testing.assert_allclose(got, slope * np.asarray(y, float) + offset, atol=100 * jnp.finfo(dtype).eps)
