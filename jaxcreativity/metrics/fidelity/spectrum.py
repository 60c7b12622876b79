"""Radially averaged power spectrum of images: blur, noise and checkerboards show in it at a glance."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcreativity import _checks
from jaxcreativity._numerics import fourier
from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity.metrics._images import check_pair


def power_spectrum(images: Shaped[ArrayLike, "n h w c"]) -> Float[Array, " radii"]:
    """Mean power at each radial frequency r = 0, 1, ...:

        P_r = mean over images, channels and frequencies f with round(|f|) = r of |X(f)|^2,

    X the unitary Fourier transform (edges wrap), f in cycles per shorter side. The last radii lie in the corners
    beyond the shorter side's Nyquist frequency. Nothing is subtracted: r = 0 is brightness. White noise of variance v
    has `P_r = v`. In the units of the data, squared. Traceable and differentiable.

    Args:
        images: `(n, height, width, channels)`.

    Raises:
        ValueError: if `images` is not such an array, or integer, empty, NaN or infinite.

    Example:
        >>> import jax
        >>> power_spectrum(2 * jax.random.normal(jax.random.key(0), (1000, 8, 8, 1))).round(0).tolist()
        [4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0]
    """
    images = _checks.examples("images", images, ndim=4)
    radii = _radii(*images.shape[1:3])
    return _power_spectrum(images, tuple(radii.ravel().tolist()))


def spectrum_error(samples: Shaped[ArrayLike, "n h w c"], reference: Shaped[ArrayLike, "m h w c"]) -> Float[Array, ""]:
    """Root mean square, over the radii, of the logarithm of the ratio of two power spectra,

        sqrt(mean_r log(P_r / Q_r)^2),

    symmetric; 0.1 is a typical factor of 1.1 in power. Power below `eps` times the larger spectrum's sum (of a
    frequency that images lack) counts as that much.

    Args:
        samples: `(n, height, width, channels)`.
        reference: images of the same shape.

    Raises:
        ValueError: for the input that `power_spectrum` rejects, images of different shape, or two sets of zeros.
    """
    samples, reference = check_pair("samples", samples, "reference", reference)
    p, q = power_spectrum(samples), power_spectrum(reference)
    smallest = jnp.finfo(p.dtype).eps * jnp.maximum(p.sum(), q.sum())
    if _checks.is_concrete(smallest) and not smallest > 0:
        raise ValueError("samples and reference are all zeros, whose spectra have no ratio")
    return jnp.sqrt(jnp.mean(jnp.square(jnp.log(jnp.maximum(p, smallest) / jnp.maximum(q, smallest)))))


def _radii(height, width):
    """Radial frequency of every entry of a Fourier transform, rounded."""
    shorter = min(height, width)
    rows, columns = np.fft.fftfreq(height) * shorter, np.fft.fftfreq(width) * shorter
    radii = np.rint(np.hypot(rows[:, None], columns[None])).astype(int)
    return np.unique(radii, return_inverse=True)[1].reshape(height, width)


@partial(jax.jit, static_argnums=1)
def _power_spectrum(images, radii):
    power = jnp.einsum("hwcc->hw", fourier.mean_power_spectrum(images)).real / images.shape[3]
    count = max(radii) + 1
    ring = jax.nn.one_hot(np.asarray(radii), count, dtype=power.dtype)
    return dot(power.ravel(), ring) / ring.sum(axis=0)
