"""Novelty: how far is a generated image from the training set, and is it a copy?

Being near the training set is not copying it: in dense regions everything is near something. The ratio test
compares the distance to the nearest training image with that to the k-th nearest (theory section 6): a copy
of one image is much closer to it than to any other, `d_1 / d_k << 1`, whereas a new image has several at
about the same distance, `d_1 / d_k` near 1. The same numbers for a held-out set say what a genuinely new
image scores.

Distances are Euclidean over all entries of an image, in the units of the data.
"""

import hashlib
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Shaped

from jaxcreativity import checks, pytree
from jaxcreativity.metrics import summary

# Queries compared at once, and candidates that are compared exactly beyond the neighbours asked for.
_BLOCK = 256
_SPARE = 16


@pytree.dataclass
class Neighbours:
    """The `k` nearest images of each of `m` queries, nearest first.

    `distances` are Euclidean; `indices` count along the data.
    """

    distances: Float[Array, "m k"]
    indices: Int[Array, "m k"]


@pytree.dataclass
class Novelty:
    """Distances of `m` samples to their nearest training images, and what follows; made by `novelty`.

    `distances` and `indices` hold the nearest `neighbour` distinct training images, nearest first, `indices`
    as positions in the training set (the first of a group of duplicates). `held_out` has the same for the
    held-out images, if there were any.
    """

    distances: Float[Array, "m neighbour"]
    indices: Int[Array, "m neighbour"]
    held_out: "Novelty | None"
    threshold: float = pytree.static()
    confidence: float = pytree.static()
    num_train: int = pytree.static()
    num_duplicates: int = pytree.static()

    @property
    def ratio(self) -> Float[Array, " m"]:
        """Distance to the nearest over distance to the `neighbour`-th nearest, in [0, 1]."""
        return _ratio(self.distances)

    @property
    def memorised(self) -> Bool[Array, " m"]:
        """Which samples count as copies of their nearest training image: `ratio < threshold`."""
        return self.ratio < self.threshold

    @property
    def memorised_fraction(self) -> Float[Array, ""]:
        """Fraction of the samples that count as copies."""
        return jnp.mean(self.memorised.astype(self.distances.dtype))

    @property
    def memorised_interval(self) -> tuple[float, float]:
        """Wilson score interval of the memorised fraction at `confidence`, the samples taken as independent."""
        memorised = self.memorised
        return summary.wilson_interval(int(memorised.sum()), memorised.shape[0], confidence=self.confidence)

    @property
    def ratio_quartiles(self) -> Float[Array, "3"]:
        """Lower quartile, median, upper quartile of `ratio`."""
        return summary.quartiles(self.ratio)

    def summary(self) -> dict[str, float | int]:
        """Return plain numbers for a table or JSON.

        `count`; the named quartiles of `ratio` and of `distance` (to the nearest); `memorised_fraction`,
        `memorised_low`, `memorised_high`; the settings `neighbour`, `threshold`, `confidence`; `num_train`,
        `num_duplicates`; and the first three groups again for the held-out set, prefixed with `held_out_`.
        """
        numbers = self._measured()
        settings = {
            "neighbour": self.distances.shape[1],
            "threshold": self.threshold,
            "confidence": self.confidence,
            "num_train": self.num_train,
            "num_duplicates": self.num_duplicates,
        }
        reference = {} if self.held_out is None else self.held_out._measured()
        return numbers | settings | {f"held_out_{name}": value for name, value in reference.items()}

    def _measured(self) -> dict[str, float | int]:
        low, high = self.memorised_interval
        return {
            "count": self.distances.shape[0],
            **summary.named_quartiles("ratio", self.ratio),
            **summary.named_quartiles("distance", self.distances[:, 0]),
            "memorised_fraction": float(self.memorised_fraction),
            "memorised_low": low,
            "memorised_high": high,
        }


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
    """
    queries, data = _pair("queries", queries, "data", data)
    k = checks.positive_int("k", k)
    chunk_size = checks.positive_int("chunk_size", chunk_size)
    if exclude_self and queries.shape != data.shape:
        raise ValueError(f"exclude_self needs queries that are the data, got {queries.shape} and {data.shape}")
    available = data.shape[0] - bool(exclude_self)
    if k > available:
        other = "other " if exclude_self else ""
        raise ValueError(f"k = {k} neighbours need at least as many {other}images in data, got {available}")
    flat = (x.reshape(x.shape[0], -1) for x in (queries, data))
    distances, indices = _nearest(*flat, k, bool(exclude_self), min(chunk_size, data.shape[0]))
    return Neighbours(distances, indices)


def neighbour_ratio(
    samples: Shaped[ArrayLike, "m ..."], data: Shaped[ArrayLike, "n ..."], k: int = 2, *, chunk_size: int = 4096
) -> Float[Array, " m"]:
    """Distance to the nearest image over the distance to the k-th nearest, `d_1 / d_k` in [0, 1], per sample.

    An exact copy has ratio 0, also where `d_k = 0` because the data hold it more than once (0 / 0 is taken as
    0). A *near* copy of an image that the data hold k times has ratio 1, though: `novelty` removes duplicates
    first.

    Traceable, and differentiable where `d_1 > 0`. Arguments and errors are those of `nearest_neighbours`,
    and:

    Raises:
        ValueError: if `k < 2`.
    """
    if checks.positive_int("k", k) < 2:
        raise ValueError("k must be at least 2: the ratio of the nearest distance to itself says nothing")
    return _ratio(nearest_neighbours(samples, data, k, chunk_size=chunk_size).distances)


def novelty(
    samples: Shaped[ArrayLike, "m ..."],
    train: Shaped[ArrayLike, "n ..."],
    test: Shaped[ArrayLike, "t ..."] | None = None,
    *,
    neighbour: int = 2,
    threshold: float = 1 / 3,
    confidence: float = 0.95,
    chunk_size: int = 4096,
) -> Novelty:
    """Nearest training images of every sample, the ratio test for copies, and the held-out set's own numbers.

    A sample counts as memorised if `d_1 / d_neighbour < threshold` (Yoon et al. 2023: second neighbour, 1/3).
    A denoiser that generalises scores like the held-out set, not a fraction of exactly 0.

    Duplicate training images (equal in every entry) are one image here: with both kept, a slightly noisy copy
    of a duplicated image would have `d_1 = d_2` and pass as new. `num_duplicates` counts those that were
    dropped.

    Looks at values, so not traceable; `neighbour_ratio` is.

    Args:
        samples: generated images `(m, *shape)`.
        train: the images that the denoiser was fitted to, `(n, *shape)`.
        test: images of the same source that it has not seen, `(t, *shape)`; a few hundred are enough.
        neighbour: k of the ratio.
        threshold: ratio below which a sample counts as a copy.
        confidence: level of the interval of the memorised fraction.
        chunk_size: as for `nearest_neighbours`.

    Raises:
        ValueError: for the input that `nearest_neighbours` rejects, `neighbour < 2` or above the number of
            distinct training images, `threshold` outside (0, 1], `confidence` outside (0, 1), traced arrays.
    """
    samples, train = _pair("samples", samples, "train", train)
    if not (checks.is_concrete(samples) and checks.is_concrete(train)):
        raise ValueError("novelty looks at values, so call it outside jit and grad; neighbour_ratio is traceable")
    if checks.positive_int("neighbour", neighbour) < 2:
        raise ValueError(f"neighbour must be at least 2, got {neighbour}")
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is a ratio of distances in (0, 1], got {threshold}")
    summary.check_confidence(confidence)
    first = _first_occurrences(train)
    duplicates = train.shape[0] - first.size
    if neighbour > first.size:
        raise ValueError(
            f"neighbour = {neighbour} needs at least as many distinct training images, got {first.size} "
            f"({train.shape[0]} less {duplicates} duplicates)"
        )
    distinct = train[first] if duplicates else train

    def measure(x, held_out):
        nearest = nearest_neighbours(x, distinct, neighbour, chunk_size=chunk_size)
        return Novelty(
            distances=nearest.distances,
            indices=jnp.asarray(first, nearest.indices.dtype)[nearest.indices],
            held_out=held_out,
            threshold=float(threshold),
            confidence=float(confidence),
            num_train=train.shape[0],
            num_duplicates=duplicates,
        )

    reference = None if test is None else measure(_pair("test", test, "train", train)[0], None)
    return measure(samples, reference)


# --- search -------------------------------------------------------------------------------------------------------


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
    norms = jnp.sum(jnp.square(fixed - centre[None]), axis=1)

    def one_block(start):
        # The last block repeats the last query.
        own = jnp.minimum(start + jnp.arange(block, dtype=jnp.int32), num_queries - 1)
        y = queries[own]
        excluded = own if exclude_self else jnp.full_like(own, -1)
        indices = _search(jax.lax.stop_gradient(y), excluded, fixed, centre, norms, k, chunk)
        distances = _norm(data[indices] - y[:, None])
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
        products = jnp.matmul(u, v.T, precision="highest")
        return squares[:, None] - 2 * products + jax.lax.dynamic_slice_in_dim(norms, first, chunk)[None]

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


def _norm(differences):
    squares = jnp.sum(jnp.square(differences), axis=-1)
    # The derivative of the root is infinite at 0; it is taken as 0.
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)


def _ratio(distances):
    nearest, farthest = distances[:, 0], distances[:, -1]
    return jnp.where(farthest > 0, nearest / jnp.where(farthest > 0, farthest, 1.0), 0.0)


# --- input --------------------------------------------------------------------------------------------------------


def _pair(name_a, a, name_b, b):
    a, b = checks.examples(name_a, a), checks.examples(name_b, b)
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(
            f"images of {name_a} and {name_b} must have the same shape, got {a.shape[1:]} and {b.shape[1:]}"
        )
    dtype = jnp.result_type(a, b)
    # Four squared differences of this size still add up to a finite number.
    limit = float(jnp.finfo(dtype).max / (16 * a[0].size)) ** 0.5
    for name, x in ((name_a, a), (name_b, b)):
        if checks.is_concrete(x) and (largest := float(jnp.max(jnp.abs(x)))) > limit:
            raise ValueError(
                f"{name} has entries up to {largest:.3g}, whose squared distances overflow in {dtype}; leave such "
                "samples out and count them, or use float64"
            )
    return a.astype(dtype), b.astype(dtype)


def _first_occurrences(x) -> np.ndarray:
    """Ascending indices of the images that equal no earlier one."""
    rows = np.ascontiguousarray(np.asarray(x).reshape(x.shape[0], -1)) + 0.0  # turns -0 into 0
    seen = {}
    for index, row in enumerate(rows):
        seen.setdefault(hashlib.blake2b(row.tobytes(), digest_size=16).digest(), index)
    return np.fromiter(seen.values(), dtype=np.int64)
