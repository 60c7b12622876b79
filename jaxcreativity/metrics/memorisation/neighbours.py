"""Nearest images, exact and in bounded memory, in the Euclidean distance over all entries of an image."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics.arithmetic import dot, safe_sqrt
from jaxcreativity.metrics._images import check_pair

# Queries compared at once, and candidates that are compared exactly beyond the neighbours asked for.
_BLOCK = 256
_SPARE = 16


@_pytree.dataclass
class Neighbours:
    """The `k` nearest images of each of `m` queries, nearest first.

    Args:
        distances: Euclidean.
        indices: along the data.
    """

    distances: Float[Array, "m k"]
    indices: Int[Array, "m k"]


def nearest_neighbours(
    queries: Shaped[ArrayLike, "m ..."],
    data: Shaped[ArrayLike, "n ..."],
    k: int = 1,
    *,
    exclude_self: bool = False,
    chunk_size: int = 4096,
) -> Neighbours:
    """The `k` nearest images of `data` for every query, by Euclidean distance; ties go to the lower index.

    Exact: squared distances are expanded about the mean of the data (one matrix product) to find `k + 16`
    candidates, which are then compared by their differences, so that the distance of a near-duplicate is accurate
    relative to itself. Where the bound on the rounding of the expansion cannot exclude that a neighbour was left out
    (more near-duplicates than candidates), that query is compared with all data by differences, slowly.

    Traceable; the distances are differentiable in both arguments (derivative 0 at distance 0).

    Memory beyond the arguments: `256 (chunk_size + (k + 16) d) + chunk_size d` numbers, d the entries of one image.

    Args:
        queries: `(m, *shape)`.
        data: `(n, *shape)`.
        k: number of neighbours.
        exclude_self: leave out image i of the data as a neighbour of query i, for `queries` that *are* the data.
        chunk_size: largest number of data images compared at once; need not divide n.

    Raises:
        ValueError: if the shapes of one image differ, an array is empty, integer, NaN, infinite or so large that
            squared distances overflow, `k` exceeds the number of images to choose from, or `exclude_self` comes with
            another number of queries than data.

    Example:
        >>> import jax.numpy as jnp
        >>> data = jnp.asarray([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]])
        >>> found = nearest_neighbours(data, data, 1, exclude_self=True)
        >>> found.indices[:, 0].tolist(), found.distances[:, 0].tolist()
        ([1, 0, 1], [1.0, 1.0, 4.0])
    """
    queries, data = check_pair("queries", queries, "data", data)
    k = _checks.positive_int("k", k)
    chunk_size = _checks.positive_int("chunk_size", chunk_size)
    if exclude_self and queries.shape != data.shape:
        raise ValueError(f"exclude_self needs queries that are the data, got {queries.shape} and {data.shape}")
    available = data.shape[0] - bool(exclude_self)
    if k > available:
        other = "other " if exclude_self else ""
        raise ValueError(f"k = {k} neighbours need at least as many {other}images in data, got {available}")
    flat = (x.reshape(x.shape[0], -1) for x in (queries, data))
    distances, indices = _nearest(*flat, k, bool(exclude_self), min(chunk_size, data.shape[0]))
    return Neighbours(distances, indices)


class _Best(NamedTuple):
    """The smallest squared distances so far, ascending, and where they are."""

    squares: Float[Array, "queries c"]
    indices: Int[Array, "queries c"]


@partial(jax.jit, static_argnums=(2, 3, 4))
def _nearest(queries, data, k, exclude_self, chunk):
    num_queries = queries.shape[0]
    block = min(num_queries, _BLOCK)
    num_blocks = -(-num_queries // block)
    fixed = jax.lax.stop_gradient(data)
    centre = fixed.mean(axis=0)
    # By index, a chunk at a time: mapped over the rows themselves, XLA would copy all of them.
    norm2 = lambda i: jnp.sum(jnp.square(fixed[i] - centre))  # noqa: E731
    norms = jax.lax.map(norm2, jnp.arange(data.shape[0]), batch_size=chunk)

    def one_block(start):
        # The last block repeats the last query.
        own = jnp.minimum(start + jnp.arange(block, dtype=jnp.int32), num_queries - 1)
        y = queries[own]
        excluded = own if exclude_self else jnp.full_like(own, -1)
        indices = _search(jax.lax.stop_gradient(y), excluded, fixed, centre, norms, k, chunk)
        distances = safe_sqrt(jnp.sum(jnp.square(data[indices] - y[:, None]), axis=-1))
        # Recomputed sums may differ in the last place: keep the order of the distances that are returned.
        order = jnp.argsort(jax.lax.stop_gradient(distances), axis=1)
        return tuple(jnp.take_along_axis(x, order, axis=1) for x in (distances, indices))

    distances, indices = jax.lax.map(one_block, block * jnp.arange(num_blocks, dtype=jnp.int32))
    return distances.reshape(-1, k)[:num_queries], indices.reshape(-1, k)[:num_queries]


def _search(y, excluded, data, centre, norms, k, chunk) -> Int[Array, "queries k"]:
    """Indices of the k nearest data of a block of queries."""
    num_candidates = min(k + _SPARE, data.shape[0])
    u = y - centre[None]
    squares = jnp.sum(jnp.square(u), axis=1)

    def expanded(first):
        v = jax.lax.dynamic_slice_in_dim(data, first, chunk) - centre[None]
        return squares[:, None] - 2 * dot(u, v.T) + jax.lax.dynamic_slice_in_dim(norms, first, chunk)[None]

    best = _smallest(expanded, excluded, data.shape[0], chunk, num_candidates)

    # Sorted by index, so that among equal distances the lowest index comes first.
    order = jnp.argsort(best.indices, axis=1)
    candidates, approximate = (jnp.take_along_axis(x, order, axis=1) for x in (best.indices, best.squares))
    exact = jnp.sum(jnp.square(data[candidates] - y[:, None]), axis=2)
    exact = jnp.where(jnp.isinf(approximate), jnp.inf, exact)
    negative, position = jax.lax.top_k(-exact, k)
    indices = jnp.take_along_axis(candidates, position, axis=1)
    if num_candidates == data.shape[0]:
        return indices

    # Rounding of the expansion, with any order of summation: (d + 6) eps (|u| + |v|)^2 at most, centring included.
    eps = jnp.finfo(data.dtype).eps
    rounding = (data.shape[1] + 8) * eps * jnp.square(jnp.sqrt(squares) + jnp.sqrt(norms.max()))
    certain = -negative[:, -1] < best.squares[:, -1] - rounding

    def by_differences(y, excluded):
        def from_slice(first):
            return jnp.sum(jnp.square(jax.lax.dynamic_slice_in_dim(data, first, chunk) - y[None]), axis=1)[None]

        return _smallest(from_slice, excluded[None], data.shape[0], chunk, k).indices[0]

    def settle(inputs):
        is_certain, found, y, excluded = inputs
        return jax.lax.cond(is_certain, lambda: found, lambda: by_differences(y, excluded))

    return jax.lax.map(settle, (certain, indices, y, excluded))


def _smallest(squared_distances, excluded, num_data, chunk, count) -> _Best:
    """The `count` smallest of `squared_distances(first)`: to the `chunk` data from index `first` on."""
    num_chunks = -(-num_data // chunk)

    def body(best, start):
        # The last chunk is moved back to end with the data; data already seen are left out.
        first = jnp.minimum(start, num_data - chunk)
        indices = first + jnp.arange(chunk, dtype=jnp.int32)
        left_out = (indices < start)[None] | (indices[None] == excluded[:, None])
        squares = jnp.where(left_out, jnp.inf, squared_distances(first))
        squares = jnp.concatenate([best.squares, squares], axis=1)
        indices = jnp.concatenate([best.indices, jnp.broadcast_to(indices, left_out.shape)], axis=1)
        negative, position = jax.lax.top_k(-squares, count)
        return _Best(-negative, jnp.take_along_axis(indices, position, axis=1)), None

    shape = (excluded.shape[0], count)
    dtype = jax.eval_shape(squared_distances, jnp.zeros((), jnp.int32)).dtype
    start = _Best(jnp.full(shape, jnp.inf, dtype), jnp.zeros(shape, jnp.int32))
    return jax.lax.scan(body, start, chunk * jnp.arange(num_chunks, dtype=jnp.int32))[0]
