"""Trainable linear denoisers: the counterparts of `theory.linear`, with one weight per noise level.

The optimal weights (docs/theory/linear.md) depend on the noise level, so each module holds a table of them and uses the
entry nearest to `sigma` (in ratio). Weights start at zero, as the theory of early stopping assumes.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcreativity import _checks
from jaxcreativity._numerics import fourier
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.networks._levels import parameter_at


class _LinearModule(nn.Module):
    """What the linear modules share."""

    levels: tuple[float, ...]
    use_bias: bool = True

    def _bias(self, shape, sigma, dtype):
        return parameter_at(self, "bias", shape, sigma, dtype) if self.use_bias else jnp.zeros(shape, dtype)


class DenseLinear(_LinearModule):
    """`A_k y + b_k` with an unrestricted `(d, d)` matrix per level; counterpart of structure `"full"`.

    Attributes:
        levels: the noise levels that have weights of their own, e.g. `tuple(grid[:-1].tolist())`.
        use_bias: whether there is a bias per noise level.
    """

    @nn.compact
    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Apply the affine map of the level nearest to `sigma` to one scaled example."""
        kernel = parameter_at(self, "kernel", (y.size, y.size), sigma, y.dtype)
        return (kernel @ y.ravel()).reshape(y.shape) + self._bias(y.shape, sigma, y.dtype)


class LowRankLinear(_LinearModule):
    """`B_k A_k y + b_k` through a code of `rank` numbers; counterpart of structure `"low_rank"`.

    Attributes:
        levels: the noise levels that have weights of their own, e.g. `tuple(grid[:-1].tolist())`.
        use_bias: whether there is a bias per noise level.
        rank: r, numbers in the code.
    """

    rank: int = 1

    @nn.compact
    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Apply the affine map of the level nearest to `sigma` to one scaled example."""
        # With both factors at zero the gradient would vanish.
        spread = nn.initializers.normal(y.size**-0.5)
        encoder = parameter_at(self, "encoder_kernel", (self.rank, y.size), sigma, y.dtype, spread)
        decoder = parameter_at(self, "decoder_kernel", (y.size, self.rank), sigma, y.dtype)
        return (decoder @ (encoder @ y.ravel())).reshape(y.shape) + self._bias(y.shape, sigma, y.dtype)


class PixelwiseLinear(_LinearModule):
    """`a_k * y + b_k`, entry by entry; counterpart of structure `"pixelwise"`.

    Attributes:
        levels: the noise levels that have weights of their own, e.g. `tuple(grid[:-1].tolist())`.
        use_bias: whether there is a bias per noise level.
    """

    @nn.compact
    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Apply the affine map of the level nearest to `sigma` to one scaled example."""
        return parameter_at(self, "kernel", y.shape, sigma, y.dtype) * y + self._bias(y.shape, sigma, y.dtype)


class ConvLinear(_LinearModule):
    """`w_k * y + b_k`, one circular convolution; counterpart of `"local"`, and of `"stationary"` at full size.

    As in `flax.linen.Conv` the kernel is not flipped (cross-correlation).

    Evaluated by FFT: exact, as cheap for a kernel of the image's size as for a small one, and its gradient stays fast
    inside compiled loops on CPUs, which that of XLA's convolution does not.

    Attributes:
        levels: the noise levels that have weights of their own, e.g. `tuple(grid[:-1].tolist())`.
        use_bias: whether there is a bias per noise level.
        kernel_size: odd side of the kernel, or `None` for one as large as the image.
    """

    kernel_size: int | None = None

    @nn.compact
    def __call__(
        self, y: Float[Array, "height width channels"], sigma: NoiseLevel
    ) -> Float[Array, "height width channels"]:
        """Apply the filter of the level nearest to `sigma` to one scaled image.

        Raises:
            ValueError: for a kernel that is even, or larger than the image.
        """
        height, width, channels = y.shape
        if self.kernel_size is None:
            rows, columns = height, width
        else:
            rows = columns = _checks.odd_size("kernel_size", self.kernel_size, min(height, width))
        kernel = parameter_at(self, "kernel", (rows, columns, channels, channels), sigma, y.dtype)
        response = fourier.frequency_response(kernel, height, width)
        transformed = jnp.fft.fft2(y, axes=(0, 1)).reshape(-1, channels)
        filtered = fourier.multiply(response, transformed).reshape(y.shape)
        bias = self._bias((1, 1, channels), sigma, y.dtype)
        return jnp.fft.ifft2(filtered, axes=(0, 1)).real + bias
