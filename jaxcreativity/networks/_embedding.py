"""How a network is told the noise level, and its class if it has one."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxcreativity.denoiser import NoiseLevel


class NoiseEmbedding(nn.Module):
    """`log(sigma) / 4` (Karras et al. 2022) as sines and cosines of geometric frequencies, then one dense layer.

    Attributes:
        features: length of the embedding, even.
        max_frequency: highest frequency, in radians per unit of `log(sigma) / 4`; the lowest is 1.
    """

    features: int = 64
    max_frequency: float = 16.0

    @nn.compact
    def __call__(self, sigma: NoiseLevel) -> Float[Array, " features"]:
        """Embed one noise level.

        Raises:
            ValueError: for an odd number of features.
        """
        if self.features < 2 or self.features % 2:
            raise ValueError(f"features must be even and at least 2, got {self.features}")
        sigma = jnp.asarray(sigma)
        frequencies = jnp.geomspace(1.0, self.max_frequency, self.features // 2, dtype=sigma.dtype)
        phases = (
            frequencies * jnp.log(jnp.maximum(sigma, jnp.finfo(sigma.dtype).tiny)) / 4
        )  # the logarithm of 0 has none
        return nn.silu(nn.Dense(self.features)(jnp.concatenate([jnp.sin(phases), jnp.cos(phases)])))


class ConditionEmbedding(nn.Module):
    """The noise level and, for a conditional network, the class, as one vector.

    Attributes:
        features: its length.
        num_classes: 0 for an unconditional network.
    """

    features: int
    num_classes: int = 0

    @nn.compact
    def __call__(self, sigma: NoiseLevel, label: Int[Array, ""] | None = None) -> Float[Array, " features"]:
        """Embed one noise level and class.

        Raises:
            ValueError: if a label comes without classes or the reverse.
        """
        if (label is None) != (self.num_classes == 0):
            raise ValueError(f"a network of {self.num_classes} classes was called with label {label}; bind one if any")
        embedding = NoiseEmbedding(self.features)(sigma)
        if label is not None:
            embedding = embedding + nn.Embed(self.num_classes, self.features)(label).astype(embedding.dtype)
        return embedding
