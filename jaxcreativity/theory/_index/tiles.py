"""Pairs of queries and places, worked off place by place: what is at a place is looked up once for many queries."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int


def in_tiles(one_tile: Callable, places: Int[Array, "q p"], num_places: int) -> Any:
    """`one_tile(place, pairs)` for all pairs of a query and one of its places, those of one place together.

    Args:
        one_tile: place, and numbers of some pairs (query by query) that have it -> what is found for each pair.
        places: of each query.
        num_places: number of places.

    Returns:
        What is found, `(q, p, ...)`.
    """
    pairs = places.size
    width = _tile_width(pairs / num_places)
    place = places.ravel()
    order = jnp.argsort(place)
    counts = jnp.bincount(place, length=num_places)
    first_pair = jnp.cumsum(counts) - counts
    num_tiles = -(-counts // width)
    last_tile = jnp.cumsum(num_tiles)
    first_tile = last_tile - num_tiles

    def tile(number):
        at = jnp.searchsorted(last_tile, number, side="right")
        start = first_pair[at] + (number - first_tile[at]) * width
        return one_tile(at, order[jnp.minimum(start + jnp.arange(width), pairs - 1)])

    nothing = jax.eval_shape(tile, jnp.zeros((), last_tile.dtype))
    empty = lambda number: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), nothing)  # noqa: E731
    most = pairs // width + min(num_places, pairs)
    # More tiles than there may be: how many places are full is not known when this is compiled.
    run = jax.checkpoint(lambda number: jax.lax.cond(number < last_tile[-1], tile, empty, number))
    found = jax.lax.map(run, jnp.arange(most, dtype=last_tile.dtype))
    rank = jnp.zeros(pairs, order.dtype).at[order].set(jnp.arange(pairs, dtype=order.dtype)) - first_pair[place]
    at = first_tile[place] + rank // width, rank % width
    return jax.tree.map(lambda x: x[at].reshape(*places.shape, *x.shape[2:]), found)


def _tile_width(average):
    return 2 ** min(7, max(2, round(average).bit_length()))
