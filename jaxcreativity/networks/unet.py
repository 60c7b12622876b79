"""A small UNet: convolutions at several scales, and attention if asked for."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxcreativity import checks
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.networks.resnet import ConditionEmbedding, Padding, convolution


class ResidualBlock(nn.Module):
    """Two convolutions around a shift by the noise embedding, and a shortcut."""

    features: int
    kernel_size: int
    padding: Padding

    @nn.compact
    def __call__(self, h: Float[Array, "height width c"], embedding: Float[Array, " e"]) -> Array:
        """Transform one feature map."""
        shift = nn.Dense(self.features)(embedding).reshape(1, 1, -1)
        u = convolution(self.features, self.kernel_size, self.padding)(nn.silu(h))
        u = convolution(self.features, self.kernel_size, self.padding)(nn.silu(u + shift))
        return u + (h if h.shape[2] == self.features else nn.Dense(self.features)(h))


class SelfAttention(nn.Module):
    """One head of attention of every pixel to all, added to the feature map."""

    @nn.compact
    def __call__(self, h: Float[Array, "height width c"]) -> Float[Array, "height width c"]:
        """Transform one feature map."""
        pixels = h.reshape(-1, h.shape[2])
        attention = nn.MultiHeadDotProductAttention(num_heads=1)
        return h + attention(pixels, pixels).reshape(h.shape)


class UNet(nn.Module):
    """Residual blocks at several scales; each scale has half the size of the one before it.

    No normalisation. The published comparison has widths 32, 64, 128, 256 (Kamb & Ganguli 2025).

    Attributes:
        widths: channels at each scale, the finest first.
        kernel_size: odd side of every kernel.
        padding: `"zero"` or `"circular"`.
        attention: whether pixels attend to each other at the coarsest scale.
        num_classes: number of classes to condition on; 0 for none.
        embedding_features: length of the noise embedding.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    kernel_size: int = 3
    padding: Padding = "zero"
    attention: bool = False
    num_classes: int = 0
    embedding_features: int = 64

    @nn.compact
    def __call__(
        self, y: Float[Array, "height width channels"], sigma: NoiseLevel, label: Int[Array, ""] | None = None
    ) -> Float[Array, "height width channels"]:
        """Map one scaled image to an output of its shape.

        Raises:
            ValueError: if the image's sides cannot be halved as often as there are scales below the finest.
        """
        factor = 2 ** max(0, len(self.widths) - 1)
        if not self.widths or y.shape[0] % factor or y.shape[1] % factor:
            raise ValueError(
                f"{len(self.widths)} widths need images whose sides are multiples of {factor}, got {y.shape}"
            )
        for width in self.widths:
            checks.positive_int("widths", width)
        embedding = ConditionEmbedding(self.embedding_features, self.num_classes)(sigma, label)
        block = lambda width: ResidualBlock(width, self.kernel_size, self.padding)  # noqa: E731
        h = convolution(self.widths[0], self.kernel_size, self.padding)(y)
        skips = []
        for width in self.widths[:-1]:
            h = block(width)(h, embedding)
            skips.append(h)
            h = nn.avg_pool(h, (2, 2), strides=(2, 2))
        h = block(self.widths[-1])(h, embedding)
        if self.attention:
            h = SelfAttention()(h)
        h = block(self.widths[-1])(h, embedding)
        for width, skip in zip(self.widths[-2::-1], skips[::-1], strict=True):
            h = jax.image.resize(h, (*skip.shape[:2], h.shape[2]), "nearest")
            h = block(width)(jnp.concatenate([h, skip], axis=2), embedding)
        zeros = nn.initializers.zeros_init()
        out = convolution(y.shape[2], self.kernel_size, self.padding, kernel_init=zeros)(nn.silu(h))
        return out.astype(y.dtype)
