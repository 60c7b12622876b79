"""The Laplace law on the line: a kink at its peak, heavy tails."""

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
class Laplace:
    """Density `exp(-|x - loc| / scale) / (2 scale)`; variance `2 scale**2`.

    Args:
        scale: positive.
        loc: mean and peak.

    Raises:
        ValueError: if `scale` is not positive or a parameter is not a finite scalar.

    Example:
        >>> print(Laplace(0.5).moments(4))
        [1.  0.  0.5 0.  1.5]
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
        """Raw moments `E[x**k]`, k = 0 to `order`, from `E[(x - loc)**k] = k! scale**k` (even k; 0 for odd).

        Raises:
            ValueError: if `order` is no whole number of at least 0.
        """
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
        """Log-density at one example, in nats.

        Raises:
            ValueError: if `x` is not floating point or has another shape.
        """
        x = _checks.example("x", x, self.shape)[0]
        scale, loc = self.scale.astype(x.dtype), self.loc.astype(x.dtype)
        return -jnp.abs(x - loc) / scale - jnp.log(2 * scale)

    def posterior_mean(self, y: Float[Array, "1"], sigma: NoiseLevel) -> Float[Array, "1"]:
        """`E[x | y]` for `y = x + sigma * noise`.

        Raises:
            ValueError: if `y` is not floating point or has another shape, or `sigma` is negative or NaN.
        """
        y = _checks.example("y", y, self.shape)
        sigma = _checks.noise_level(sigma)
        sigma, scale, loc = (jnp.asarray(value, y.dtype) for value in (sigma, self.scale, self.loc))
        sigma = positive(sigma)
        # By symmetry take y >= loc, where the posterior peaks at the soft threshold of y - loc.
        sign = jnp.where(y[0] < loc, -1.0, 1.0).astype(y.dtype)
        u = sign * (y[0] - loc)
        pull, rate = u / jnp.square(sigma), 1 / scale
        peak = jnp.maximum(u - jnp.square(sigma) * rate, 0.0)
        beyond_peak = half_line(sigma, slope=jnp.maximum(rate - pull, 0.0), extent=jnp.inf)
        # Back to the kink, and past it, where the density is lower by the energy climbed up to there.
        to_kink = half_line(sigma, slope=0.0, extent=peak)
        past_kink = half_line(sigma, slope=rate + pull, extent=jnp.inf)
        energy = 0.5 * jnp.square(peak / sigma)
        pieces = [(peak, 1, 0.0, beyond_peak), (peak, -1, 0.0, to_kink), (0.0, -1, energy, past_kink)]
        return loc[None] + sign * mean_of_pieces(pieces)[None]

    def denoiser(self) -> BayesDenoiser:
        """The Bayes-optimal denoiser."""
        return BayesDenoiser(self)
