"""Kernel distance (KID): the maximum mean discrepancy of two sets of feature vectors, unbiased, with an interval."""

from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, PRNGKeyArray, Shaped

from jaxcreativity import _checks
from jaxcreativity.metrics import summary
from jaxcreativity.metrics.fidelity._sets import feature_pair, host_rng

# Rows of the kernel matrix held at once.
_BLOCK = 256


class KernelDistance(NamedTuple):
    """The estimate from all vectors, and its confidence interval.

    Args:
        value: the estimate.
        low: lower end of the interval.
        high: upper end.
    """

    value: float
    low: float
    high: float


def kernel_distance(
    x: Shaped[ArrayLike, "n d"],
    y: Shaped[ArrayLike, "m d"],
    *,
    num_subsets: int = 100,
    subset_size: int | None = None,
    key: PRNGKeyArray,
    confidence: float = 0.95,
) -> KernelDistance:
    """Unbiased estimate of the squared maximum mean discrepancy with the kernel `k(u, v) = (u . v / d + 1)^3`:

        mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)

    over all vectors. Its mean is 0 for sets of one law, whatever the counts, so it can be negative. The kernel compares
    moments up to order 3. In Inception features it is the KID.

    The interval is Gaussian with the standard error of the delete-d jackknife,

        b / (n - b) * mean_s (value_s - value)^2,

    value_s being the estimate from a random subset of b of the n vectors of the smaller set, and as large a share of
    the other. For sets of one law, where the estimate is degenerate, it is too wide (by the root of 3 at b = n / 2).

    Computed in float64 on the host. Memory: `(512 + num_subsets) (n + m)` numbers.

    Source: Gretton et al. (2012), lemma 6; Binkowski et al. (2018); Shao & Wu (1989), equation 2.1.

    Args:
        x: features `(n, d)`.
        y: features `(m, d)`.
        num_subsets: subsets drawn for the interval, at least 2.
        subset_size: b, from 2 to one less than the smaller count; half of that if not given.
        key: random key of the subsets; the value does not depend on it.
        confidence: level of the interval.

    Raises:
        ValueError: if the shapes differ, a set has fewer than 4 vectors, entries are integer, NaN, infinite or traced,
            or a setting is out of its range.

    Example:
        >>> import jax
        >>> x, y = jax.random.normal(jax.random.key(0), (2, 100, 4))
        >>> same, moved = (kernel_distance(x, z, key=jax.random.key(1)) for z in (y, y + 1))
        >>> same.low < 0 < same.high, moved.low > 0
        (True, True)
    """
    x, y = feature_pair("x", x, "y", y, min_count=4)
    summary.check_confidence(confidence)
    smaller = min(len(x), len(y))
    subset_size = check_subsets(num_subsets, subset_size, smaller)
    rng = host_rng(key)
    weights = [_subsets(rng, len(z), subset_size / smaller, num_subsets) for z in (x, y)]
    value, *of_subsets = _estimates(x, y, *weights).tolist()
    variance = np.mean(np.square(np.asarray(of_subsets) - value)) * subset_size / (smaller - subset_size)
    half_width = summary.half_width(float(variance), confidence)
    return KernelDistance(value, value - half_width, value + half_width)


def check_subsets(num_subsets: int, subset_size: int | None, smaller: int) -> int:
    """The size of the subsets, by default half of the smaller set.

    Args:
        num_subsets: subsets drawn.
        subset_size: vectors of the smaller set in each, or `None`.
        smaller: count of the smaller set.

    Raises:
        ValueError: as `kernel_distance`.
    """
    if _checks.positive_int("num_subsets", num_subsets) < 2:
        raise ValueError(f"num_subsets must be at least 2 for an interval, got {num_subsets}")
    subset_size = smaller // 2 if subset_size is None else _checks.positive_int("subset_size", subset_size)
    if not 2 <= subset_size < smaller:
        raise ValueError(
            f"subset_size must lie between 2 and {smaller - 1}, below the smaller count; got {subset_size}"
        )
    return subset_size


def _subsets(rng, count, share, num_subsets):
    """`(1 + num_subsets, count)` of 0 and 1: first everything, then random subsets."""
    size = min(max(round(share * count), 2), count - 1)
    weights = np.zeros((1 + num_subsets, count))
    weights[0] = 1
    for row in weights[1:]:
        row[rng.permutation(count)[:size]] = 1
    return weights


def _estimates(x, y, weights_x, weights_y):
    """The unbiased estimate of every row of the weights."""
    n, m = weights_x.sum(axis=1), weights_y.sum(axis=1)
    within_x = _sums(x, x, weights_x, weights_x) - weights_x @ _kernel(np.square(x).sum(axis=1), x.shape[1])
    within_y = _sums(y, y, weights_y, weights_y) - weights_y @ _kernel(np.square(y).sum(axis=1), y.shape[1])
    between = _sums(x, y, weights_x, weights_y)
    return within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * between / (n * m)


def _sums(x, y, weights_x, weights_y):
    """`sum_ij a_si k(x_i, y_j) b_sj` for every s, a few rows of the kernel matrix at a time."""
    total = np.zeros(len(weights_x))
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, start + _BLOCK)
        kernel = _kernel(x[rows] @ y.T, x.shape[1])
        total += np.einsum("si,is->s", weights_x[:, rows], kernel @ weights_y.T)
    return total


def _kernel(products, num_features):
    shifted = products / num_features + 1
    return shifted * shifted * shifted  # NumPy's power is many times slower
