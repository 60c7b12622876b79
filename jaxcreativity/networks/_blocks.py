"""What a UNet is made of: residual blocks and attention on one feature map."""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcreativity.networks import mlp
from jaxcreativity.networks._convolution import Padding, convolution

Normalisation = Literal["none", "group", "layer"]
Activation = Literal["silu", "relu", "quadratic", "identity"]

ACTIVATIONS = mlp.ACTIVATIONS | {"relu": nn.relu, "identity": lambda h: h}


class ResidualBlock(nn.Module):
    """Two convolutions, each after normalisation and activation, with the noise embedding between, and a shortcut.

    The embedding scales and shifts every channel (FiLM, Perez et al. 2018), so that the block stays affine in an image
    where its activation is. Without bias it only scales.

    Attributes:
        features: channels of the output.
        kernel_size: odd side of both kernels.
        padding: as for `UNet`.
        normalisation: as for `UNet`.
        groups: of group normalisation.
        activation: as for `UNet`.
        bias: whether there are additive constants.
    """

    features: int
    kernel_size: int
    padding: Padding
    normalisation: Normalisation
    groups: int
    activation: Activation
    bias: bool

    @nn.compact
    def __call__(self, h: Float[Array, "height width c"], embedding: Float[Array, " e"] | None) -> Array:
        """Transform one feature map."""
        activate = ACTIVATIONS[self.activation]
        u = self._convolution()(activate(self._normalise(h)))
        u = self._normalise(u)
        if embedding is not None:
            scale, *shift = jnp.split(nn.Dense((1 + self.bias) * self.features)(embedding), 1 + self.bias)
            u = u * (1 + scale.reshape(1, 1, -1))
            u = u + shift[0].reshape(1, 1, -1) if shift else u
        u = self._convolution()(activate(u))
        return u + (h if h.shape[2] == self.features else nn.Dense(self.features, use_bias=self.bias)(h))

    def _convolution(self):
        return convolution(self.features, self.kernel_size, self.padding, use_bias=self.bias)

    def _normalise(self, h):
        if self.normalisation == "none":
            return h
        if self.normalisation == "group":
            # Flax would take the first axis, the rows, for that of a batch.
            return nn.GroupNorm(num_groups=self.groups, use_bias=self.bias, reduction_axes=(0, 1, 2))(h)
        return nn.LayerNorm(use_bias=self.bias)(h)


class SelfAttention(nn.Module):
    """One head of attention of every pixel to all, added to the feature map.

    Attributes:
        bias: whether there are additive constants.
    """

    bias: bool = True

    @nn.compact
    def __call__(self, h: Float[Array, "height width c"]) -> Float[Array, "height width c"]:
        """Transform one feature map."""
        pixels = h.reshape(-1, h.shape[2])
        attention = nn.MultiHeadDotProductAttention(num_heads=1, use_bias=self.bias)
        return h + attention(pixels, pixels).reshape(h.shape)
