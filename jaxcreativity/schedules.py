"""Noise level as a function of time, `t` in [0, 1] -> sigma, and grids of levels for the sampler.

Every process is written in the coordinate `y = x + sigma * noise`. A variance-preserving process
`x_t = a_t x + s_t noise` is the same thing with `y = x_t / a_t` and `sigma = s_t / a_t`.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks
from jaxcreativity.denoiser import Scalar

Schedule: TypeAlias = Callable[[ArrayLike], jax.Array]


def cosine(period: Scalar = 2.016) -> Schedule:
    """`sigma(t) = tan(pi t / period)`: the variance-preserving cosine schedule `a_t = cos(pi t / period)`.

    Source: Nichol & Dhariwal (2021); `period = 2.016` after Kamb & Ganguli (2025), whose
    `beta(t) = 1 - cos(pi t / 2.016)**2` is `s_t**2`. Then sigma(1) is about 80.

    Args:
        period: above 2, so that sigma stays finite up to `t = 1`.

    Raises:
        ValueError: if `period <= 2`.

    Example:
        >>> round(float(cosine()(1.0)), 1)
        80.2
    """
    if (known := _checks.known(period)) is not None and not known > 2:
        raise ValueError(f"period must be above 2, else sigma(1) is infinite; got {period}")
    return partial(_cosine, period=period)


def linear_beta(beta_min: Scalar = 0.1, beta_max: Scalar = 20.0) -> Schedule:
    """`sigma(t)**2 = exp(int_0^t beta) - 1` with `beta(t) = beta_min + t (beta_max - beta_min)`.

    The variance-preserving process of Ho et al. (2020) in the continuous form of Song et al. (2021, appendix C).

    Args:
        beta_min: rate at `t = 0`, positive.
        beta_max: rate at `t = 1`, at least `beta_min`.

    Raises:
        ValueError: if not `0 < beta_min <= beta_max`.

    Example:
        >>> round(float(linear_beta()(1.0)), 1)
        152.2
    """
    _check_order("beta_min", beta_min, "beta_max", beta_max, strict=False)
    return partial(_linear_beta, beta_min=beta_min, beta_max=beta_max)


def karras(sigma_min: Scalar, sigma_max: Scalar, rho: Scalar = 7.0) -> Schedule:
    """`sigma(t) = (sigma_min**(1/rho) + t (sigma_max**(1/rho) - sigma_min**(1/rho)))**rho`.

    Source: Karras et al. (2022), equation 5.

    Args:
        sigma_min: lowest positive level, reached at `t = 0`.
        sigma_max: highest level, reached at `t = 1`.
        rho: how much the steps shorten towards low noise; positive.

    Raises:
        ValueError: if not `0 < sigma_min < sigma_max` or `rho <= 0`.

    Example:
        >>> import numpy as np
        >>> print(np.asarray(grid(karras(0.1, 10.0), 4), float).round(2))
        [10.    2.93  0.66  0.1   0.  ]
    """
    _check_order("sigma_min", sigma_min, "sigma_max", sigma_max)
    if (known := _checks.known(rho)) is not None and not known > 0:
        raise ValueError(f"rho must be positive, got {rho}")
    return partial(_karras, sigma_min=sigma_min, sigma_max=sigma_max, rho=rho)


def log_linear(sigma_min: Scalar, sigma_max: Scalar) -> Schedule:
    """`sigma(t) = sigma_min (sigma_max / sigma_min)**t`: equal ratios between neighbouring levels.

    The variance-exploding process of Song et al. (2021).

    Args:
        sigma_min: lowest positive level, reached at `t = 0`.
        sigma_max: highest level, reached at `t = 1`.

    Raises:
        ValueError: if not `0 < sigma_min < sigma_max`.

    Example:
        >>> import numpy as np
        >>> print(np.asarray(grid(log_linear(0.01, 10.0), 4), float).round(2))
        [10.    1.    0.1   0.01  0.  ]
    """
    _check_order("sigma_min", sigma_min, "sigma_max", sigma_max)
    return partial(_log_linear, sigma_min=sigma_min, sigma_max=sigma_max)


def grid(schedule: Schedule, num_steps: int) -> Float[Array, " {num_steps}+1"]:
    """Noise levels of a sampler with `num_steps` steps: `(num_steps + 1,)`, strictly decreasing, last 0.

    A schedule with `sigma(0) = 0` is read at `t = 1, 1 - 1/num_steps, ..., 0`. One with a positive lowest level is
    read at `num_steps` equally spaced times down to that level and then stepped to 0 (Karras et al. 2022).

    Args:
        schedule: `t` in [0, 1] -> sigma, increasing.
        num_steps: number of denoiser evaluations of a first-order sampler.

    Raises:
        ValueError: if `num_steps < 1` or the levels do not decrease (a schedule too flat for this dtype).

    Example:
        >>> import numpy as np
        >>> print(np.asarray(grid(cosine(), 4), float).round(1))
        [80.2  2.4  1.   0.4  0. ]
    """
    num_steps = _checks.positive_int("num_steps", num_steps)
    steps = jnp.arange(num_steps, dtype=jnp.result_type(float))
    ends_at_zero = schedule(jnp.zeros(())) == 0
    # The time is chosen first and the schedule read once: its derivative at t = 0 may be infinite.
    time = jnp.where(ends_at_zero, 1 - steps / num_steps, 1 - steps / max(num_steps - 1, 1))
    levels = jnp.append(schedule(time), 0.0)
    return _checks.noise_grid(levels)


def _cosine(t, period):
    return jnp.tan(jnp.pi * jnp.asarray(t) / period)


def _linear_beta(t, beta_min, beta_max):
    t = jnp.asarray(t)
    return jnp.sqrt(jnp.expm1(beta_min * t + 0.5 * (beta_max - beta_min) * t**2))


def _karras(t, sigma_min, sigma_max, rho):
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return (low + jnp.asarray(t) * (high - low)) ** rho


def _log_linear(t, sigma_min, sigma_max):
    return sigma_min * jnp.asarray(sigma_max / sigma_min) ** jnp.asarray(t)


def _check_order(low_name, low, high_name, high, *, strict=True):
    low, high = _checks.known(low), _checks.known(high)
    if low is not None and high is not None:
        ordered = low < high if strict else low <= high
        if not (np.isfinite(low) and np.isfinite(high) and low > 0 and ordered):
            sign = "<" if strict else "<="
            raise ValueError(f"need 0 < {low_name} {sign} {high_name}, got {low_name}={low}, {high_name}={high}")
