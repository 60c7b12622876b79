"""Do two sets of feature vectors lie in the same places? Precision and recall, density and coverage.

All four ask whether vectors of one set lie in balls around the vectors of the other, each of the radius that reaches
its k-th nearest neighbour in its own set:

| measure   | share of ...                                                  | low means            |
|-----------|---------------------------------------------------------------|----------------------|
| precision | samples in any ball around a real vector                      | unrealistic samples  |
| recall    | real vectors in any ball around a sample                      | part of the data missing |
| density   | balls around real vectors that hold a sample, over k          | unrealistic samples; not bounded by 1 |
| coverage  | real vectors whose ball holds any sample                      | part of the data missing |

Recall counts balls around samples, which one outlier can make huge; coverage does not. Samples of the law of the real
vectors have density 1 on average, but precision, recall and coverage below 1: compare with a held-out set of the same
count. Computed in float64, on the host.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import ArrayLike, Bool, Shaped

from jaxcreativity import checks
from jaxcreativity.metrics.feature_sets import feature_pair
from jaxcreativity.metrics.neighbours import nearest_neighbours

# Vectors whose distances to all others are held at once.
_BLOCK = 256


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

    `R_k(r)` is the distance of r to its k-th nearest neighbour among the other real vectors. Memory: `256 (n + m)`
    numbers and those of `nearest_neighbours`.

    Source: Kynkaanniemi et al. (2019), equations 1 to 3.

    Args:
        samples: features `(m, d)`.
        real: features `(n, d)`.
        k: neighbour that sets the radii.

    Raises:
        ValueError: if a set has no more than k vectors, the shapes differ, or entries are integer, NaN, infinite or
            traced.
    """
    samples, real = feature_pair("samples", samples, "real", real)
    radii = _radii("samples", samples, k), _radii("real", real, k)
    precise = np.concatenate([inside.any(axis=1) for inside in _in_balls(samples, real, radii[1], closed=True)])
    recalled = np.concatenate([inside.any(axis=1) for inside in _in_balls(real, samples, radii[0], closed=True)])
    return PrecisionRecall(float(precise.mean()), float(recalled.mean()))


def density_coverage(samples: Shaped[ArrayLike, "m d"], real: Shaped[ArrayLike, "n d"], k: int = 5) -> DensityCoverage:
    """Density: `1 / (k m) sum_sr 1[|s - r| < R_k(r)]`; coverage: share of real r with `|s - r| < R_k(r)` for some s.

    The inequality is strict (copies of the whole real set have density exactly 1). Memory as for `precision_recall`.

    Source: Naeem et al. (2020), section 3.

    Args:
        samples: features `(m, d)`.
        real: features `(n, d)`.
        k: neighbour that sets the radii.

    Raises:
        ValueError: as for `precision_recall`, but any number of samples will do.
    """
    samples, real = feature_pair("samples", samples, "real", real)
    num_inside, covered = 0, np.zeros(len(real), bool)
    for inside in _in_balls(samples, real, _radii("real", real, k), closed=False):
        num_inside += int(inside.sum())
        covered |= inside.any(axis=0)
    return DensityCoverage(num_inside / (k * len(samples)), float(covered.mean()))


def _radii(name, x, k):
    if len(x) <= checks.positive_int("k", k):
        raise ValueError(f"{name} must have more than k = {k} vectors for a k-th neighbour each, got {len(x)}")
    with jax.enable_x64(True):
        return np.asarray(nearest_neighbours(x, x, k, exclude_self=True).distances[:, -1])


def _in_balls(points, centres, radii, *, closed) -> Iterator[Bool[np.ndarray, "block centres"]]:
    """Which balls is each point in, some points at a time? Those on a boundary, to within rounding, if `closed`."""
    mean = centres.mean(axis=0)
    points, centres = points - mean, centres - mean
    sizes, norms = np.square(points).sum(axis=1), np.square(centres).sum(axis=1)
    limits = np.square(radii)
    # Squares are expanded, |p|^2 - 2pc + |c|^2, whose rounding may part equal distances.
    rounding = 16 * (points.shape[1] + 8) * np.finfo(np.float64).eps
    for start in range(0, len(points), _BLOCK):
        rows = slice(start, start + _BLOCK)
        sums = sizes[rows, None] + norms
        squares = sums - 2 * points[rows] @ centres.T
        yield squares <= limits + rounding * sums if closed else squares < limits - rounding * sums
