"""Trainable linear denoisers: the counterparts of `theory.linear`, with one weight per noise level.

The optimal weights depend on the noise level, so each module holds a table of them and uses the entry nearest to
`sigma` (in ratio). Weights start at zero, as the theory of early stopping assumes.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcreativity import _checks
from jaxcreativity._numerics import fourier
from jaxcreativity._numerics.levels import nearest_level
from jaxcreativity.denoiser import NoiseLevel

_zeros = nn.initializers.zeros_init()


class _LinearModule(nn.Module):
    """What the linear modules share.

    Attributes:
        levels: the noise levels that have weights of their own, e.g. `tuple(grid[:-1].tolist())`.
        use_bias: whether there is a bias per noise level.
    """

    levels: tuple[float, ...]
    use_bias: bool = True

    def table(self, name, shape, sigma, dtype, init=_zeros):
        """The entry for `sigma` of a table with one parameter array per noise level."""
        table = self.param(name, init, (len(self.levels), *shape), dtype)
        return table[nearest_level(jnp.array(self.levels), sigma)].astype(dtype)

    def bias(self, shape, sigma, dtype):
        """The bias for `sigma`."""
        return self.table("bias", shape, sigma, dtype) if self.use_bias else jnp.zeros(shape, dtype)


class DenseLinear(_LinearModule):
    """`A_k y + b_k` with an unrestricted `(d, d)` matrix per level; counterpart of structure `"full"`."""

    @nn.compact
    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Apply the level's affine map to one example."""
        kernel = self.table("kernel", (y.size, y.size), sigma, y.dtype)
        return (kernel @ y.ravel()).reshape(y.shape) + self.bias(y.shape, sigma, y.dtype)


class LowRankLinear(_LinearModule):
    """`B_k A_k y + b_k` through a code of `rank` numbers; counterpart of structure `"low_rank"`."""

    rank: int = 1

    @nn.compact
    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Apply the level's affine map to one example."""
        # With both factors at zero the gradient would vanish.
        spread = nn.initializers.normal(y.size**-0.5)
        encoder = self.table("encoder_kernel", (self.rank, y.size), sigma, y.dtype, spread)
        decoder = self.table("decoder_kernel", (y.size, self.rank), sigma, y.dtype)
        return (decoder @ (encoder @ y.ravel())).reshape(y.shape) + self.bias(y.shape, sigma, y.dtype)


class PixelwiseLinear(_LinearModule):
    """`a_k * y + b_k`, entry by entry; counterpart of structure `"pixelwise"`."""

    @nn.compact
    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Apply the level's affine map to one example."""
        return self.table("kernel", y.shape, sigma, y.dtype) * y + self.bias(y.shape, sigma, y.dtype)


class ConvLinear(_LinearModule):
    """`w_k * y + b_k`, one circular convolution; counterpart of `"local"`, and of `"stationary"` at full size.

    As in `flax.linen.Conv` the kernel is not flipped (cross-correlation).

    Evaluated by FFT: exact, as cheap for a kernel of the image's size as for a small one, and its gradient stays fast
    inside compiled loops on CPUs, which that of XLA's convolution does not.

    Attributes:
        kernel_size: odd side of the kernel, or `None` for one as large as the image.
    """

    kernel_size: int | None = None

    @nn.compact
    def __call__(
        self, y: Float[Array, "height width channels"], sigma: NoiseLevel
    ) -> Float[Array, "height width channels"]:
        """Apply the level's filter to one image."""
        height, width, channels = y.shape
        if self.kernel_size is None:
            rows, columns = height, width
        else:
            rows = columns = _checks.odd_size("kernel_size", self.kernel_size, min(height, width))
        kernel = self.table("kernel", (rows, columns, channels, channels), sigma, y.dtype)
        response = fourier.frequency_response(kernel, height, width)
        transformed = jnp.fft.fft2(y, axes=(0, 1)).reshape(-1, channels)
        filtered = fourier.multiply(response, transformed).reshape(y.shape)
        bias = self.bias((1, 1, channels), sigma, y.dtype)
        return jnp.fft.ifft2(filtered, axes=(0, 1)).real + bias
