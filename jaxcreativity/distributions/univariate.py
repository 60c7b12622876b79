"""One-dimensional targets whose density is a straight line or a kink on a log scale: Laplace, exponential, uniform.

Under Gaussian noise the posterior of each is made of truncated Gaussians. The closed form of their means in terms of
`erf` subtracts nearly equal numbers when the noise is much wider or much narrower than the target, and float32 loses
the result. Here the same integrals are summed from positive terms (`_half_line`), to rounding, at any noise level.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real

from jaxcreativity import _checks, _pytree
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.distributions.base import BayesDenoiser, check_order, set_scalars

_ENERGY_CUT = 40.0  # exp(-40) is below float64's rounding
_NODES, _WEIGHTS = ((a + b) / 2 for a, b in zip(np.polynomial.legendre.leggauss(48), (1.0, 0.0), strict=True))


@_pytree.dataclass
class Laplace:
    """Density `exp(-|x - loc| / scale) / (2 scale)`; variance `2 scale**2`.

    Args:
        scale: positive.
        loc: mean and peak.

    Raises:
        ValueError: if `scale` is not positive or a parameter is not a finite scalar.
    """

    scale: Real[ArrayLike, ""]
    loc: Real[ArrayLike, ""] = 0.0

    def __post_init__(self):
        set_scalars(self, "scale", positive=True)
        set_scalars(self, "loc")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example, `(1,)`."""
        return (1,)

    @property
    def mean(self) -> Float[Array, "1"]:
        """`loc`."""
        return self.loc[None]

    @property
    def covariance(self) -> Float[Array, "1 1"]:
        """`2 scale**2`."""
        return 2 * jnp.square(self.scale)[None, None]

    def moments(self, order: int) -> Float[Array, " {order}+1"]:
        """Raw moments `E[x**k]`, k = 0 to `order`, from `E[(x - loc)**k] = k! scale**k` (even k; 0 for odd)."""
        central = [math.factorial(k) * self.scale**k if k % 2 == 0 else 0.0 for k in range(check_order(order) + 1)]
        terms = [
            sum(math.comb(k, j) * central[j] * self.loc ** (k - j) for j in range(0, k + 1, 2))
            for k in range(order + 1)
        ]
        return jnp.stack([jnp.asarray(term, self.scale.dtype) for term in terms])

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n 1"]:
        """Draw `n` independent examples."""
        return self.loc + self.scale * jax.random.laplace(key, (n, 1), self.scale.dtype)

    def log_prob(self, x: Float[Array, "1"]) -> Float[Array, ""]:
        """Log-density at one example, in nats."""
        x = _checks.example("x", x, self.shape)[0]
        scale, loc = self.scale.astype(x.dtype), self.loc.astype(x.dtype)
        return -jnp.abs(x - loc) / scale - jnp.log(2 * scale)

    def posterior_mean(self, y: Float[Array, "1"], sigma: NoiseLevel) -> Float[Array, "1"]:
        """`E[x | y]` for `y = x + sigma * noise`."""
        y = _checks.example("y", y, self.shape)
        sigma, scale, loc = (jnp.asarray(value, y.dtype) for value in (sigma, self.scale, self.loc))
        # By symmetry take y >= loc, where the posterior peaks at the soft threshold of y - loc.
        sign = jnp.where(y[0] < loc, -1.0, 1.0).astype(y.dtype)
        u = sign * (y[0] - loc)
        pull, rate = u / jnp.square(sigma), 1 / scale
        peak = jnp.maximum(u - jnp.square(sigma) * rate, 0.0)
        beyond_peak = _half_line(sigma, slope=jnp.maximum(rate - pull, 0.0), extent=jnp.inf)
        # Back to the kink, and past it, where the density is lower by the energy climbed up to there.
        to_kink = _half_line(sigma, slope=0.0, extent=peak)
        past_kink = _half_line(sigma, slope=rate + pull, extent=jnp.inf)
        energy = 0.5 * jnp.square(peak / sigma)
        pieces = [(peak, 1, 0.0, beyond_peak), (peak, -1, 0.0, to_kink), (0.0, -1, energy, past_kink)]
        return loc[None] + sign * _mean(pieces)[None]

    def denoiser(self) -> BayesDenoiser:
        """The Bayes-optimal denoiser."""
        return BayesDenoiser(self)


@_pytree.dataclass
class Exponential:
    """Density `rate exp(-rate x)` on `x >= 0`; mean `1/rate`, variance `1/rate**2`.

    Args:
        rate: positive.

    Raises:
        ValueError: if `rate` is not a positive, finite scalar.
    """

    rate: Real[ArrayLike, ""]

    def __post_init__(self):
        set_scalars(self, "rate", positive=True)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example, `(1,)`."""
        return (1,)

    @property
    def mean(self) -> Float[Array, "1"]:
        """`1/rate`."""
        return (1 / self.rate)[None]

    @property
    def covariance(self) -> Float[Array, "1 1"]:
        """`1/rate**2`."""
        return jnp.square(1 / self.rate)[None, None]

    def moments(self, order: int) -> Float[Array, " {order}+1"]:
        """Raw moments `E[x**k] = k! / rate**k`, k = 0 to `order`."""
        return jnp.stack([math.factorial(k) / self.rate**k for k in range(check_order(order) + 1)])

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n 1"]:
        """Draw `n` independent examples."""
        return jax.random.exponential(key, (n, 1), self.rate.dtype) / self.rate

    def log_prob(self, x: Float[Array, "1"]) -> Float[Array, ""]:
        """Log-density at one example, in nats; `-inf` below 0."""
        x = _checks.example("x", x, self.shape)[0]
        rate = self.rate.astype(x.dtype)
        return jnp.where(x >= 0, jnp.log(rate) - rate * x, -jnp.inf)

    def posterior_mean(self, y: Float[Array, "1"], sigma: NoiseLevel) -> Float[Array, "1"]:
        """`E[x | y]` for `y = x + sigma * noise`."""
        y = _checks.example("y", y, self.shape)
        sigma, rate = jnp.asarray(sigma, y.dtype), self.rate.astype(y.dtype)
        slope_at_zero = rate - y[0] / jnp.square(sigma)
        peak = jnp.maximum(y[0] - jnp.square(sigma) * rate, 0.0)
        above = _half_line(sigma, slope=jnp.maximum(slope_at_zero, 0.0), extent=jnp.inf)
        below = _half_line(sigma, slope=0.0, extent=peak)
        return _mean([(peak, 1, 0.0, above), (peak, -1, 0.0, below)])[None]

    def denoiser(self) -> BayesDenoiser:
        """The Bayes-optimal denoiser."""
        return BayesDenoiser(self)


@_pytree.dataclass
class Uniform:
    """Density `1 / (high - low)` on `[low, high]`.

    Args:
        low: lower end.
        high: upper end, above `low`.

    Raises:
        ValueError: if not `low < high`, or a parameter is not a finite scalar.
    """

    low: Real[ArrayLike, ""]
    high: Real[ArrayLike, ""]

    def __post_init__(self):
        set_scalars(self, "low", "high")
        low, high = _checks.known(self.low), _checks.known(self.high)
        if low is not None and high is not None and not low < high:
            raise ValueError(f"low must be below high, got low={self.low}, high={self.high}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example, `(1,)`."""
        return (1,)

    @property
    def mean(self) -> Float[Array, "1"]:
        """`(low + high) / 2`."""
        return (0.5 * (self.low + self.high))[None]

    @property
    def covariance(self) -> Float[Array, "1 1"]:
        """`(high - low)**2 / 12`."""
        return (jnp.square(self.high - self.low) / 12)[None, None]

    def moments(self, order: int) -> Float[Array, " {order}+1"]:
        """Raw moments `E[x**k] = sum_j low**j high**(k-j) / (k+1)`, k = 0 to `order`."""
        # The sum, because (high**(k+1) - low**(k+1)) / (high - low) cancels for a narrow interval.
        return jnp.stack(
            [
                sum(self.low**j * self.high ** (k - j) for j in range(k + 1)) / (k + 1)
                for k in range(check_order(order) + 1)
            ]
        )

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n 1"]:
        """Draw `n` independent examples."""
        return self.low + (self.high - self.low) * jax.random.uniform(key, (n, 1), self.low.dtype)

    def log_prob(self, x: Float[Array, "1"]) -> Float[Array, ""]:
        """Log-density at one example, in nats; `-inf` outside the interval."""
        x = _checks.example("x", x, self.shape)[0]
        low, high = self.low.astype(x.dtype), self.high.astype(x.dtype)
        return jnp.where((x >= low) & (x <= high), -jnp.log(high - low), -jnp.inf)

    def posterior_mean(self, y: Float[Array, "1"], sigma: NoiseLevel) -> Float[Array, "1"]:
        """`E[x | y]` for `y = x + sigma * noise`."""
        y = _checks.example("y", y, self.shape)
        sigma, low, high = (jnp.asarray(value, y.dtype) for value in (sigma, self.low, self.high))
        peak = jnp.clip(y[0], low, high)
        variance = jnp.square(sigma)
        above = _half_line(sigma, slope=jnp.maximum(low - y[0], 0.0) / variance, extent=high - peak)
        below = _half_line(sigma, slope=jnp.maximum(y[0] - high, 0.0) / variance, extent=peak - low)
        return _mean([(peak, 1, 0.0, above), (peak, -1, 0.0, below)])[None]

    def denoiser(self) -> BayesDenoiser:
        """The Bayes-optimal denoiser."""
        return BayesDenoiser(self)


def _half_line(sigma, slope, extent):
    """`(length, mass, first)` of `exp(-slope v - v**2 / (2 sigma**2))` over `0 <= v <= extent`, `slope >= 0`.

    The integral is `length * mass`, that of `v` times it `length**2 * first`. `length` is `extent`, or the `v` at which
    the exponent reaches 40 if that is nearer. On it the integrand is entire and spans 40 nats at most, which 48
    Gauss-Legendre nodes integrate to rounding in float64.
    """
    dtype = sigma.dtype
    nodes, weights = jnp.asarray(_NODES, dtype), jnp.asarray(_WEIGHTS, dtype)
    steepness = slope * sigma
    reach = 2 * _ENERGY_CUT * sigma / (steepness + jnp.hypot(steepness, jnp.asarray((2 * _ENERGY_CUT) ** 0.5, dtype)))
    length = jnp.minimum(reach, extent)
    v = nodes * (length / sigma)
    terms = weights * jnp.exp(-v * (steepness + 0.5 * v))
    return length, jnp.sum(terms), jnp.sum(terms * nodes)


def _mean(pieces):
    """Mean of a density made of pieces `(start, direction, energy, _half_line(...))`, `start + direction * v`.

    Every piece counts with `exp(-energy)`; the first starts at the peak, and offsets are taken from there.
    """
    peak = pieces[0][0]
    # Lengths are divided by the largest: their squares may underflow.
    unit = jnp.max(jnp.stack([length for _, _, _, (length, _, _) in pieces]))
    unit = jnp.where(unit > 0, unit, 1.0)
    total, moment = 0.0, 0.0
    for start, direction, energy, (length, mass, first) in pieces:
        share = jnp.exp(-energy) * length / unit
        total = total + share * mass
        moment = moment + share * ((start - peak) * mass + direction * length * first)
    return peak + moment / jnp.where(total > 0, total, 1.0)
