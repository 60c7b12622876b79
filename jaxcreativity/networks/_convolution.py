"""The convolution layer of all networks."""

import math
from typing import Any, Literal, get_args

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from jaxcreativity import _checks

Padding = Literal["zero", "circular", "reflect"]


def lecun_normal(key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """`nn.initializers.lecun_normal()`, drawn as a matrix: XLA's CPU compiler takes seconds over a draw of rank 4.

    Args:
        key: random key.
        shape: of the kernel, `(height, width, in, out)`.
        dtype: of its entries.
    """
    return nn.initializers.lecun_normal()(key, (math.prod(shape[:-1]), shape[-1]), dtype).reshape(shape)


def convolution(features: int, kernel_size: int, padding: Padding, name: str | None = None, **options) -> nn.Conv:
    """A convolution that keeps the size of the image, but for `strides`, padded as said.

    Args:
        features: channels of the output.
        kernel_size: odd side of the kernel.
        padding: `"zero"`, `"circular"` or `"reflect"`.
        name: of the layer among the parameters.
        **options: of `flax.linen.Conv`.

    Raises:
        ValueError: for an even kernel or an unknown padding.
    """
    _checks.choice("padding", padding, get_args(Padding))
    _checks.odd_size("kernel_size", kernel_size)
    mode = "SAME" if padding == "zero" else padding.upper()
    options = {"kernel_init": lecun_normal} | options
    return nn.Conv(features, (kernel_size, kernel_size), padding=mode, name=name, **options)
