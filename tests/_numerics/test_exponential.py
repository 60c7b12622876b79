"""The quick exponential against NumPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity._numerics.exponential import exp2


@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 3e-7), (np.float64, 3e-14)])
def test_is_accurate_from_one_end_to_the_other(dtype, error):
    x = np.concatenate([np.linspace(-126, 126, 400_001), np.logspace(-9, 0, 1000), [0, -0.5, 0.5, 1.5]]).astype(dtype)
    x = jnp.asarray(x)
    for function in (exp2, jax.jit(exp2), jax.jit(lambda x: exp2(0.5 * (x + x)))):
        np.testing.assert_allclose(np.asarray(function(x), np.float64), np.exp2(np.asarray(x, np.float64)), rtol=error)


def test_stops_at_its_ends_and_keeps_nan():
    x = np.array([-1e30, -np.inf, 1e30, np.inf, np.nan], np.float32)
    ends = np.float32(2.0) ** np.array([-126, -126, 126, 126])
    np.testing.assert_array_equal(jax.jit(exp2)(x)[:4], ends)
    assert np.isnan(jax.jit(exp2)(x)[4])


def test_derivatives():
    x = jnp.float32(-3.7)
    first, second = jax.grad(exp2)(x), jax.grad(jax.grad(exp2))(x)
    assert first == pytest.approx(np.log(2) * 2**-3.7, rel=1e-6)
    assert second == pytest.approx(np.log(2) ** 2 * 2**-3.7, rel=1e-6)
