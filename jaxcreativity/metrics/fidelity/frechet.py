"""Frechet distance of two sets of feature vectors, and what it would be without the bias of finite counts."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcreativity import _checks
from jaxcreativity.distributions import gaussian
from jaxcreativity.metrics.fidelity._sets import feature_pair


class FrechetDistance(NamedTuple):
    """Squared Frechet distance at the count there is, at half of it, and extrapolated; made by `frechet_extrapolated`.

    Args:
        value: of the whole sets.
        half_count: mean over the four pairs of disjoint halves; minus `value` it shows the bias.
        extrapolated: to infinite count; negative where the sets differ by less than their sampling noise.
    """

    value: float
    half_count: float
    extrapolated: float


def frechet_distance(
    x: Shaped[ArrayLike, "n d"], y: Shaped[ArrayLike, "m d"], *, min_count: int | None = None
) -> float:
    """Squared Frechet distance, i.e. squared 2-Wasserstein distance of the Gaussians fitted to two sets:

        |m_x - m_y|^2 + tr(S_x + S_y - 2 (S_x^1/2 S_y S_x^1/2)^1/2)

    S are the covariances divided by n - 1. Computed in float64, by symmetric eigenvalues (`gaussian.wasserstein2`,
    which is traceable). In Inception features it is the FID. It is biased upwards, about as 1 / n with a coefficient
    that grows with d: compare equal counts only, or see `frechet_extrapolated`.

    With n <= d the covariance of n vectors is singular whatever their law, and the distance tells little else: that
    is an error by default. Features that are constant or collinear in the data make covariances singular, too, but
    rightly so, and are fine.

    Source: Dowson & Landau (1982); Heusel et al. (2017), equation 6.

    Args:
        x: features `(n, d)`.
        y: features `(m, d)`.
        min_count: smallest n and m that are accepted, at least 2; `d + 1` if not given.

    Raises:
        ValueError: if there are too few vectors, the shapes differ, or entries are integer, NaN, infinite or traced.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> round(frechet_distance(x, x + 2), 6)  # three features, each moved by 2
        12.0
    """
    x, y = feature_pair("x", x, "y", y)
    _check_counts(x, y, x.shape[1] + 1 if min_count is None else min_count)
    with jax.enable_x64(True):
        return float(gaussian.wasserstein2(_law(x), _law(y), precise=True)) ** 2


def frechet_extrapolated(x: Shaped[ArrayLike, "n d"], y: Shaped[ArrayLike, "n d"]) -> FrechetDistance:
    """`frechet_distance` at count n, at half of it, and its limit where the bias is c / n.

    With `h = n // 2`, `F(n) = F + c / n` gives `F = (n F(n) - h F(h)) / (n - h)`. F(h) is the mean over the pairs of
    disjoint halves, in the order given: shuffle sorted sets first.

    Source: Chong & Forsyth (2020), who fit the line to more counts, and of one of the two sets only.

    Args:
        x: features `(n, d)`.
        y: features `(n, d)`, as many.

    Raises:
        ValueError: for the input that `frechet_distance` rejects, `n < 2 (d + 1)`, or different counts.
    """
    x, y = feature_pair("x", x, "y", y)
    if x.shape != y.shape:
        raise ValueError(f"x and y must have the same count, got {x.shape[0]} and {y.shape[0]}; subsample the larger")
    n, d = x.shape
    _check_counts(x, y, 2 * (d + 1))
    half = n // 2
    whole = frechet_distance(x, y)
    parts = [frechet_distance(a, b) for a in (x[:half], x[half : 2 * half]) for b in (y[:half], y[half : 2 * half])]
    at_half = sum(parts) / len(parts)
    return FrechetDistance(whole, at_half, (n * whole - half * at_half) / (n - half))


def _check_counts(x, y, min_count):
    if _checks.positive_int("min_count", min_count) < 2:
        raise ValueError(f"min_count must be at least 2, one vector has no covariance; got {min_count}")
    for name, z in (("x", x), ("y", y)):
        if z.shape[0] < min_count:
            raise ValueError(
                f"{name} has {z.shape[0]} vectors of {z.shape[1]} features; a covariance that means something needs at "
                f"least {min_count} of them. Draw more, or use fewer features, e.g. features.pca(train, rank)"
            )


def _law(x):
    # Moments on the host: only the count of features is compiled for.
    return gaussian.Gaussian(x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False)))
