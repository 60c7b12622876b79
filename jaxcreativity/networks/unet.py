"""A UNet of which every part can be changed alone: the object of the study of small changes.

A Linen module is a frozen configuration: `UNet().clone(kernel_size=5)` differs from `UNet()` in one field. What the
fields do to the function class, of an image y at one noise level:

| fields                                                              | the output is                                 |
|---------------------------------------------------------------------|-----------------------------------------------|
| activation identity, no normalisation, no attention, no max pooling | affine in y                                   |
| the same with quadratic units                                       | a polynomial in y of degree `UNet.degree`     |
| circular padding, no bottleneck, no coordinates                     | equivariant to shifts by `UNet.factor` pixels |
| no bias, identity or ReLU, no normalisation, no attention           | positively homogeneous, D(a y) = a D(y)       |

so the identity UNet is in the class of `theory.linear` with structure `"stationary"` only without downsampling: with
it, it commutes with shifts by multiples of `factor` alone.
"""

from typing import Literal, get_args

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxcreativity import _checks
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.networks._blocks import ACTIVATIONS, Activation, Normalisation, ResidualBlock, SelfAttention
from jaxcreativity.networks._convolution import Padding, convolution, lecun_normal
from jaxcreativity.networks._embedding import ConditionEmbedding

Downsampling = Literal["average", "max", "strided"]
Attention = Literal["none", "lowest", "all"]


class UNet(nn.Module):
    """Residual blocks at several scales; each scale has half the size of the one before it.

    One block per scale on the way down, two at the lowest, one per scale on the way up. The published comparison has
    widths 32, 64, 128, 256 (Kamb & Ganguli 2025); the blocks follow Ho et al. (2020).

    Attributes:
        widths: channels at each scale, the finest first; one scale is no downsampling, at most four.
        kernel_size: odd side of every kernel.
        padding: `"zero"`, `"circular"` or `"reflect"`.
        skips: scales, 0 the finest, whose feature map passes from the way down to the way up: `"all"`, `"none"`, or
            their numbers.
        downsampling: `"average"` or `"max"` of 2x2 pixels, or `"strided"`, a 2x2 convolution of stride 2.
        attention: where pixels attend to each other: `"none"`, `"lowest"` scale, or after every block (`"all"`).
        normalisation: `"none"`, `"group"` (of `groups` groups of channels over the whole image, so that every pixel
            sees all) or `"layer"` (over the channels of each pixel).
        groups: of group normalisation; must divide every width.
        activation: `"silu"`, `"relu"`, `"quadratic"` (`h^2 / 2`) or `"identity"`.
        bottleneck: r, if the lowest scale is flattened, mapped to r numbers and back; `None` for no bottleneck. Skips
            go around it, and so does predicting noise or v.
        coordinates: whether every pixel is told its row and column, in [-1, 1].
        time_conditioning: whether the blocks are told the noise level.
        bias: whether there are additive constants, those that the noise level sets included.
        num_classes: number of classes to condition on; 0 for none.
        embedding_features: length of the noise embedding.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    kernel_size: int = 3
    padding: Padding = "zero"
    skips: Literal["all", "none"] | tuple[int, ...] = "all"
    downsampling: Downsampling = "average"
    attention: Attention = "none"
    normalisation: Normalisation = "none"
    groups: int = 4
    activation: Activation = "silu"
    bottleneck: int | None = None
    coordinates: bool = False
    time_conditioning: bool = True
    bias: bool = True
    num_classes: int = 0
    embedding_features: int = 64

    @property
    def factor(self) -> int:
        """Side of a pixel of the lowest scale, of which image sides must be multiples."""
        return 2 ** max(0, len(self.widths) - 1)

    @property
    def degree(self) -> int | None:
        """Bound on the degree of the output as a polynomial of the input; `None` if it is not one.

        Every block raises the degree by the square of the activation's, and there is one activation at the end.
        """
        pools = self.downsampling == "max" and len(self.widths) > 1
        if pools or self.attention != "none" or self.normalisation != "none":
            return None
        if self.activation == "identity":
            return 1
        return 2 ** (4 * len(self.widths) + 1) if self.activation == "quadratic" else None

    @nn.compact
    def __call__(
        self, y: Float[Array, "height width channels"], sigma: NoiseLevel, label: Int[Array, ""] | None = None
    ) -> Float[Array, "height width channels"]:
        """Map one scaled image to an output of its shape.

        Args:
            y: scaled noisy image.
            sigma: noise level.
            label: class, for a conditional network only.

        Raises:
            ValueError: for unknown, impossible or incompatible fields, and for an image whose sides cannot be halved
                as often as there are scales below the finest: says which sizes work.
        """
        self._check(y.shape)
        embedding = None
        if self.time_conditioning:
            embedding = ConditionEmbedding(self.embedding_features, self.num_classes)(sigma, label)
        elif label is not None:
            raise ValueError(f"a network without conditioning was called with label {label}")
        skips = range(len(self.widths) - 1) if self.skips == "all" else () if self.skips == "none" else self.skips

        h = self._convolution(self.widths[0])(self._with_coordinates(y))
        kept = []
        for scale, width in enumerate(self.widths[:-1]):
            h = self._block(h, width, embedding)
            kept.append(h if scale in skips else None)
            h = self._downsample(h)
        h = self._block(h, self.widths[-1], embedding, lowest=True)
        if self.bottleneck is not None:
            code = nn.Dense(self.bottleneck, use_bias=self.bias)(h.ravel())
            h = nn.Dense(h.size, use_bias=self.bias)(code).reshape(h.shape)
        h = self._block(h, self.widths[-1], embedding)
        for width, skip in zip(self.widths[-2::-1], kept[::-1], strict=True):
            h = _upsample(h)
            h = self._block(h if skip is None else jnp.concatenate([h, skip], axis=2), width, embedding)
        zeros = nn.initializers.zeros_init()
        out = self._convolution(y.shape[2], kernel_init=zeros)(ACTIVATIONS[self.activation](h))
        return out.astype(y.dtype)

    def _convolution(self, features, **options):
        return convolution(features, self.kernel_size, self.padding, use_bias=self.bias, **options)

    def _block(self, h, width, embedding, lowest=False):
        h = ResidualBlock(
            width, self.kernel_size, self.padding, self.normalisation, self.groups, self.activation, self.bias
        )(h, embedding)
        attends = self.attention == "all" or (self.attention == "lowest" and lowest)
        return SelfAttention(self.bias)(h) if attends else h

    def _downsample(self, h):
        if self.downsampling == "strided":
            strided = {"strides": (2, 2), "padding": "VALID", "kernel_init": lecun_normal}
            return nn.Conv(h.shape[2], (2, 2), use_bias=self.bias, **strided)(h)
        # Reshaped, since XLA's gradient of a pooling window is slow on CPUs.
        blocks = h.reshape(h.shape[0] // 2, 2, h.shape[1] // 2, 2, h.shape[2])
        return blocks.mean(axis=(1, 3)) if self.downsampling == "average" else blocks.max(axis=(1, 3))

    def _with_coordinates(self, y):
        if not self.coordinates:
            return y
        sides = (jnp.linspace(-1.0, 1.0, side, dtype=y.dtype) for side in y.shape[:2])
        return jnp.concatenate([y, jnp.stack(jnp.meshgrid(*sides, indexing="ij"), axis=2)], axis=2)

    def _check(self, shape):
        for name, allowed in (
            ("padding", Padding), ("downsampling", Downsampling), ("attention", Attention),
            ("normalisation", Normalisation), ("activation", Activation),
        ):  # fmt: skip
            _checks.choice(name, getattr(self, name), get_args(allowed))
        if not 1 <= len(self.widths) <= 4:
            raise ValueError(f"widths must name 1 to 4 scales (0 to 3 downsamplings), got {self.widths}")
        for width in self.widths:
            _checks.positive_int("widths", width)
            if self.normalisation == "group" and width % _checks.positive_int("groups", self.groups):
                raise ValueError(f"groups = {self.groups} must divide every width, got {self.widths}")
        if self.bottleneck is not None:
            _checks.positive_int("bottleneck", self.bottleneck)
        scales = tuple(range(len(self.widths) - 1))
        unknown = isinstance(self.skips, str) or set(self.skips) - set(scales)
        if self.skips not in ("all", "none") and unknown:
            raise ValueError(f"skips must be 'all', 'none' or some of the scales {scales}, got {self.skips!r}")
        if self.num_classes and not self.time_conditioning:
            raise ValueError(f"num_classes = {self.num_classes} needs time_conditioning, which tells the class, too")
        factor = self.factor
        if shape[0] % factor or shape[1] % factor:
            near = [max(factor, side // factor * factor) for side in shape[:2]]
            raise ValueError(
                f"{len(self.widths)} widths need images whose sides are multiples of {factor}, got {shape}; "
                f"{near[0]}x{near[1]} or {near[0] + factor}x{near[1] + factor} would do, or fewer widths"
            )
        smallest = min(shape[:2]) // factor
        if self.padding == "reflect" and self.kernel_size // 2 >= smallest:
            raise ValueError(
                f"reflect padding of a kernel of {self.kernel_size} needs more than {self.kernel_size // 2} pixels a "
                f"side at the lowest scale, got {smallest}: use fewer widths or larger images"
            )


def _upsample(h):
    """Every pixel four times: a broadcast, whose gradient is a sum (that of an indexed resize is a slow scatter)."""
    height, width, channels = h.shape
    return jnp.broadcast_to(h[:, None, :, None], (height, 2, width, 2, channels)).reshape(2 * height, -1, channels)
