"""Trainable bottlenecks: few code numbers, few prototypes, few hidden units; counterparts of `theory.bottleneck`.

Closed forms: docs/theory/bottleneck.md. The linear autoencoder of rank r is `linear.LowRankLinear`. Train all of these
to predict `"x"`: predicting noise or v adds a multiple of y, which goes around the bottleneck.
"""

from typing import Literal, get_args

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcreativity import _checks
from jaxcreativity._numerics.posterior import posterior_mean
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.networks._embedding import NoiseEmbedding

Activation = Literal["silu", "softmax"]


class _Hidden(nn.Module):
    """`f(exp(s(sigma)) * (A h + a) + b(sigma))`: the noise level scales and shifts every unit.

    Softmax units, times the root of their number, select among learned outputs as `theory.prototypes` does; the
    logits of those grow as `1 / sigma^2`, hence the exponential. With few inputs h the offsets a (0 without `offset`),
    which grow as well, are what tells most of the units apart.
    """

    width: int
    activation: Activation
    offset: bool = False

    @nn.compact
    def __call__(self, h, embedding):
        _checks.choice("activation", self.activation, get_args(Activation))
        shift, scale = jnp.split(nn.Dense(2 * self.width)(embedding), 2)
        h = jnp.exp(scale) * nn.Dense(self.width, use_bias=self.offset)(h) + shift
        return nn.silu(h) if self.activation == "silu" else nn.softmax(h) * self.width**0.5


class Autoencoder(nn.Module):
    """An encoder to `code_size` numbers and a decoder, which sees nothing else but the noise level.

    Then `rank dD/dy <= code_size` everywhere, and at each noise level all outputs lie in the decoder's image. With
    `encoder_depth = 0` the encoder is one matrix W, the same at all noise levels, and the best decoder gives
    `E[x | W y]` (`theory.bottleneck.ProjectedDenoiser`).

    Attributes:
        code_size: r, numbers in the code.
        width: units per hidden layer; the decoder's capacity.
        encoder_depth: hidden layers of the encoder (silu, scaled and shifted by the noise level).
        decoder_depth: hidden layers of the decoder, residual after the first; at least 1.
        activation: of the decoder's units, `"silu"` or `"softmax"` over the units of a layer.
    """

    code_size: int
    width: int = 256
    encoder_depth: int = 2
    decoder_depth: int = 2
    activation: Activation = "silu"

    @nn.compact
    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Map one scaled example to an output of its shape.

        Raises:
            ValueError: for sizes below 1, and for an unknown activation.
        """
        _checks.positive_int("code_size", self.code_size)
        _checks.positive_int("decoder_depth", self.decoder_depth)
        embedding = NoiseEmbedding()(sigma)
        h = self._layers(y.ravel(), embedding, self.encoder_depth, "silu")
        code = nn.Dense(self.code_size, use_bias=False, name="encoder")(h)
        h = self._layers(code, embedding, self.decoder_depth, self.activation)
        return nn.Dense(y.size, name="decoder")(h).reshape(y.shape)

    def _layers(self, h, embedding, depth, activation):
        for layer in range(depth):
            new = _Hidden(self.width, activation, offset=True)(h, embedding)
            h = new if layer == 0 else h + new
        return h


class Prototypes(nn.Module):
    """A softmax network with one hidden layer of `num_prototypes` units,

        output = sum_k softmax_k(log pi_k + (k_k . y - |k_k|^2 / 2) / sigma^2) v_k

    With `v_k = k_k` (`tied`) it is `theory.bottleneck.PrototypeDenoiser`: the `|y|^2` left out is common to all units.

    Attributes:
        num_prototypes: K.
        sigma_data: what the network is bound with; it undoes the scaling of the input by
            `1 / sqrt(sigma^2 + sigma_data^2)`.
        tied: whether the output weights are the input weights.
        spread: standard deviation of the initial entries of both.
    """

    num_prototypes: int
    sigma_data: float = 1.0
    tied: bool = True
    spread: float = 0.1

    @nn.compact
    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Map one scaled example to an output of its shape.

        Raises:
            ValueError: for fewer than one prototype.
        """
        shape = (_checks.positive_int("num_prototypes", self.num_prototypes), y.size)
        keys = self.param("kernel", nn.initializers.normal(self.spread), shape, y.dtype).astype(y.dtype)
        values = keys
        if not self.tied:
            values = self.param("values_kernel", nn.initializers.normal(self.spread), shape, y.dtype).astype(y.dtype)
        log_weights = self.param("log_weights", nn.initializers.zeros_init(), shape[:1], y.dtype).astype(y.dtype)
        variance = jnp.square(jnp.asarray(sigma, y.dtype))
        unscaled = y.ravel() * jnp.sqrt(variance + self.sigma_data**2)
        mean = posterior_mean(unscaled, keys, sigma, values=values, log_weights=log_weights)
        return mean.reshape(y.shape)


class ShallowMLP(nn.Module):
    """One hidden layer: `output = B f(exp(s(sigma)) * (A y) + b(sigma)) + c`.

    Attributes:
        width: K, number of hidden units.
        activation: `"silu"`, or `"softmax"` over the units, which can be the exact denoiser of K atoms.
    """

    width: int = 256
    activation: Activation = "silu"

    @nn.compact
    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Map one scaled example to an output of its shape.

        Raises:
            ValueError: for fewer than one unit, and for an unknown activation.
        """
        _checks.positive_int("width", self.width)
        h = _Hidden(self.width, self.activation)(y.ravel(), NoiseEmbedding()(sigma))
        return nn.Dense(y.size)(h).reshape(y.shape)
