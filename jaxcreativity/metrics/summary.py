"""How many numbers become a few: quartiles, the interval of a fraction, the bootstrap."""

from collections.abc import Callable
from statistics import NormalDist

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcreativity import _checks

# Resampled values held at once.
_RESAMPLED_ENTRIES = 2**20


def quartiles(values: Shaped[ArrayLike, "..."]) -> Float[Array, "3"]:
    """Lower quartile, median and upper quartile of `(n,)` values, interpolated between order statistics.

    Raises:
        ValueError: if `values` is not one non-empty axis of floating-point numbers.
    """
    values = jnp.asarray(values)
    if values.ndim != 1 or values.size == 0 or not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(f"values must be a non-empty floating-point (n,), got {values.dtype} {values.shape}")
    return jnp.quantile(values, jnp.asarray([0.25, 0.5, 0.75], values.dtype))


def named_quartiles(name: str, values: Shaped[ArrayLike, "..."]) -> dict[str, float]:
    """Name the quartiles `{name}_q25`, `{name}_median`, `{name}_q75`: plain floats for a table or JSON.

    Raises:
        ValueError: for the values that `quartiles` rejects.
    """
    lower, median, upper = quartiles(values).tolist()
    return {f"{name}_q25": lower, f"{name}_median": median, f"{name}_q75": upper}


def wilson_interval(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a binomial fraction; with p = successes / n and z the two-sided Gaussian quantile,

        (p + z^2/2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2/n).

    Unlike `p -+ z sqrt(p (1 - p) / n)` and unlike a bootstrap it does not shrink to a point at p = 0 or 1:
    none of 100 samples memorised means a fraction between 0 and 0.037. The trials are taken to be
    independent.

    Source: Wilson (1927); Brown, Cai & DasGupta (2001), section 3.1.1. Computed by SciPy.

    Args:
        successes: how often.
        trials: out of how many.
        confidence: level of the interval.

    Raises:
        ValueError: unless `0 <= successes <= trials`, `trials >= 1` and `0 < confidence < 1`.

    Example:
        >>> low, high = wilson_interval(0, 100)
        >>> low, round(high, 3)
        (0.0, 0.037)
    """
    from scipy.stats import binomtest  # takes longer to load than the rest of this package

    trials = _checks.positive_int("trials", trials)
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must lie between 0 and trials = {trials}, got {successes}")
    interval = binomtest(int(successes), trials).proportion_ci(check_confidence(confidence), method="wilson")
    return float(interval.low), float(interval.high)


def half_width(variance: float, confidence: float) -> float:
    """Half the width of the central interval of a Gaussian of this variance.

    Raises:
        ValueError: unless `0 < confidence < 1`.
    """
    return NormalDist().inv_cdf(0.5 + 0.5 * check_confidence(confidence)) * variance**0.5


def check_confidence(confidence: float) -> float:
    """Return `confidence` if it lies in (0, 1).

    Raises:
        ValueError: if it does not.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, e.g. 0.95, got {confidence}")
    return confidence


def bootstrap_interval(
    values: Shaped[np.ndarray, " n"],
    statistic: Callable[[np.ndarray], float] = np.mean,
    *,
    confidence: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of independent values: its quantiles over sets drawn with return.

    For a fraction near 0 or 1 use `wilson_interval`: the bootstrap of values that are all equal is a point.

    Args:
        values: `(n,)`.
        statistic: array -> number, e.g. `numpy.mean` or `numpy.median`; one with an argument `axis` is given many sets
            at once.
        confidence: level of the interval.
        num_resamples: sets drawn.
        seed: of the draws.

    Source: Efron & Tibshirani (1993), section 13.3. Computed by SciPy.

    Raises:
        ValueError: for values that are not one non-empty axis, a confidence outside (0, 1) or no resamples.

    Example:
        >>> low, high = bootstrap_interval(np.arange(100.0), np.median)
        >>> low < 49.5 < high
        True
    """
    values = np.asarray(values)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"values must be a non-empty (n,), got {values.shape}")
    check_confidence(confidence)
    _checks.positive_int("num_resamples", num_resamples)
    if values.size == 1:  # every set is this one, which SciPy rejects
        return (float(statistic(values)),) * 2
    from scipy.stats import bootstrap

    interval = bootstrap(
        (values,),
        statistic,
        n_resamples=num_resamples,
        batch=max(1, _RESAMPLED_ENTRIES // values.size),
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)
