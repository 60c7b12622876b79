"""Training images that are nearly the same: the scale that says so, and neighbours that are different images.

Sets of photographs hold many near-duplicates. A copy of an image that has one is as near to its twin, so that
neighbours say whether a sample is a copy only if near-duplicates count as one image. Let `d_1(i) <= ... <= d_K(i)` be
the distances of training image i to its K nearest others. Its near-duplicates are those of them at

    d(i, j) <= f min(s, d_K(i)),

with the fraction f and the scale s of the set: its distance between nearest *different* images, the largest s with

    s = median over i of min {d_k(i) : d_k(i) > f min(s, d_K(i))},        s <= median of d_K(i),

i.e. the largest at which half of the images have no neighbour between f s and s. It is found from above, by iteration.
Without near-duplicates it is the median distance to the nearest image or little more (in one dimension 1.5 times, from
three on less than 1.02). Tight clusters of more than K images are structure of the set, not near-duplicates: `d_K` is
a distance within the cluster.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcreativity.metrics.memorisation._search import Search
from jaxcreativity.metrics.memorisation.neighbours import Neighbours

# Near-duplicates that one image may have, fewer in sets of less than 256 images (the square root of their number).
_GROUP = 16
# Training images from which the scale is estimated.
_EXAMINED = 512


class NearDuplicates(NamedTuple):
    """What tells near-duplicates in a training set; made by `near_duplicates`.

    Args:
        train: `(n, *shape)`, all different.
        search: for its nearest images.
        fraction: f.
        size: K.
        scale: s.
        share: of the training images that have a near-duplicate. Like the scale, of 512 images spread over the set.
    """

    train: Float[Array, "n ..."]
    search: Search
    fraction: float
    size: int
    scale: float
    share: float


def near_duplicates(train: Float[Array, "n ..."], search: Search, fraction: float) -> NearDuplicates:
    """The scale of a training set of at least two different images, and what is needed to tell near-duplicates.

    Args:
        train: `(n, *shape)`, no two equal.
        search: for its nearest images.
        fraction: f, in [0, 1); at 0, nothing is a near-duplicate.

    Raises:
        ValueError: for a fraction outside [0, 1).
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"duplicate_fraction is a ratio of distances in [0, 1), got {fraction}")
    n = train.shape[0]
    size = min(_GROUP, n - 1, int(np.ceil(n**0.5)))
    rows = np.unique(np.linspace(0, n - 1, min(n, _EXAMINED)).astype(int))
    distances, _ = _others(train, search, rows, size)
    scale = _scale(distances, fraction)
    near = distances[:, 0] <= _limits(distances, scale, fraction)
    return NearDuplicates(train, search, float(fraction), size, scale, float(near.mean()) if fraction else 0.0)


def distinct_neighbours(
    queries: Float[Array, "m ..."], k: int, among: NearDuplicates, *, repeat: bool = False
) -> Neighbours:
    """The k nearest different training images of every query: nearest first, without near-duplicates of one taken.

    Exact: as many nearest images are looked at as it takes, `(k - 1) K + 1` at most, since an image has less than K
    near-duplicates.

    Args:
        queries: `(m, *shape)`.
        k: at most n.
        among: the training images.
        repeat: whether the nearest comes again where, near-duplicates left out, fewer than k are left.

    Raises:
        ValueError: if fewer than k are left, and `repeat` is off.
    """
    m, n = queries.shape[0], among.train.shape[0]
    distances, indices = np.zeros((m, k), np.asarray(among.train).dtype), np.zeros((m, k), int)
    todo, count = np.arange(m), min(n, k - 1 + among.size)
    while todo.size:
        found = among.search(queries[todo], count)
        candidates = np.asarray(found.indices)
        places = _different(candidates, k, among)
        if repeat and count == n:
            places = np.maximum(places, 0)  # where the nearest is
        settled = places[:, -1] >= 0
        for store, values in ((distances, np.asarray(found.distances)), (indices, candidates)):
            store[todo[settled]] = np.take_along_axis(values, places, axis=1)[settled]
        todo = todo[~settled]
        if todo.size and count == n:
            raise ValueError(
                f"{k} different neighbours need more training images: some samples have fewer, near-duplicates counted "
                "once; ask for fewer, or count all with duplicate_fraction = 0"
            )
        count = min(n, 2 * count)
    return Neighbours(jnp.asarray(distances), jnp.asarray(indices))


def _different(candidates: Int[np.ndarray, "m c"], k: int, among: NearDuplicates) -> Int[np.ndarray, "m k"]:
    """Places of the first k candidates that are no near-duplicates of those before; -1 where there are fewer."""
    places = np.full((len(candidates), k), -1)
    left = np.ones(candidates.shape, bool)
    for rank in range(k):
        places[:, rank] = np.where(left.any(axis=1), left.argmax(axis=1), -1)
        chosen = np.take_along_axis(candidates, places[:, rank, None], axis=1)
        left &= candidates != chosen
        if rank < k - 1 and among.fraction:
            groups = _groups(chosen[:, 0], among)
            left &= (candidates[:, :, None] != groups[:, None]).all(axis=2)
    return places


def _groups(images: Int[np.ndarray, " m"], among: NearDuplicates) -> Int[np.ndarray, "m size"]:
    """Indices of the near-duplicates of each of some training images, -1 in the places that are left."""
    unique, inverse = np.unique(images, return_inverse=True)
    distances, indices = _others(among.train, among.search, unique, among.size)
    near = distances <= _limits(distances, among.scale, among.fraction)[:, None]
    return np.where(near, indices, -1)[inverse]


def _others(train, search, rows, size) -> tuple[Float[np.ndarray, "m size"], Int[np.ndarray, "m size"]]:
    """Distances and indices of the nearest other images of some training images."""
    found = search(train[rows], size + 1)
    distances, indices = np.asarray(found.distances), np.asarray(found.indices)
    # The image itself goes to the end; it need not come first where others are at distance 0, too.
    order = np.argsort(indices == rows[:, None], axis=1, kind="stable")[:, :size]
    return tuple(np.take_along_axis(x, order, axis=1) for x in (distances.astype(np.float64), indices))


def _limits(distances, scale, fraction):
    return fraction * np.minimum(scale, distances[:, -1])


def _scale(distances: Float[np.ndarray, "m size"], fraction: float) -> float:
    scale = np.median(distances[:, -1])
    while True:
        far = distances > _limits(distances, scale, fraction)[:, None]
        far[:, -1] = True  # also where all are at distance 0
        smaller = np.median(distances[np.arange(len(distances)), far.argmax(axis=1)])
        if not smaller < scale:
            return float(scale)
        scale = smaller
