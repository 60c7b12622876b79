"""Batches in groups: which function serves which examples, and derivatives."""

import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity._numerics import batching, linear_groups


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

    # Differentiated are two functions 6 x^2, the second at the value of `one`, 2 x^2.
    np.testing.assert_allclose(jax.jit(jax.grad(repeated))(X[1]), 24 * X[1] ** 2 * 12 * X[1], rtol=1e-12)


@pytest.mark.parametrize("group_size", [1, 4, 100])
def test_derivatives_in_groups_are_those_of_the_whole(group_size):
    """Of batched and of shared arguments, whichever of `vmap` and `grad` comes first, and forward."""

    def plain(x, pair):
        points, count = pair
        return {"value": jnp.tanh(points @ x) @ points * count, "sum": jnp.sum(x)}

    grouped = batching.in_groups(plain, plain, group_size)
    points = np.random.default_rng(0).standard_normal((3, 2))

    def derivatives(function):
        loss = lambda x, points: jnp.sum(jnp.square(function(x, (points, 3))["value"]))  # noqa: E731
        total = lambda x, points: jnp.sum(jax.vmap(loss, (0, None))(x, points))  # noqa: E731
        one_by_one = jax.vmap(jax.grad(loss, (0, 1)), (0, None))
        push = lambda x: jax.jvp(lambda x: function(x, (points, 3))["value"], (x,), (x,))[1]  # noqa: E731
        curvature = lambda x: jax.hessian(loss)(x, points)  # noqa: E731
        batches = jax.vmap(one_by_one, (None, 0))  # of batches
        return (
            jax.jit(jax.grad(total, (0, 1)))(X, points),
            jax.jit(one_by_one)(X, points),
            jax.vmap(push)(X),
            jax.vmap(curvature)(X),
            jax.jit(batches)(X, np.stack([points, 2 * points])),
        )

    chex.assert_trees_all_close(derivatives(grouped), derivatives(plain), rtol=1e-10)


def test_a_gradient_holds_one_group():
    """A matrix of a million numbers for each of 64 examples: eight of these, and vectors beside them."""
    wide = lambda x: jnp.sum(jnp.sin(jnp.sin(x[:, None] * x[None]) @ x))  # noqa: E731
    grouped = batching.in_groups(wide, wide, 2)
    programs = [lambda x: jax.grad(lambda x: jnp.sum(jax.vmap(grouped)(x)))(x), jax.vmap(jax.grad(grouped))]
    for program in programs:
        compiled = jax.jit(program).lower(jax.ShapeDtypeStruct((64, 1000), jnp.float32)).compile()
        assert compiled.memory_analysis().temp_size_in_bytes < 8 * 4 * (1000**2 + 1000)


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


@pytest.mark.parametrize(
    ("number", "most", "expected"), [(12, 5, 4), (67, 64, 34), (1021, 100, 93), (64, 512, 64), (7, 1, 1)]
)
def test_even_groups(number, most, expected):
    assert linear_groups.even_group(number, most) == expected


@pytest.mark.parametrize(("number", "most", "expected"), [(12, 5, 4), (7, 6, 1), (6, 100, 6), (5, 0, 1), (1, 1, 1)])
def test_largest_divisor(number, most, expected):
    assert batching.largest_divisor(number, most) == expected
