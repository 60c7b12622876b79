"""Derivatives of equivariant denoisers against the definition, differentiated by JAX in float64; what they hold."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity.theory.patches import LocalDenoiser, SoftWindowDenoiser, _posterior
from tests.theory.patches.brute_patches import sources

NAMES = ("data", "y", "sigma", "weights")


def by_definition(x, y, sigma, weights, boundary, k=3):
    """The estimate, every energy a sum of squared differences."""
    r, (height, width) = k // 2, y.shape[:2]
    mode = "constant" if boundary == "broken" else "wrap"
    padded = [jnp.pad(z, [(0, 0)] * (z.ndim - 3) + [(r, r), (r, r), (0, 0)], mode=mode) for z in (x, y)]
    at = lambda z, i, j: z[..., i : i + k, j : j + k, :]  # noqa: E731
    pixels = []
    for i in range(height):
        for j in range(width):
            places = sources((height, width), (i, j), k, equivariant=True, boundary=boundary)
            keys = jnp.stack([at(padded[0], *place) for place in places], axis=1)
            squares = jnp.sum(jnp.square(keys - at(padded[1], i, j)[None, None]), axis=(2, 3, 4))
            logits = jnp.log(weights)[:, None] - squares / (2 * sigma**2)
            values = jnp.stack([x[:, a, b] for a, b in places], axis=1)
            pixels.append(jnp.tensordot(jax.nn.softmax(logits.ravel()), values.reshape(-1, y.shape[2]), axes=1))
    return jnp.stack(pixels).reshape(y.shape)


def by_library(x, y, sigma, weights, boundary, k=3):
    return LocalDenoiser(x, k, equivariant=True, boundary=boundary, weights=weights, chunk_size=2)(y, sigma)


@functools.cache
def derivatives(function, boundary):
    """Programs: gradients, the derivative along a direction, and that of the gradient."""
    loss = lambda direction, *at: jnp.sum(direction[1] * function(*at, boundary) ** 2)  # noqa: E731
    gradient = jax.grad(loss, argnums=(1, 2, 3, 4))

    @jax.jit
    def compute(direction, *at):
        forward = jax.jvp(lambda *at: function(*at, boundary), at, direction)[1]
        return gradient(direction, *at), forward, jax.jvp(lambda *at: gradient(direction, *at), at, direction)[1]

    return compute


def point(sigma, dtype):
    """Arguments, y half-way between two images of about the same probability, and a direction."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 6, 5, 2))
    y = 0.5 * (x[0] + x[1]) + 0.3 * sigma * rng.normal(size=x[0].shape)
    at = x, y, np.asarray(sigma), rng.uniform(0.5, 2, size=5)
    return tuple(tuple(jnp.asarray(z, dtype) for z in args) for args in (at, [rng.normal(size=z.shape) for z in at]))


def assert_close(got, expected, tolerance, name):
    """Relative to the largest of its entries."""
    scale = np.abs(expected).max()
    assert np.abs(got - expected).max() < tolerance * scale, (name, np.abs(got - expected).max() / scale)


# Quick weights at sigma = 3, refined ones at 0.02.
@pytest.mark.parametrize("boundary", ["interior", "broken", pytest.param("circular", marks=pytest.mark.slow)])
def test_derivatives_are_those_of_the_definition(boundary):
    for sigma in (3.0, 0.3, 0.02):
        got = derivatives(by_library, boundary)(point(sigma, jnp.float64)[1], *point(sigma, jnp.float64)[0])
        expected = derivatives(by_definition, boundary)(point(sigma, jnp.float64)[1], *point(sigma, jnp.float64)[0])
        for name, a, b in zip(NAMES, got[0], expected[0], strict=True):
            assert_close(a, b, 1e-9, name)
        assert_close(got[1], expected[1], 1e-9, "forward")
        for name, a, b in zip(NAMES, got[2], expected[2], strict=True):
            assert_close(a, b, 1e-6, name)  # of energies divided by the temperature twice


@pytest.mark.parametrize("sigma", [3.0, 0.3, 0.02])
def test_gradients_in_float32(sigma):
    """Errors are those of weights, which change by `d E / T`: the rounding of squared differences over temperature."""
    at, direction = point(sigma, jnp.float32)
    got = derivatives(by_library, "interior")(direction, *at)[0]
    at, direction = jax.tree.map(lambda z: z.astype(jnp.float64), (at, direction))  # the same numbers
    expected = derivatives(by_definition, "interior")(direction, *at)[0]
    for name, a, b in zip(NAMES, got, expected, strict=True):
        assert_close(a, b, 2e-3, name)


def test_soft_windows_have_the_derivatives_of_their_sums():
    """Against JAX's own of the sums that are streamed; of data, y, sigma and lengths, twice."""
    (x, y, sigma, _), directions = point(0.7, jnp.float64)
    lengths, levels = jnp.log(jnp.array([2.0, 1.0])), jnp.array([1.0, 0.1])
    at = x, y, sigma, lengths

    def soft(x, y, sigma, lengths):
        return SoftWindowDenoiser(x, lengths, levels, chunk_size=2)(y, sigma)

    def sums(x, y, sigma, lengths):
        denoiser = SoftWindowDenoiser(x, lengths, levels, chunk_size=2)
        hard = denoiser._hard()
        source = hard.source(y.dtype)
        weights = denoiser._weights(sigma, y.dtype)
        at = source.centred(y), *hard.queries_and_keys(), source, 2 * sigma**2
        return _posterior.coarse_posterior(*at, weights=weights).mean + source.mean.reshape(1, 1, -1)

    def both(function):
        gradient = jax.grad(lambda *at: jnp.sum(directions[1] * function(*at) ** 2), argnums=(0, 1, 2, 3))
        return jax.jit(lambda *at: jax.jvp(gradient, at, (*directions[:3], jnp.ones(2))))(*at)

    for got, expected in zip(jax.tree.leaves(both(soft)), jax.tree.leaves(both(sums)), strict=True):
        assert_close(got, expected, 1e-9, got.shape)


def test_gradients_hold_a_chunk_at_a_time():
    """Temporary memory by the compiled program's own account, beside a few copies of the images."""

    def memory(function, n):
        shapes = [(n, 16, 16, 3), (2, 16, 16, 3), (), (n,)]
        args = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
        batched = jax.vmap(lambda x, y, s, w: by_library(x, y, s, w, "interior"), (None, 0, None, None))
        return jax.jit(function(batched)).lower(*args).compile().memory_analysis().temp_size_in_bytes

    def gradient(argument):
        return lambda call: jax.grad(lambda *at: jnp.sum(call(*at) ** 2), argnums=argument)

    few, many = 500, 2000
    of_y, of_data = ([memory(gradient(argument), n) for n in (few, many)] for argument in (1, 0))
    assert of_y[1] < 4 * memory(lambda call: call, many)
    # XLA hands a branch (whether blocks are kept apart) a copy of the images; those of data are summed over a batch.
    images = (many - few) * 16 * 16 * 3 * 4
    assert of_y[1] - of_y[0] < 1.1 * images
    assert of_data[1] - of_data[0] < 5.5 * images
