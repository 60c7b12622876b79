"""A fully connected network: no locality, no equivariance, capacity set by its width."""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcreativity import _checks
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.networks._embedding import NoiseEmbedding

ACTIVATIONS = {"silu": nn.silu, "quadratic": lambda h: 0.5 * jnp.square(h)}


class MLP(nn.Module):
    """Residual multilayer perceptron on the flattened example; the noise level shifts every hidden layer.

    Attributes:
        width: units per hidden layer.
        depth: number of hidden layers.
        activation: `"silu"`, or `"quadratic"`, `h^2 / 2`: then the output is a polynomial of the input of total degree
            at most `degree`, and the network is a polynomial denoiser of bounded capacity (it may diverge as one).
    """

    width: int = 256
    depth: int = 3
    activation: Literal["silu", "quadratic"] = "silu"

    @property
    def degree(self) -> int | None:
        """Largest degree of the output as a polynomial of the input; `None` if it is not one."""
        return 2 ** (self.depth + 1) if self.activation == "quadratic" else None

    @nn.compact
    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Map one scaled example to an output of its shape.

        Raises:
            ValueError: for an unknown activation.
        """
        activate = ACTIVATIONS[_checks.choice("activation", self.activation, tuple(ACTIVATIONS))]
        embedding = NoiseEmbedding()(sigma)
        h = nn.Dense(self.width)(y.ravel())
        for _ in range(self.depth):
            h = h + nn.Dense(self.width)(activate(h + nn.Dense(self.width)(embedding)))
        output = nn.Dense(y.size, kernel_init=nn.initializers.zeros_init())(activate(h))
        return output.reshape(y.shape)
