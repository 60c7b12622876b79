"""Targets with a symmetry: a ring in the plane (rotations) and a texture (shifts)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics.arithmetic import safe_sqrt
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.distributions.base import BayesDenoiser, set_floats, set_scalars, wiener_gain


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
        """Log-density at one example, in nats."""
        x = _checks.example("x", x, self.shape)
        radius, width = self.radius.astype(x.dtype), self.width.astype(x.dtype)
        norm = _norm(x)
        # I0(k) = i0e(k) exp(k), and the exponents complete the square.
        bessel = jnp.log(jax.scipy.special.i0e(radius * norm / jnp.square(width)))
        return bessel - 0.5 * jnp.square((norm - radius) / width) - jnp.log(2 * jnp.pi * jnp.square(width))

    def posterior_mean(self, y: Float[Array, "2"], sigma: NoiseLevel) -> Float[Array, "2"]:
        """`E[x | y] = c + (width^2 / s^2) (y - c)`, `s^2 = width^2 + sigma^2`, `c` the posterior mean on the circle.

        `c = radius I1(k)/I0(k) y/|y|` with `k = radius |y| / s^2`: the angle is von Mises distributed given `y`.
        """
        y = _checks.example("y", y, self.shape)
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


@_pytree.dataclass
class Texture:
    """A stationary Gaussian image of mean 0 that wraps around, `(height, width, 1)`, with a given power spectrum.

    Args:
        power_spectrum: `(height, width)`, `S(f) = E|fft2(x)(f)|^2 / (height width)` at the frequencies of `fft2`: the
            eigenvalues of the covariance, their mean the variance of a pixel. Non-negative and even, `S(-f) = S(f)`.

    Raises:
        ValueError: if the spectrum is no matrix, not finite, negative, or not even.
    """

    power_spectrum: Real[ArrayLike, "h w"]

    def __post_init__(self):
        set_floats(self, "power_spectrum")
        if self.power_spectrum.ndim != 2 or 0 in self.power_spectrum.shape:
            raise ValueError(f"power_spectrum must have shape (height, width), got {self.power_spectrum.shape}")
        if _checks.is_concrete(self.power_spectrum):
            power = np.asarray(self.power_spectrum)
            if not (np.isfinite(power).all() and (power >= 0).all()):
                raise ValueError(f"power_spectrum must be finite and non-negative, its smallest entry is {power.min()}")
            mirrored = np.roll(power[::-1, ::-1], (1, 1), axis=(0, 1))
            if np.abs(power - mirrored).max() > 100 * jnp.finfo(power.dtype).eps * power.max():
                raise ValueError("power_spectrum must be even, S(-f) = S(f), for the image to be real")

    @classmethod
    def power_law(
        cls,
        height: int,
        width: int,
        alpha: Real[ArrayLike, ""] = 2.0,
        variance: Real[ArrayLike, ""] = 1.0,
    ) -> "Texture":
        """Spectrum proportional to `1 / |f|**alpha`, `f` in cycles per pixel; `alpha = 2` is typical of photographs.

        Frequency 0 gets the power of the lowest other frequency.

        Args:
            height: in pixels.
            width: in pixels.
            alpha: exponent; 0 is white noise.
            variance: of one pixel, positive.

        Raises:
            ValueError: if a size is below 1 or `variance` is not positive.
        """
        _checks.positive_int("height", height)
        _checks.positive_int("width", width)
        if _checks.is_concrete(variance) and not 0 < variance < np.inf:
            raise ValueError(f"variance must be positive and finite, got {variance}")
        frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
        frequency[0, 0] = 1 / max(height, width)
        dtype = jnp.result_type(float, alpha, variance)
        power = jnp.asarray(frequency, dtype) ** -jnp.asarray(alpha, dtype)
        return cls(jnp.asarray(variance, dtype) * power / power.mean())

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example, `(height, width, 1)`."""
        return (*self.power_spectrum.shape, 1)

    @property
    def mean(self) -> Float[Array, " d"]:
        """Zero."""
        return jnp.zeros(self.power_spectrum.size, self.power_spectrum.dtype)

    @property
    def covariance(self) -> Float[Array, "d d"]:
        """Block-circulant: `R(q - q')`, `R = ifft2(S)` the autocovariance."""
        height, width = self.power_spectrum.shape
        autocovariance = jnp.fft.ifft2(self.power_spectrum).real.astype(self.power_spectrum.dtype)
        row, column = np.divmod(np.arange(height * width), width)
        rows, columns = (row[:, None] - row[None, :]) % height, (column[:, None] - column[None, :]) % width
        return autocovariance[rows, columns]

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n h w 1"]:
        """Draw `n` independent images."""
        white = jax.random.normal(key, (n, *self.power_spectrum.shape), self.power_spectrum.dtype)
        return _filter(white, safe_sqrt(self.power_spectrum)[None])[..., None]

    def log_prob(self, x: Float[Array, "h w 1"]) -> Float[Array, ""]:
        """Log-density at one image, in nats; where the spectrum is 0 at some frequency, `inf` or `-inf`."""
        x = _checks.example("x", x, self.shape)
        power = self.power_spectrum.astype(x.dtype)
        squares = jnp.square(jnp.abs(jnp.fft.fft2(x[..., 0], norm="ortho")))
        absent = power <= 0
        safe = jnp.where(absent, 1.0, power)
        inside = -0.5 * jnp.sum(jnp.where(absent, 0.0, squares / safe + jnp.log(2 * jnp.pi * safe)))
        # Rounding of the transform is not power.
        outside = jnp.any(absent & (squares > power.size * jnp.finfo(x.dtype).eps * squares.max()))
        return jnp.where(jnp.any(absent), jnp.where(outside, -jnp.inf, jnp.inf), inside)

    def posterior_mean(self, y: Float[Array, "h w 1"], sigma: NoiseLevel) -> Float[Array, "h w 1"]:
        """Wiener filter, gain `S(f) / (S(f) + sigma^2)`."""
        y = _checks.example("y", y, self.shape)
        gain = wiener_gain(self.power_spectrum.astype(y.dtype), jnp.square(jnp.asarray(sigma, y.dtype)))
        return _filter(y[..., 0], gain)[..., None]

    def denoiser(self) -> BayesDenoiser:
        """The Bayes-optimal denoiser."""
        return BayesDenoiser(self)


def _filter(image, gain):
    return jnp.fft.ifft2(gain * jnp.fft.fft2(image)).real.astype(image.dtype)


def _norm(x):
    # The derivative of the norm at 0 is taken as 0.
    return safe_sqrt(jnp.sum(jnp.square(x)))
