"""Which pixels of the input an output pixel depends on, and how far away they are."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks
from jaxcreativity.denoiser import Denoiser, NoiseLevel
from jaxcreativity.probing.jacobians import jacobian

Field = Float[Array, "height width"]


def receptive_field(
    denoiser: Denoiser, y: Float[ArrayLike, "height width channels"], sigma: NoiseLevel, pixel: tuple[int, int]
) -> Field:
    """Strength with which each input pixel enters one output pixel.

        field[p] = sqrt(sum_{c, c'} (dD[pixel, c] / dy[p, c'])^2)

    The effective receptive field (Luo et al. 2016), of a network or of a closed form: that of the Wiener filter
    (`linear.fit`) is what the covariance of the data alone predicts.

    Args:
        denoiser: callable on one image.
        y: noisy image.
        sigma: noise level, positive.
        pixel: row and column of the output pixel.

    Raises:
        ValueError: if `y` is no image, `pixel` lies outside it, or the denoiser has no derivative.

    Example:
        >>> blur = lambda y, sigma: (y + jnp.roll(y, 1, axis=0)) / 2
        >>> field = receptive_field(blur, jnp.zeros((4, 4, 1)), 1.0, (2, 2))
        >>> field[:, 2].tolist(), float(mass_outside(field, (2, 2), 1))
        ([0.0, 0.5, 0.5, 0.0], 0.5)
    """
    y = _checks.example("y", y)
    if y.ndim != 3:
        raise ValueError(f"y must be an image (height, width, channels), got shape {y.shape}")
    _check_pixel(pixel, y.shape[:2])
    operator = jacobian(denoiser, y, sigma)
    one = lambda c: operator.rmatvec(jnp.zeros_like(y).at[(*pixel, c)].set(1))  # noqa: E731
    gradients = jax.lax.map(one, jnp.arange(y.shape[2]))
    return jnp.sqrt(jnp.sum(jnp.square(gradients), axis=(0, 3)))


def radius(field: Field, pixel: tuple[int, int], *, circular: bool = False) -> Float[Array, ""]:
    """Root mean square distance, in pixels, of a receptive field from its pixel, weighted by its squares.

    A field that is constant in a k x k window has radius `sqrt((k^2 - 1) / 6)`.

    Args:
        field: of `receptive_field`.
        pixel: the pixel that it belongs to.
        circular: whether distances wrap at the border.

    Raises:
        ValueError: if `field` is no matrix or `pixel` lies outside it.
    """
    rows, columns = _offsets(field, pixel, circular)
    weight = jnp.square(field)
    square = jnp.square(rows)[:, None] + jnp.square(columns)[None, :]
    return jnp.sqrt(jnp.sum(weight * square) / jnp.maximum(jnp.sum(weight), jnp.finfo(field.dtype).tiny))


def mass_outside(field: Field, pixel: tuple[int, int], patch_size: int, *, circular: bool = False) -> Float[Array, ""]:
    """Share of the squared field that lies outside the k x k window around its pixel: 0 for a k x k denoiser.

    Args:
        field: of `receptive_field`.
        pixel: the pixel that it belongs to.
        patch_size: k, odd.
        circular: whether the window wraps at the border.

    Raises:
        ValueError: for an even k, if `field` is no matrix or `pixel` lies outside it.
    """
    reach = _checks.odd_size("patch_size", patch_size) // 2
    rows, columns = _offsets(field, pixel, circular)
    outside = (jnp.abs(rows) > reach)[:, None] | (jnp.abs(columns) > reach)[None, :]
    weight = jnp.square(field)
    return jnp.sum(jnp.where(outside, weight, 0.0)) / jnp.maximum(jnp.sum(weight), jnp.finfo(field.dtype).tiny)


def _offsets(field, pixel, circular):
    """Rows and columns relative to the pixel."""
    if field.ndim != 2:
        raise ValueError(f"field must be (height, width), got shape {field.shape}")
    _check_pixel(pixel, field.shape)
    offsets = [jnp.arange(n) - at for n, at in zip(field.shape, pixel, strict=True)]
    if circular:
        offsets = [(o + n // 2) % n - n // 2 for o, n in zip(offsets, field.shape, strict=True)]
    return [o.astype(field.dtype) for o in offsets]


def _check_pixel(pixel, shape):
    if len(pixel) != 2 or not all(0 <= at < n for at, n in zip(pixel, shape, strict=True)):
        raise ValueError(f"pixel must be a row and a column inside {tuple(shape)}, got {pixel}")
