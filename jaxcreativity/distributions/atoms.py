"""Point masses: what a finite training set is, and what a denoiser that memorises generates."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity._numerics.posterior import posterior_mean
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.distributions._parameters import check_one_dimensional, check_order, check_weights, set_floats
from jaxcreativity.distributions.base import BayesDenoiser


@_pytree.dataclass
class Atoms:
    """Point masses: `x = points[i]` with probability `weights[i]`.

    Args:
        points: `(k, *shape)`; in one dimension `(k, 1)`.
        weights: `(k,)`, positive, summing to one; `None` for equal weights.

    Raises:
        ValueError: if shapes do not fit, points are not finite, or weights are no probabilities.

    Example:
        >>> import jax.numpy as jnp
        >>> coin = Atoms(jnp.asarray([[-1.0], [1.0]]))
        >>> round(float(coin.denoiser()(jnp.asarray([0.5]), 1.0)[0]), 3)  # tanh(y / sigma^2)
        0.462
    """

    points: Real[ArrayLike, "k *shape"]
    weights: Real[ArrayLike, " k"] | None = None

    def __post_init__(self):
        set_floats(self, "points")
        _checks.examples("points", self.points)
        if self.weights is None:
            count = self.points.shape[0]
            object.__setattr__(self, "weights", jnp.full(count, 1 / count, self.points.dtype))
        set_floats(self, "weights")
        check_weights(self.weights, self.points, "points")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.points.shape[1:]

    @property
    def mean(self) -> Float[Array, " d"]:
        """`sum_i w_i x_i`."""
        return dot(self.weights, self._flat)

    @property
    def covariance(self) -> Float[Array, "d d"]:
        """`sum_i w_i (x_i - mean)(x_i - mean)^T`."""
        spread = self._flat - self.mean[None]
        return dot(spread.T * self.weights[None], spread)

    def moments(self, order: int) -> Float[Array, " {order}+1"]:
        """Raw moments `E[x**k] = sum_i w_i x_i**k`, k = 0 to `order`, in one dimension.

        Raises:
            ValueError: if `order` is no whole number of at least 0, or examples have more than one entry.
        """
        check_one_dimensional(self.shape)
        return jnp.stack([jnp.sum(self.weights * self._flat[:, 0] ** k) for k in range(check_order(order) + 1)])

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n *shape"]:
        """Draw `n` independent examples."""
        return self.points[jax.random.categorical(key, jnp.log(self.weights), shape=(n,))]

    def log_prob(self, x: Float[Array, "*shape"]) -> Float[Array, ""]:
        """Log-probability (not density) of exactly `x`, in nats; `-inf` if `x` is none of the points.

        Raises:
            ValueError: if `x` is not floating point or has another shape.
        """
        x = _checks.example("x", x, self.shape)
        here = jnp.all(self._flat.astype(x.dtype) == x.reshape(1, -1), axis=1)
        return jnp.log(jnp.sum(jnp.where(here, self.weights.astype(x.dtype), 0.0)))

    def posterior_mean(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """`sum_i w_i(y) x_i`, `w(y) = softmax_i(log w_i - |y - x_i|^2 / (2 sigma^2))`.

        Raises:
            ValueError: if `y` is not floating point or has another shape, or `sigma` is negative or NaN.
        """
        y = _checks.example("y", y, self.shape)
        sigma = _checks.noise_level(sigma)
        log_weights = jnp.log(self.weights.astype(y.dtype))
        return posterior_mean(y.ravel(), self._flat.astype(y.dtype), sigma, log_weights=log_weights).reshape(self.shape)

    def denoiser(self) -> BayesDenoiser:
        """The Bayes-optimal denoiser."""
        return BayesDenoiser(self)

    @property
    def _flat(self):
        return self.points.reshape(self.points.shape[0], -1)
