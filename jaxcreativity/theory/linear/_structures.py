"""The five structures of a linear denoiser: the matrix M of each, and coordinates in which M is block-diagonal.

| structure    | M                                                      | blocks                                 |
|--------------|--------------------------------------------------------|----------------------------------------|
| `full`       | covariance of the images                               | one, of all d entries                  |
| `low_rank`   | the same                                               | one, of all d entries                  |
| `pixelwise`  | variance of each entry                                 | d, of one entry each                   |
| `stationary` | mean power spectrum                                    | height x width frequencies, of C       |
| `local`      | position-averaged covariance of the k x k patches      | one, of k k C; images: as `stationary` |
"""

from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from jaxcreativity._numerics import fourier
from jaxcreativity._numerics.arithmetic import dot

Structure = Literal["full", "pixelwise", "stationary", "local", "low_rank"]
STRUCTURES: tuple[str, ...] = get_args(Structure)
SHARING = ("stationary", "local")
"""Structures with the same weights at every position, of circular images."""


def to_blocks(structure: Structure, image: Float[Array, "*shape"]) -> Inexact[Array, "blocks b"]:
    """One example in block coordinates."""
    if structure in SHARING:
        return jnp.fft.fft2(image, axes=(0, 1), norm="ortho").reshape(-1, image.shape[-1])
    return image.reshape((-1, 1) if structure == "pixelwise" else (1, -1))


def from_blocks(structure: Structure, u: Inexact[Array, "blocks b"], shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """The example with these block coordinates.

    Args:
        structure: name.
        u: block coordinates.
        shape: of the example.
    """
    u = u.reshape(shape)
    return jnp.fft.ifft2(u, axes=(0, 1), norm="ortho").real if structure in SHARING else u


def dense(structure: Structure, blocks: Inexact[Array, "blocks b b"], shape: tuple[int, ...]) -> Float[Array, "d d"]:
    """The covariance of flattened images whose covariance in block coordinates is block-diagonal.

    Args:
        structure: name.
        blocks: the covariance in block coordinates.
        shape: of an image.
    """
    if structure == "pixelwise":
        return jnp.diag(blocks[:, 0, 0])
    if structure in ("full", "low_rank"):
        return 0.5 * (blocks[0] + blocks[0].T)
    height, width, channels = shape
    rows, columns = np.divmod(np.arange(height * width), width)
    autocovariance = fourier.autocovariance(blocks.reshape(height, width, channels, channels))
    return fourier.covariance_between(autocovariance, rows, columns)


def second_moment(
    structure: Structure, u: Float[Array, "n *shape"], kernel_size: int | None
) -> Inexact[Array, "blocks b b"]:
    """The matrix M of this module.

    Args:
        structure: name.
        u: centred examples.
        kernel_size: k, for `"local"` only.
    """
    n = u.shape[0]
    if structure in ("full", "low_rank"):
        flat = u.reshape(n, -1)
        return (dot(flat.T, flat) / n)[None]
    if structure == "pixelwise":
        return jnp.mean(jnp.square(u), axis=0).reshape(-1, 1, 1)
    _, height, width, channels = u.shape
    power = fourier.mean_power_spectrum(u)
    if structure == "stationary":
        return power.reshape(height * width, channels, channels)
    offsets = np.divmod(np.arange(kernel_size**2), kernel_size)
    return fourier.covariance_between(fourier.autocovariance(power), *offsets)[None]
