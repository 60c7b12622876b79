"""How far a denoiser is from commuting with a transformation of the image."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks
from jaxcreativity.denoiser import Denoiser, NoiseLevel

Transform = Callable[[Float[Array, "height width channels"]], Float[Array, "height width channels"]]

TRANSFORMS: dict[str, Transform] = {
    "shift down": lambda y: jnp.roll(y, 1, axis=0),
    "shift right": lambda y: jnp.roll(y, 1, axis=1),
    "flip vertical": lambda y: y[::-1],
    "flip horizontal": lambda y: y[:, ::-1],
    "rotate": lambda y: jnp.rot90(y),
}
"""Circular shifts by one pixel, the two flips, and the quarter turn (square images only)."""


def equivariance_error(
    denoiser: Denoiser,
    y: Float[ArrayLike, "height width channels"],
    sigma: NoiseLevel,
    transform: Transform | str = "shift down",
) -> Float[Array, ""]:
    """`|D(T y) - T D(y)| / |T D(y) - mean|`: 0 where the denoiser commutes with T.

    The denominator is the norm of the output less its mean, so that a constant output does not pass for a symmetric one
    and an offset does not hide an error.

    Args:
        denoiser: callable on one image.
        y: noisy image.
        sigma: noise level.
        transform: T, or a name of `TRANSFORMS`.

    Raises:
        ValueError: for an unknown name, or if `y` is no image or T changes its shape.

    Example:
        >>> y = jnp.arange(16.0).reshape(4, 4, 1)
        >>> blur = lambda y, sigma: (y + jnp.roll(y, 1, axis=0)) / 2
        >>> float(equivariance_error(blur, y, 1.0, "shift right"))
        0.0
        >>> float(equivariance_error(blur, y, 1.0, "flip vertical")) > 0.1
        True
    """
    y = _checks.example("y", y)
    if y.ndim != 3:
        raise ValueError(f"y must be an image (height, width, channels), got shape {y.shape}")
    if isinstance(transform, str):
        transform = TRANSFORMS[_checks.choice("transform", transform, tuple(TRANSFORMS))]
    moved = transform(y)
    if moved.shape != y.shape:
        raise ValueError(f"transform must keep the shape {y.shape}, got {moved.shape}; a quarter turn needs squares")
    expected = transform(denoiser(y, sigma))
    spread = jnp.linalg.norm((expected - expected.mean()).ravel())
    error = jnp.linalg.norm((denoiser(moved, sigma) - expected).ravel())
    return error / jnp.maximum(spread, jnp.finfo(y.dtype).tiny ** 0.5)
