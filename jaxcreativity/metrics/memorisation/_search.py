"""Nearest training images of a query, or of the query shifted and flipped as well."""

from collections.abc import Callable, Iterator

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcreativity import _checks
from jaxcreativity.metrics.memorisation.neighbours import _BLOCK, Neighbours, nearest_neighbours

Search = Callable[[Float[Array, "m ..."], int], Neighbours]
"""`search(queries, k)`: the k nearest training images of every query, in the distance that the search looks at."""


def search_in(train: Float[Array, "n ..."], *, shifts: int = 0, flips: bool = False, chunk_size: int = 4096) -> Search:
    """A search of the training images, by the smallest distance over shifts and flips of the query.

    A shifted query is compared where it overlaps the training image: the root mean square difference there, times the
    square root of the number of entries of a whole image. Without a shift that is the Euclidean distance.

    Args:
        train: `(n, *shape)`, images `(n, h, w, c)` for shifts and flips.
        shifts: largest number of pixels by which a query is moved along each axis.
        flips: whether its mirror image (left to right) counts, too.
        chunk_size: as for `nearest_neighbours`.

    Raises:
        ValueError: for shifts and flips of what is no image, or shifts of half an image and more.
    """
    if isinstance(shifts, bool) or not isinstance(shifts, (int, np.integer)) or shifts < 0:
        raise ValueError(f"shifts must be a number of pixels, 0 or more, got {shifts!r}")

    def nearest(queries, train, k):
        # Blocks are what is compared at once: padded to whole ones, sets of all sizes compile once.
        m = len(queries)
        found = nearest_neighbours(
            queries[np.resize(np.arange(m), -(-m // _BLOCK) * _BLOCK)], train, k, chunk_size=chunk_size
        )
        return Neighbours(found.distances[:m], found.indices[:m])

    if not (shifts or flips):
        return lambda queries, k: nearest(queries, train, k)
    _checks.examples("train, for shifts and flips,", train, ndim=4)
    if 2 * shifts >= min(train.shape[1:3]):
        raise ValueError(f"shifts must be less than half an image of {train.shape[1:3]}, got {shifts}")

    def search(queries, k):
        best = None
        for mine, theirs in _moves(queries, train, int(shifts), bool(flips)):
            found = nearest(mine, theirs, k)
            whole = np.asarray((train[0].size / theirs[0].size) ** 0.5, train.dtype)
            here = whole * np.asarray(found.distances), np.asarray(found.indices)
            best = here if best is None else _nearer(*(np.hstack(pair) for pair in zip(best, here, strict=True)), k)
        return Neighbours(*map(jnp.asarray, best))

    return search


def _moves(queries, train, shifts, flips) -> Iterator[tuple[Array, Array]]:
    """Queries and training images where they overlap, for each flip and shift."""
    steps = range(-shifts, shifts + 1)
    for x in (queries, queries[:, :, ::-1]) if flips else (queries,):
        for down in steps:
            for right in steps:
                yield _cut(x, down, right), _cut(train, -down, -right)


def _cut(x, down, right):
    """What is left of images `(n, h, w, c)` that are moved out of their frame, up and left where positive."""
    rows, columns = (slice(max(0, by), size + min(0, by)) for by, size in ((down, x.shape[1]), (right, x.shape[2])))
    return x[:, rows, columns]


def _nearer(
    distances: Float[np.ndarray, "m c"], indices: Int[np.ndarray, "m c"], k: int
) -> tuple[Float[np.ndarray, "m k"], Int[np.ndarray, "m k"]]:
    """The k nearest among candidates of which some come twice; ties go to the lower index."""
    order = np.lexsort((distances, indices), axis=1)
    distances, indices = (np.take_along_axis(x, order, axis=1) for x in (distances, indices))
    distances[:, 1:][indices[:, 1:] == indices[:, :-1]] = np.inf
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)
