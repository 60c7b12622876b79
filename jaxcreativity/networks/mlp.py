"""A fully connected network: no locality, no equivariance, capacity set by its width."""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.networks.embedding import NoiseEmbedding


class MLP(nn.Module):
    """Residual multilayer perceptron on the flattened example; the noise level shifts every hidden layer.

    Attributes:
        width: units per hidden layer.
        depth: number of hidden layers.
    """

    width: int = 256
    depth: int = 3

    @nn.compact
    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Map one scaled example to an output of its shape."""
        embedding = NoiseEmbedding()(sigma)
        h = nn.Dense(self.width)(y.ravel())
        for _ in range(self.depth):
            h = h + nn.Dense(self.width)(nn.silu(h + nn.Dense(self.width)(embedding)))
        output = nn.Dense(y.size, kernel_init=nn.initializers.zeros_init())(nn.silu(h))
        return output.reshape(y.shape)
