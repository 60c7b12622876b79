"""A blurred circle: a law with a rotational symmetry."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics.arithmetic import safe_sqrt
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.distributions._parameters import set_scalars
from jaxcreativity.distributions.base import BayesDenoiser


@_pytree.dataclass
class Ring:
    """A circle about the origin of the plane, blurred: `x = radius (cos a, sin a) + width * noise`, angle `a` uniform.

    The blur is an isotropic Gaussian in the plane, not along the radius only: the density is then smooth and closed,

        p(x) = I0(radius |x| / width^2) exp(-(|x|^2 + radius^2) / (2 width^2)) / (2 pi width^2)

    (`|x|` has the Rice distribution), the covariance is `(radius^2 / 2 + width^2) I`, and adding noise of level sigma
    gives a ring again, of width `sqrt(width^2 + sigma^2)`.

    Args:
        radius: of the circle, positive.
        width: standard deviation of the blur along each axis, positive.

    Raises:
        ValueError: if a parameter is not a positive, finite scalar.

    Example:
        >>> import jax.numpy as jnp
        >>> ring = Ring(radius=1.0, width=0.1)
        >>> print(ring.denoiser()(jnp.zeros(2), 0.5))  # between all angles, none is nearer
        [0. 0.]
    """

    radius: Real[ArrayLike, ""]
    width: Real[ArrayLike, ""]

    def __post_init__(self):
        set_scalars(self, "radius", "width", positive=True)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example, `(2,)`."""
        return (2,)

    @property
    def mean(self) -> Float[Array, "2"]:
        """The origin."""
        return jnp.zeros(2, self.radius.dtype)

    @property
    def covariance(self) -> Float[Array, "2 2"]:
        """`(radius^2 / 2 + width^2) I`."""
        return (0.5 * jnp.square(self.radius) + jnp.square(self.width)) * jnp.eye(2, dtype=self.radius.dtype)

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n 2"]:
        """Draw `n` independent examples."""
        key_angle, key_noise = jax.random.split(key)
        angle = jax.random.uniform(key_angle, (n,), self.radius.dtype, maxval=2 * np.pi)
        circle = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
        return self.radius * circle + self.width * jax.random.normal(key_noise, (n, 2), self.radius.dtype)

    def log_prob(self, x: Float[Array, "2"]) -> Float[Array, ""]:
        """Log-density at one example, in nats.

        Raises:
            ValueError: if `x` is not floating point or has another shape.
        """
        x = _checks.example("x", x, self.shape)
        radius, width = self.radius.astype(x.dtype), self.width.astype(x.dtype)
        norm = _norm(x)
        # I0(k) = i0e(k) exp(k), and the exponents complete the square.
        bessel = jnp.log(jax.scipy.special.i0e(radius * norm / jnp.square(width)))
        return bessel - 0.5 * jnp.square((norm - radius) / width) - jnp.log(2 * jnp.pi * jnp.square(width))

    def posterior_mean(self, y: Float[Array, "2"], sigma: NoiseLevel) -> Float[Array, "2"]:
        """`E[x | y] = c + (width^2 / s^2) (y - c)`, `s^2 = width^2 + sigma^2`, `c` the posterior mean on the circle.

        `c = radius I1(k)/I0(k) y/|y|` with `k = radius |y| / s^2`: the angle is von Mises distributed given `y`.

        Raises:
            ValueError: if `y` is not floating point or has another shape, or `sigma` is negative or NaN.
        """
        y = _checks.example("y", y, self.shape)
        sigma = _checks.noise_level(sigma)
        radius, width = self.radius.astype(y.dtype), self.width.astype(y.dtype)
        total = jnp.square(width) + jnp.square(jnp.asarray(sigma, y.dtype))
        concentration = radius * _norm(y) / total
        # I1(k) / (k I0(k)) tends to 1/2 at 0; relative error k^2 / 8 below the bound.
        small = concentration < jnp.finfo(y.dtype).eps ** 0.5
        safe = jnp.where(small, 1.0, concentration)
        ratio = jnp.where(small, 0.5, jax.scipy.special.i1e(safe) / (safe * jax.scipy.special.i0e(safe)))
        centre = jnp.square(radius) / total * ratio * y
        return centre + jnp.square(width) / total * (y - centre)

    def denoiser(self) -> BayesDenoiser:
        """The Bayes-optimal denoiser."""
        return BayesDenoiser(self)


def _norm(x):
    # The derivative of the norm at 0 is taken as 0.
    return safe_sqrt(jnp.sum(jnp.square(x)))
