"""The streaming softmax-mean against one softmax in float64 NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxcreativity._numerics import streaming

N = 13
RNG = np.random.default_rng(0)
ENERGIES = RNG.standard_normal((2, 3, N)) * 5
VALUES = RNG.standard_normal((N, 4))


def softmax_mean(energies, values, temperature):
    weights = scipy.special.softmax(-np.asarray(energies, np.float64) / temperature, axis=-1)
    return np.tensordot(weights, values, axes=1)


@partial(jax.jit, static_argnums=3)
def streamed(energies, values, temperature, chunk_size):
    terms = lambda indices: (energies[..., indices], values[indices])  # noqa: E731
    return streaming.streaming_mean(terms, values.shape[0], chunk_size, temperature)


@pytest.mark.parametrize("chunk_size", [1, 4, 5, 7, 12, 13, 100])
def test_mean_does_not_depend_on_the_chunks(chunk_size):
    """One and all, and sizes that do not divide 13."""
    for temperature in (0.3, 5.0):
        got = streamed(ENERGIES, VALUES, temperature, chunk_size)
        np.testing.assert_allclose(got, softmax_mean(ENERGIES, VALUES, temperature), atol=1e-13)


@pytest.mark.parametrize("start", [None, 0])
@pytest.mark.parametrize("chunk_size", [1, 5, 7, 100])
def test_fold_meets_every_key_once(chunk_size, start):
    def one_chunk(carry, first, is_new):
        keys = first + jnp.arange(is_new.size)
        seen = jnp.zeros(N, int).at[keys].add(is_new)
        return seen if carry is None else carry + seen

    np.testing.assert_array_equal(
        streaming.fold_chunks(one_chunk, N, chunk_size, None if start is None else jnp.zeros(N, int)), np.ones(N)
    )


def test_shapes_of_queries_and_values():
    for query, value in [((), ()), ((3,), ()), ((), (2, 3)), ((2, 1), (3,))]:
        energies, values = RNG.standard_normal((*query, N)), RNG.standard_normal((N, *value))
        got = streamed(energies, values, 0.7, 5)
        assert got.shape == (*query, *value)
        np.testing.assert_allclose(got, softmax_mean(energies, values, 0.7), atol=1e-13)


def test_merge_in_any_order():
    temperature = jnp.asarray(0.4)
    cuts = [slice(0, 2), slice(2, 9), slice(9, N)]
    a, b, c = (streaming.partial(jnp.asarray(ENERGIES[..., s]), jnp.asarray(VALUES[s]), temperature) for s in cuts)
    expected = softmax_mean(ENERGIES, VALUES, 0.4)
    for parts in [((a, b), c), ((c, b), a), ((a, c), b)]:
        merged = streaming.merge(streaming.merge(*parts[0], temperature), parts[1], temperature)
        np.testing.assert_allclose(merged.mean, expected, atol=1e-13)


def test_invalid_keys_have_no_weight():
    valid = np.arange(N) >= 5
    energies = np.sort(RNG.standard_normal(N))[::-1].copy()  # the valid ones lowest, as `partial` asks
    part = streaming.partial(jnp.asarray(energies), jnp.asarray(VALUES), jnp.asarray(0.5), jnp.asarray(valid))
    np.testing.assert_allclose(part.mean, softmax_mean(energies[valid], VALUES[valid], 0.5), atol=1e-13)


@pytest.mark.parametrize("chunk_size", [4, 5, 13])
def test_zero_temperature_is_the_mean_of_the_nearest(chunk_size):
    energies = np.full(N, 3.0)
    energies[[2, 10]] = 1.0  # a tie, in two chunks
    for temperature in (0.0, 1e-30):
        for dtype in (jnp.float32, jnp.float64):
            arguments = (jnp.asarray(a, dtype) for a in (energies, VALUES, temperature))
            got = streamed(*arguments, chunk_size)
            assert got.dtype == dtype
            np.testing.assert_allclose(got, VALUES[[2, 10]].mean(axis=0), atol=1e-6)  # float32 values of size 1


@pytest.mark.parametrize("chunk_size", [5, 13])
def test_large_energies_over_small_temperatures_in_float32(chunk_size):
    """Differences over temperature up to 1e12, far beyond what exp, or a scaled softmax, takes."""
    energies = (1e4 + np.arange(N) * 0.5).astype(np.float32)
    for temperature in (1e-8, 1e-4, 1.0, 1e8):
        got = streamed(energies, VALUES.astype(np.float32), np.float32(temperature), chunk_size)
        # The differences are exact here, and 13 weights of float32 rounding remain.
        np.testing.assert_allclose(got, softmax_mean(energies, VALUES, temperature), atol=1e-6)


@pytest.mark.parametrize("chunk_size", [5, 13])
def test_gradient_is_that_of_the_softmax(chunk_size):
    weights = RNG.standard_normal((2, 3, 4))
    plain = lambda e, v, t: jnp.sum(weights * jnp.tensordot(jax.nn.softmax(-e / t), v, axes=1))  # noqa: E731
    chunked = lambda e, v, t: jnp.sum(weights * streamed(e, v, t, chunk_size))  # noqa: E731
    arguments = (jnp.asarray(ENERGIES), jnp.asarray(VALUES), jnp.asarray(2.0))
    for got, expected in zip(
        *(jax.jit(jax.grad(f, argnums=(0, 1, 2)))(*arguments) for f in (chunked, plain)), strict=True
    ):
        np.testing.assert_allclose(got, expected, atol=1e-12)


def test_gradient_holds_one_chunk():
    """By the compiled programs' own account: with 16 chunks less than a quarter of what all keys at once need."""

    def temporary(chunk_size):
        loss = lambda energies, values: jnp.sum(streamed(energies, values, jnp.float32(1), chunk_size))  # noqa: E731
        arguments = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((64, 4096), (4096, 3)))
        return jax.jit(jax.grad(loss, (0, 1))).lower(*arguments).compile().memory_analysis().temp_size_in_bytes

    assert temporary(256) < temporary(4096) / 4


def test_temperature_is_twice_the_variance_and_never_zero():
    """At sigma = 0 it is so small that nothing else counts, and 0 over it is 0, in float32 too."""
    assert float(streaming.as_temperature(0.3, jnp.float64)) == pytest.approx(2 * 0.3**2, rel=1e-15)
    for dtype in (jnp.float32, jnp.float64):
        lowest = streaming.as_temperature(0, dtype)
        assert lowest.dtype == dtype
        assert 0 < lowest < 1e-20
        assert 0 * (1 / lowest) == 0


def test_what_is_held_at_once_by_default():
    """So many numbers, of which a few arrays take a GiB; never less than one key or one example."""
    if jax.default_backend() == "cpu":
        assert streaming.default_chunk_size(1000, on_cpu=10_500) == 10
    assert streaming.default_chunk_size(2**40) == streaming.default_group_size(2**40) == 1
    assert 3 <= 2**30 / (4 * 2**16 * streaming.default_group_size(2**16)) <= 6


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("num_keys", "chunk_size", "name"), [(0, 1, "num_keys"), (3, 0, "chunk_size"), (3, 1.5, "chunk_size")]
)
def test_bad_input(num_keys, chunk_size, name):
    terms = lambda indices: (jnp.zeros(len(indices)), jnp.zeros(len(indices)))  # noqa: E731
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1"):
        streaming.streaming_mean(terms, num_keys, chunk_size, jnp.asarray(1.0))
