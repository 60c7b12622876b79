"""The exponential law on the half-line: an edge and a skew."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real

from jaxcreativity import _checks, _pytree
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.distributions._half_line import half_line, mean_of_pieces, positive
from jaxcreativity.distributions._parameters import check_order, set_scalars
from jaxcreativity.distributions.base import BayesDenoiser


@_pytree.dataclass
class Exponential:
    """Density `rate exp(-rate x)` on `x >= 0`; mean `1/rate`, variance `1/rate**2`.

    Args:
        rate: positive.

    Raises:
        ValueError: if `rate` is not a positive, finite scalar.

    Example:
        >>> print(Exponential(2.0).moments(3))
        [1.   0.5  0.5  0.75]
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
        """Raw moments `E[x**k] = k! / rate**k`, k = 0 to `order`.

        Raises:
            ValueError: if `order` is no whole number of at least 0.
        """
        return jnp.stack([math.factorial(k) / self.rate**k for k in range(check_order(order) + 1)])

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n 1"]:
        """Draw `n` independent examples."""
        return jax.random.exponential(key, (n, 1), self.rate.dtype) / self.rate

    def log_prob(self, x: Float[Array, "1"]) -> Float[Array, ""]:
        """Log-density at one example, in nats; `-inf` below 0.

        Raises:
            ValueError: if `x` is not floating point or has another shape.
        """
        x = _checks.example("x", x, self.shape)[0]
        rate = self.rate.astype(x.dtype)
        return jnp.where(x >= 0, jnp.log(rate) - rate * x, -jnp.inf)

    def posterior_mean(self, y: Float[Array, "1"], sigma: NoiseLevel) -> Float[Array, "1"]:
        """`E[x | y]` for `y = x + sigma * noise`.

        Raises:
            ValueError: if `y` is not floating point or has another shape, or `sigma` is negative or NaN.
        """
        y = _checks.example("y", y, self.shape)
        sigma = _checks.noise_level(sigma)
        sigma, rate = positive(jnp.asarray(sigma, y.dtype)), self.rate.astype(y.dtype)
        slope_at_zero = rate - y[0] / jnp.square(sigma)
        peak = jnp.maximum(y[0] - jnp.square(sigma) * rate, 0.0)
        above = half_line(sigma, slope=jnp.maximum(slope_at_zero, 0.0), extent=jnp.inf)
        below = half_line(sigma, slope=0.0, extent=peak)
        return mean_of_pieces([(peak, 1, 0.0, above), (peak, -1, 0.0, below)])[None]

    def denoiser(self) -> BayesDenoiser:
        """The Bayes-optimal denoiser."""
        return BayesDenoiser(self)
