"""The exact streaming softmax-mean that every data-driven theory uses.

`mean = sum_i w_i v_i` with `w = softmax_i(-E_i / T)`, accumulated over chunks as `(min E, sum w v, sum w)`, so that
no array of the size of the data times the queries is ever held, and unequal chunks are weighted right.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from jaxcreativity import _checks, _pytree

MASKED = 1e18
"""Energy of a key that does not count: beyond every real one, and small enough for arithmetic in float32."""


def as_temperature(sigma: Float[ArrayLike, ""] | int, dtype) -> Float[Array, ""]:
    """`2 sigma^2`, kept from 0 so far that its inverse times the distance of equal keys is 0 and not NaN."""
    return jnp.maximum(2 * jnp.square(jnp.asarray(sigma, dtype)), 1e-30)


@_pytree.dataclass
class Partial:
    """Softmax-mean of a part of the data, before the division.

    Attributes:
        min_energy: the smallest energy of the part, of which weights are relative.
        weighted_sum: `sum w v`.
        weight: `sum w`.
    """

    min_energy: Float[Array, "*queries"]
    weighted_sum: Float[Array, "*queries_and_values"]
    weight: Float[Array, "*queries"]

    @property
    def mean(self) -> Float[Array, "*queries_and_values"]:
        """The softmax-mean of the part."""
        return self.weighted_sum / _expand(self.weight, self.weighted_sum)


def nothing(queries: tuple[int, ...], channels: int, dtype) -> Partial:
    """What a sum over keys starts from.

    Args:
        queries: shape of the queries.
        channels: length of a value.
        dtype: type of all numbers.
    """
    return Partial(jnp.full(queries, MASKED, dtype), jnp.zeros((*queries, channels), dtype), jnp.zeros(queries, dtype))


def partial(
    energies: Float[Array, "*queries keys"],
    values: Float[Array, "keys *values"],
    temperature: Float[Array, ""],
    valid: Bool[Array, " keys"] | None = None,
    subscripts: str | None = None,
) -> Partial:
    """Softmax-mean of one chunk, weights `exp(-(E - min E) / T)`.

    The minimum is subtracted *before* the division: scaled first, float32 loses the differences, and XLA may fuse the
    product into a softmax that returns NaN. Keys that are not `valid` get weight 0; their energies must be finite
    and not below the smallest valid one.

    Args:
        energies: `E`, of every query with every key.
        values: `v`, one for each key.
        temperature: `T`, e.g. `2 sigma^2` for squared distances.
        valid: keys that count; all by default.
        subscripts: of `jnp.einsum` for `weights, values -> weighted sum`; by default all queries share the values.
    """
    smallest = jax.lax.stop_gradient(energies.min(axis=-1))
    weights = jnp.exp(-(energies - smallest[..., None]) / _positive(temperature))
    if valid is not None:
        weights = weights * jnp.broadcast_to(valid, weights.shape).astype(weights.dtype)
    if subscripts is None:
        weighted_sum = jnp.tensordot(weights, values, axes=1, precision="highest")
    else:
        weighted_sum = jnp.einsum(subscripts, weights, values, precision="highest")
    return Partial(smallest, weighted_sum, weights.sum(axis=-1))


def merge(a: Partial, b: Partial, temperature: Float[Array, "..."]) -> Partial:
    """Softmax-mean of the union of two parts.

    Args:
        a: a part.
        b: another, of the same queries.
        temperature: that of both, one for all queries or of each.
    """
    smallest = jnp.minimum(a.min_energy, b.min_energy)
    scale_a = jnp.exp(-(a.min_energy - smallest) / _positive(temperature))
    scale_b = jnp.exp(-(b.min_energy - smallest) / _positive(temperature))
    return Partial(
        smallest,
        a.weighted_sum * _expand(scale_a, a.weighted_sum) + b.weighted_sum * _expand(scale_b, b.weighted_sum),
        a.weight * scale_a + b.weight * scale_b,
    )


def fold_chunks(
    one_chunk: Callable[..., Any],
    num_keys: int,
    chunk_size: int,
    start: Any = None,
    rows: Any = None,
) -> Any:
    """Fold `carry = one_chunk(carry, first, is_new)` over runs of neighbouring keys, all of the same length.

    The last run is moved back to end with the data; its keys that were seen before are not new. A gradient holds what
    one run needs at a time, too. One with respect to an array of all keys is best taken through `rows`: what is picked
    from an array has a gradient as large as the array, again for every run.

    Args:
        one_chunk: carry, index of a run's first key, and which of its keys are new -> carry.
        num_keys: number of keys in all.
        chunk_size: largest number of keys in a run; need not divide `num_keys`.
        start: what the first run is given as carry. With `None` it has to do without, and is traced by itself.
        rows: arrays of one entry a key, whose entries of each run `one_chunk` is given as a last argument. Only with a
            `start`.

    Raises:
        ValueError: if `chunk_size` or `num_keys` is below 1.
    """
    num_keys = _checks.positive_int("num_keys", num_keys)
    num_chunks = -(-num_keys // _checks.positive_int("chunk_size", chunk_size))
    chunk = -(-num_keys // num_chunks)

    def fold(carry, begin, *rows):
        first = jnp.minimum(begin, num_keys - chunk)
        return one_chunk(carry, first, first + jnp.arange(chunk) >= begin, *rows)

    if num_chunks > 1:
        fold = jax.checkpoint(fold)
    begins = chunk * jnp.arange(num_chunks)
    if start is None:
        start, begins = fold(None, jnp.zeros((), int)), begins[1:]
    xs = (begins,) if rows is None else (begins, jax.tree.map(lambda x: _runs(x, num_chunks, chunk), rows))
    return jax.lax.scan(lambda carry, xs: (fold(carry, *xs), None), start, xs)[0] if begins.size else start


def _runs(rows, num_chunks, chunk):
    """`(chunks, chunk, ...)`; of arrays that do not divide into runs a copy."""
    if num_chunks * chunk > len(rows):
        rows = jnp.concatenate([rows[: (num_chunks - 1) * chunk], rows[-chunk:]])
    return rows.reshape(num_chunks, chunk, *rows.shape[1:])


def streaming_mean(
    chunk_terms: Callable[[Int[Array, " chunk"]], tuple[Array, Array]],
    num_keys: int,
    chunk_size: int,
    temperature: Float[Array, ""],
    subscripts: str | None = None,
) -> Float[Array, "*queries_and_values"]:
    """Softmax-mean over `num_keys` keys, at most `chunk_size` of them at a time.

    Args:
        chunk_terms: indices of a run of neighbouring keys -> `(energies (*queries, chunk), values (chunk, *value))`.
        num_keys: number of keys in all.
        chunk_size: largest number of keys held at once; need not divide `num_keys`.
        temperature: `T`, e.g. `2 sigma**2` for squared distances.
        subscripts: as for `partial`.

    Raises:
        ValueError: if `chunk_size` or `num_keys` is below 1.
    """

    def one_chunk(total, first, is_new):
        energies, values = chunk_terms(first + jnp.arange(is_new.size))
        part = partial(energies, values, temperature, is_new, subscripts)
        return part if total is None else merge(total, part, temperature)

    return fold_chunks(one_chunk, num_keys, chunk_size).mean


def default_chunk_size(numbers_per_key: int, *, on_cpu: int = 2**21) -> int:
    """Keys whose temporary memory stays within the cache of a CPU, or fills an accelerator.

    Args:
        numbers_per_key: in the largest temporary array.
        on_cpu: numbers of that array which are held at once on a CPU.
    """
    budget = on_cpu if jax.default_backend() == "cpu" else 2**25
    return max(1, budget // numbers_per_key)


def default_group_size(numbers: int) -> int:
    """Examples, for `batching.in_groups`, of which a few temporary arrays take a GiB in float32.

    Args:
        numbers: in the largest temporary array of one example.
    """
    return max(1, 2**26 // numbers)


def _positive(temperature):
    # At sigma = 0 the mean is that of the nearest keys, not 0 / 0.
    return jnp.maximum(temperature, jnp.finfo(temperature.dtype).tiny)


def _expand(weight, like):
    return weight.reshape(weight.shape + (1,) * (like.ndim - weight.ndim))
