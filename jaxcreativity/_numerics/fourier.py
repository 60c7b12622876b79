"""Second moments of images under circular shifts, and filters that commute with them, in the Fourier basis.

Frequencies are those of the unitary two-dimensional Fourier transform; each holds a (channels, channels) matrix.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact


def mean_power_spectrum(
    u: Float[Array, "n height width channels"], chunk_size: int = 1024
) -> Inexact[Array, "height width channels channels"]:
    """`mean_i X_i(f) X_i(f)^H` with the unitary Fourier transform, a chunk of images at a time.

    Args:
        u: images `(n, height, width, channels)`, centred by the caller.
        chunk_size: images transformed at once.
    """

    def total(chunk):
        transformed = jnp.fft.fft2(chunk, axes=(1, 2), norm="ortho")
        return jnp.einsum("nhwc,nhwe->hwce", transformed, transformed.conj(), precision="highest")

    n = u.shape[0]
    whole = n - n % chunk_size
    power = total(u[whole:])
    if whole:
        chunks = u[:whole].reshape(-1, chunk_size, *u.shape[1:])
        power = power + jax.lax.scan(lambda s, chunk: (s + total(chunk), None), jnp.zeros_like(power), chunks)[0]
    return power / n


def autocovariance(
    power: Inexact[Array, "height width channels channels"],
) -> Float[Array, "height width channels channels"]:
    """Entry `delta`: `E[x_c(p + delta) x_e(p)]`, from the (C, C) power spectrum."""
    return jnp.fft.ifft2(power, axes=(0, 1)).real


def covariance_between(autocovariance, rows, columns) -> Float[Array, "points_channels points_channels"]:
    """Covariance matrix of the pixels at `(rows, columns)` (wrapped), all channels of each.

    Args:
        autocovariance: from `autocovariance`, `(height, width, channels, channels)`.
        rows: of the pixels, `(points,)`.
        columns: of the pixels, `(points,)`.
    """
    height, width, channels, _ = autocovariance.shape
    row_lag = (rows[:, None] - rows[None, :]) % height
    column_lag = (columns[:, None] - columns[None, :]) % width
    size = len(rows) * channels
    return autocovariance[row_lag, column_lag].swapaxes(1, 2).reshape(size, size)


def multiply(blocks: Inexact[Array, "blocks b b"], u: Inexact[Array, "blocks b *columns"]) -> Array:
    """Block-diagonal matrix times one vector, or a few columns, per block."""
    if u.ndim == 2:
        return jnp.einsum("nij,nj->ni", blocks, u, precision="highest")
    return jnp.einsum("nij,njk->nik", blocks, u, precision="highest")


def frequency_response(
    kernel: Float[Array, "rows columns inputs outputs"], height: int, width: int
) -> Inexact[Array, "frequencies outputs inputs"]:
    """Fourier transform W of a circular cross-correlation: `x_hat(f) = W(f) y(f)`; the kernel's middle is lag 0.

    Args:
        kernel: as `jax.lax.conv` takes it.
        height: of the image, at least that of the kernel.
        width: of the image, at least that of the kernel.
    """
    rows, columns = kernel.shape[:2]
    padded = jnp.pad(kernel, ((0, height - rows), (0, width - columns), (0, 0), (0, 0)))
    centred = jnp.roll(padded, (-(rows // 2), -(columns // 2)), axis=(0, 1))
    response = jnp.fft.fft2(centred, axes=(0, 1)).conj()
    return response.reshape(height * width, *kernel.shape[2:]).swapaxes(1, 2)
