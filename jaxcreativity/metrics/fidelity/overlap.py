"""Do two sets of feature vectors lie in the same places? Precision and recall, density and coverage.

All four ask whether vectors of one set lie in balls around the vectors of the other, each of the radius that reaches
its k-th nearest neighbour in its own set:

| measure   | is                                                               | low means                |
|-----------|------------------------------------------------------------------|--------------------------|
| precision | share of samples in any ball around a real vector                | unrealistic samples      |
| recall    | share of real vectors in any ball around a sample                | part of the data missing |
| density   | mean number of balls around real vectors that hold a sample, / k | unrealistic samples      |
| coverage  | share of real vectors whose ball holds any sample                | part of the data missing |

Recall counts balls around samples, which one outlier can make huge; coverage does not. Samples of the law of the real
vectors have density 1 on average, but precision, recall and coverage below 1: compare with a held-out set of the same
count. Computed in float64, on the host.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcreativity import _checks
from jaxcreativity.metrics.fidelity._sets import feature_pair

# Vectors whose distances to all others are held at once.
_BLOCK = 256


class Overlap(NamedTuple):
    """All four measures; made by `overlap`.

    Args:
        precision: in [0, 1].
        recall: in [0, 1].
        density: at least 0.
        coverage: in [0, 1].
    """

    precision: float
    recall: float
    density: float
    coverage: float


class PrecisionRecall(NamedTuple):
    """Both in [0, 1]."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Density is at least 0, coverage lies in [0, 1]."""

    density: float
    coverage: float


def precision_recall(samples: Shaped[ArrayLike, "m d"], real: Shaped[ArrayLike, "n d"], k: int = 3) -> PrecisionRecall:
    """Precision: share of the samples with `|s - r| <= R_k(r)` for some real r; recall: the same with roles exchanged.

    `R_k(r)` is the distance of r to its k-th nearest neighbour among the other real vectors. Memory: some
    `1024 (n + m)` numbers.

    Source: Kynkaanniemi et al. (2019), equations 1 to 3.

    Args:
        samples: features `(m, d)`.
        real: features `(n, d)`.
        k: neighbour that sets the radii.

    Raises:
        ValueError: if a set has no more than k vectors, the shapes differ, or entries are integer, NaN, infinite or
            traced.

    Example:
        >>> import numpy as np
        >>> real = np.random.default_rng(0).normal(size=(100, 2))
        >>> found = precision_recall(real[real[:, 0] > 0], real)  # realistic, but one half is missing
        >>> found.precision, found.recall < 0.8
        (1.0, True)
    """
    samples, real = feature_pair("samples", samples, "real", real)
    recall = _in_balls(real, "samples", samples, k).any_closed
    return PrecisionRecall(_in_balls(samples, "real", real, k).any_closed, recall)


def density_coverage(samples: Shaped[ArrayLike, "m d"], real: Shaped[ArrayLike, "n d"], k: int = 5) -> DensityCoverage:
    """Density: `1 / (k m) sum_sr w(s, r)`; coverage: share of real r with `w(s, r) > 0` for some s,

        w = 1 if |s - r| < R_k(r),    (k - c) / t if |s - r| = R_k(r),    0 if |s - r| > R_k(r),

    where of the real vectors, r included, c lie inside the ball of r and t on its boundary: together its k nearest
    weigh k. Without ties `c = k`, so that the boundary does not count; with more than k equal vectors `R_k = 0` and
    all is boundary. Copies of the whole real set have density exactly 1. Memory as for `precision_recall`.

    Source: Naeem et al. (2020), section 3, in whose inequality, `<`, ties do not count.

    Args:
        samples: features `(m, d)`.
        real: features `(n, d)`.
        k: neighbour that sets the radii.

    Raises:
        ValueError: as for `precision_recall`, but any number of samples will do.
    """
    samples, real = feature_pair("samples", samples, "real", real)
    found = _in_balls(samples, "real", real, k)
    return DensityCoverage(found.weight / k, found.occupied)


def overlap(samples: Shaped[ArrayLike, "m d"], real: Shaped[ArrayLike, "n d"], k: int = 5) -> Overlap:
    """`precision_recall` and `density_coverage` at one k, in half the time.

    Args:
        samples: features `(m, d)`.
        real: features `(n, d)`.
        k: neighbour that sets the radii.

    Raises:
        ValueError: as for `precision_recall`.
    """
    samples, real = feature_pair("samples", samples, "real", real)
    recall = _in_balls(real, "samples", samples, k).any_closed
    found = _in_balls(samples, "real", real, k)
    return Overlap(found.any_closed, recall, found.weight / k, found.occupied)


class _InBalls(NamedTuple):
    """Share of points in any closed ball, mean weight of the balls of a point, share of balls with a point of weight.

    Weights are those of `density_coverage`.
    """

    any_closed: float
    weight: float
    occupied: float


def _in_balls(points, name, centres, k) -> _InBalls:
    """Count points in the balls around centres; on a boundary: to within rounding."""
    if len(centres) <= _checks.positive_int("k", k):
        raise ValueError(f"{name} must have more than k = {k} vectors for a k-th neighbour each, got {len(centres)}")
    mean = centres.mean(axis=0)
    points, centres = points - mean, centres - mean
    # Not by `nearest_neighbours`: XLA's top-k is twenty times slower in float64 than in float32 on CPUs.
    limits, boundary_weights = np.empty((2, len(centres)))
    for rows, squares, rounding in _squares(centres, centres):
        limits[rows] = np.partition(squares, k, axis=1)[:, k]  # the 0th is the vector itself, or its equal
        excess = squares - limits[rows, None]
        on_boundary = (np.abs(excess) <= rounding).sum(axis=1)
        boundary_weights[rows] = (k - (excess < -rounding).sum(axis=1)) / on_boundary
    num_any, weight, occupied = 0, 0.0, np.zeros(len(centres), bool)
    for _, squares, rounding in _squares(points, centres):
        excess = squares - limits
        num_any += int((excess <= rounding).any(axis=1).sum())
        weights = np.where(excess < -rounding, 1.0, np.where(excess <= rounding, boundary_weights, 0.0))
        weight += float(weights.sum())
        occupied |= (weights > 0).any(axis=0)
    return _InBalls(num_any / len(points), weight / len(points), float(occupied.mean()))


def _squares(points, centres):
    """Squared distances, some points at a time, with what two computations of them may differ by."""
    sizes, norms = np.square(points).sum(axis=1), np.square(centres).sum(axis=1)
    for start in range(0, len(points), _BLOCK):
        rows = slice(start, start + _BLOCK)
        sums = sizes[rows, None] + norms
        yield rows, sums - 2 * points[rows] @ centres.T, 16 * (points.shape[1] + 8) * np.finfo(np.float64).eps * sums
