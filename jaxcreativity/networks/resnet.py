"""A residual convolutional network that is local and, with circular padding, equivariant: nothing else."""

import flax.linen as nn
from jaxtyping import Array, Float, Int

from jaxcreativity import _checks
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.networks._convolution import Padding, convolution
from jaxcreativity.networks._embedding import ConditionEmbedding


class MinimalResNet(nn.Module):
    """`depth` residual convolutions of constant width between a convolution in and one out.

    No normalisation and no attention, both of which see the whole image: an output pixel depends on `receptive_field`
    pixels around it. The published comparison has 8 layers of 128 channels (Kamb & Ganguli 2025).

    Attributes:
        depth: residual layers.
        width: channels.
        kernel_size: odd side of every kernel.
        padding: `"zero"`, `"reflect"`, or `"circular"`, which makes the network equivariant to circular shifts.
        num_classes: number of classes to condition on; 0 for none.
        embedding_features: length of the noise embedding.
    """

    depth: int = 6
    width: int = 32
    kernel_size: int = 3
    padding: Padding = "zero"
    num_classes: int = 0
    embedding_features: int = 64

    @property
    def receptive_field(self) -> int:
        """Side of the window that an output pixel depends on, image borders apart."""
        return (self.depth + 2) * (self.kernel_size - 1) + 1

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
            ValueError: for a depth below 1, an even kernel, unknown padding, and a label that comes without classes or
                the reverse.
        """
        _checks.positive_int("depth", self.depth)
        embedding = ConditionEmbedding(self.embedding_features, self.num_classes)(sigma, label)
        h = convolution(self.width, self.kernel_size, self.padding)(y)
        for _ in range(self.depth):
            shift = nn.Dense(self.width)(embedding).reshape(1, 1, -1)
            h = h + convolution(self.width, self.kernel_size, self.padding)(nn.relu(h + shift))
        zeros = nn.initializers.zeros_init()
        return convolution(y.shape[2], self.kernel_size, self.padding, kernel_init=zeros)(nn.relu(h)).astype(y.dtype)
