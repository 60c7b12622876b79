"""Checks look at values where they can and let traced ones pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity import _checks, distributions
from jaxcreativity.metrics import agreement, covariance_error, neighbour_ratio


def test_known_is_the_value_or_none_if_traced():
    np.testing.assert_array_equal(_checks.known(jnp.arange(3)), [0, 1, 2])
    assert _checks.known(2.5) == 2.5
    assert jax.jit(lambda x: _checks.known(x) is None)(1.0)


def test_is_finite():
    assert _checks.is_finite(jnp.ones(3))
    assert not _checks.is_finite(jnp.array([1.0, jnp.nan]))
    assert not _checks.is_finite(jnp.inf)
    assert jax.jit(lambda x: _checks.is_finite(x))(jnp.nan)


def test_constants_of_traced_code_are_checked_without_being_traced():
    # Inside jit an operation on a constant array is traced, so that its truth value cannot be asked for.
    data = jax.random.normal(jax.random.key(0), (12, 2, 2, 1))
    covariance = jnp.eye(4)

    @jax.jit
    def everything(y):
        mixture = distributions.GaussianMixture(jnp.array([0.5, 0.5]), jnp.array([[0.0], [1.0]]), jnp.ones((2, 1, 1)))
        others = (distributions.Uniform(jnp.array(0.0), jnp.array(1.0)), distributions.Laplace(jnp.array(1.0)))
        return (
            agreement(data, y).pearson.sum()
            + covariance_error(y.reshape(12, -1), covariance)
            + neighbour_ratio(y, data).sum()
            + sum(target.mean.sum() for target in (mixture, *others))
        )

    assert jnp.isfinite(everything(data + 0.1))


def test_a_missing_extra_says_what_to_install():
    _checks.needs("data", "numpy")
    with pytest.raises(ImportError, match=r"needs no_such_module: pip install 'jaxcreativity\[data\]'"):
        _checks.needs("data", "numpy", "no_such_module")
