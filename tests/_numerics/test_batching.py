"""Batches in groups: which function serves which examples, and derivatives."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity._numerics import batching


def one(x, pair):
    scale, _ = pair
    return {"value": scale * x**2, "sum": jnp.sum(x)}


def together(x, pair):
    """Other values, so that it shows which function was called."""
    return jax.tree.map(lambda value: value + 1000, one(x, pair))


X = np.arange(12.0).reshape(6, 2)
PAIR = (np.array(2.0), np.array(3))


@pytest.mark.parametrize(("group_size", "offset"), [(1, 0), (2, 1000), (4, 1000), (100, 1000)])
def test_examples_of_a_group_go_together(group_size, offset):
    function = batching.in_groups(one, together, group_size)
    got = jax.jit(jax.vmap(function, (0, None)))(X, PAIR)
    np.testing.assert_array_equal(got["value"], 2 * X**2 + offset)
    np.testing.assert_array_equal(got["sum"], X.sum(axis=1) + offset)
    np.testing.assert_array_equal(function(X[0], PAIR)["value"], 2 * X[0] ** 2)


def test_all_arguments_can_be_batched_and_batches_nested():
    function = batching.in_groups(one, together, 1)
    scales = np.arange(6.0), np.arange(6)
    got = jax.vmap(function)(X, scales)["value"]
    np.testing.assert_array_equal(got, np.arange(6.0)[:, None] * X**2)
    nested = jax.vmap(jax.vmap(function, (0, None)), (None, 0))(X, scales)["value"]
    np.testing.assert_array_equal(nested, np.arange(6.0)[:, None, None] * X**2 + 0)


def test_derivatives_are_of_the_function_that_goes_together():
    tripled = lambda x, pair: jax.tree.map(lambda value: 3 * value, one(x, pair))  # noqa: E731
    function = batching.in_groups(one, tripled, 1)
    value = lambda x, scale: jnp.sum(function(x, (scale, PAIR[1]))["value"])  # noqa: E731
    expected = 3 * 2 * 2 * X
    np.testing.assert_array_equal(jax.vmap(jax.grad(value), (0, None))(X, 2.0), expected)
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(jax.vmap(value, (0, None))(x, 2.0)))(X), expected)
    np.testing.assert_array_equal(jax.vmap(jax.grad(value, argnums=1), (0, None))(X, 2.0), 3 * np.sum(X**2, axis=1))
    np.testing.assert_array_equal(jax.hessian(value)(X[0], 2.0), 12 * np.eye(2))
    assert jax.jvp(lambda s: value(X[1], s), (2.0,), (1.0,))[1] == 3 * np.sum(X[1] ** 2)

    def repeated(x):
        step = jax.checkpoint(lambda x, _: (function(x, PAIR)["value"], None))
        return jnp.sum(jax.lax.scan(step, x, length=2)[0])

    np.testing.assert_allclose(jax.jit(jax.grad(repeated))(X[1]), 6**3 * 4 * X[1] ** 3, rtol=1e-12)


def test_derivatives_of_branches_in_a_process_of_its_own():
    """A branch for each example, in reverse: other libraries, once loaded, repair what JAX lacks here."""
    program = """
import jax, jax.numpy as jnp
from jaxcreativity._numerics import batching
branches = lambda x: jax.lax.cond(x > 1, jnp.square, jnp.negative, x)
function = jax.vmap(batching.in_groups(branches, branches, 1))
print(jax.grad(lambda x: function(x).sum())(jnp.array([0.5, 3.0])).tolist())
"""
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert found.strip() == "[-1.0, 6.0]"


@pytest.mark.parametrize(("number", "most", "expected"), [(12, 5, 4), (7, 6, 1), (6, 100, 6), (5, 0, 1), (1, 1, 1)])
def test_largest_divisor(number, most, expected):
    assert batching.largest_divisor(number, most) == expected
