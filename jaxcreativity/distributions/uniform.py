"""The uniform law on an interval: bounded support."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real

from jaxcreativity import _checks, _pytree
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.distributions._half_line import half_line, mean_of_pieces, positive
from jaxcreativity.distributions._parameters import check_order, set_scalars
from jaxcreativity.distributions.base import BayesDenoiser


@_pytree.dataclass
class Uniform:
    """Density `1 / (high - low)` on `[low, high]`.

    Args:
        low: lower end.
        high: upper end, above `low`.

    Raises:
        ValueError: if not `low < high`, or a parameter is not a finite scalar.

    Example:
        >>> [round(float(moment), 3) for moment in Uniform(0.0, 2.0).moments(3)]
        [1.0, 1.0, 1.333, 2.0]
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
        """Raw moments `E[x**k] = sum_j low**j high**(k-j) / (k+1)`, k = 0 to `order`.

        Raises:
            ValueError: if `order` is no whole number of at least 0.
        """
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
        """Log-density at one example, in nats; `-inf` outside the interval.

        Raises:
            ValueError: if `x` is not floating point or has another shape.
        """
        x = _checks.example("x", x, self.shape)[0]
        low, high = self.low.astype(x.dtype), self.high.astype(x.dtype)
        return jnp.where((x >= low) & (x <= high), -jnp.log(high - low), -jnp.inf)

    def posterior_mean(self, y: Float[Array, "1"], sigma: NoiseLevel) -> Float[Array, "1"]:
        """`E[x | y]` for `y = x + sigma * noise`.

        Raises:
            ValueError: if `y` is not floating point or has another shape, or `sigma` is negative or NaN.
        """
        y = _checks.example("y", y, self.shape)
        sigma = _checks.noise_level(sigma)
        sigma, low, high = (jnp.asarray(value, y.dtype) for value in (sigma, self.low, self.high))
        sigma = positive(sigma)
        peak = jnp.clip(y[0], low, high)
        variance = jnp.square(sigma)
        above = half_line(sigma, slope=jnp.maximum(low - y[0], 0.0) / variance, extent=high - peak)
        below = half_line(sigma, slope=jnp.maximum(y[0] - high, 0.0) / variance, extent=peak - low)
        return mean_of_pieces([(peak, 1, 0.0, above), (peak, -1, 0.0, below)])[None]

    def denoiser(self) -> BayesDenoiser:
        """The Bayes-optimal denoiser."""
        return BayesDenoiser(self)
