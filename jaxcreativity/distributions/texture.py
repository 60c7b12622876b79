"""Stationary Gaussian images: laws that shifts do not change."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics.arithmetic import safe_sqrt
from jaxcreativity._numerics.spectral import wiener_gain
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.distributions._parameters import set_floats
from jaxcreativity.distributions.base import BayesDenoiser


@_pytree.dataclass
class Texture:
    """A stationary Gaussian image of mean 0 that wraps around, `(height, width, 1)`, with a given power spectrum.

    Args:
        power_spectrum: `(height, width)`, `S(f) = E|fft2(x)(f)|^2 / (height width)` at the frequencies of `fft2`: the
            eigenvalues of the covariance, their mean the variance of a pixel. Non-negative and even, `S(-f) = S(f)`.

    Raises:
        ValueError: if the spectrum is no matrix, not finite, negative, or not even.

    Example:
        >>> import jax
        >>> Texture.power_law(16, 16).sample(jax.random.key(0), 4).shape
        (4, 16, 16, 1)
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
        """Log-density at one image, in nats; where the spectrum is 0 at some frequency, `inf` or `-inf`.

        Raises:
            ValueError: if `x` is not floating point or has another shape.
        """
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
        """Wiener filter, gain `S(f) / (S(f) + sigma^2)`.

        Raises:
            ValueError: if `y` is not floating point or has another shape, or `sigma` is negative or NaN.
        """
        y = _checks.example("y", y, self.shape)
        sigma = _checks.noise_level(sigma)
        gain = wiener_gain(self.power_spectrum.astype(y.dtype), jnp.square(jnp.asarray(sigma, y.dtype)))
        return _filter(y[..., 0], gain)[..., None]

    def denoiser(self) -> BayesDenoiser:
        """The Bayes-optimal denoiser."""
        return BayesDenoiser(self)


def _filter(image, gain):
    return jnp.fft.ifft2(gain * jnp.fft.fft2(image)).real.astype(image.dtype)
