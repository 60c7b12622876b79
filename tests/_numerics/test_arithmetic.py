"""Products and roots."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcreativity._numerics.arithmetic import dot, safe_sqrt


def test_dot_asks_for_full_precision():
    a = jnp.asarray(np.random.default_rng(0).standard_normal((3, 3)))
    np.testing.assert_allclose(dot(a, a), np.asarray(a) @ np.asarray(a), atol=1e-14)
    assert "HIGHEST" in str(jax.make_jaxpr(dot)(a, a))


def test_safe_sqrt_and_its_derivative_at_0():
    values = jnp.asarray([0.0, 4.0, 1e-300])
    np.testing.assert_allclose(safe_sqrt(values), [0.0, 2.0, 1e-150])
    slopes = jax.vmap(jax.grad(safe_sqrt))(values[:2])
    np.testing.assert_allclose(slopes, [0.0, 0.25])
    assert safe_sqrt(jnp.zeros(1, jnp.float32)).dtype == jnp.float32
