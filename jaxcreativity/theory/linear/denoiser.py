"""The linear denoiser of one structure: one function, the gain, of one positive semi-definite matrix M.

| structure    | M                                                      | D(y) - m                               |
|--------------|--------------------------------------------------------|----------------------------------------|
| `full`       | covariance of the images                               | gain(M) (y - m)                        |
| `low_rank`   | the same; the gain is kept on `rank` eigenvectors      | gain(M) (y - m)                        |
| `pixelwise`  | variance of each entry                                 | gain(M) (y - m), entry by entry        |
| `stationary` | mean power spectrum, a (C, C) matrix per frequency     | gain(M) (y - m), frequency by frequency|
| `local`      | position-averaged covariance of the k x k patches      | w * (y - m), w = centre columns of gain(M) |

With eigenvalue l, v = sigma^2, penalty g, gradient-flow time t and a = l + v + g,

    predict x:      gain(l) = l (1 - e^{-t a}) / a
    predict noise:  gain(l) = (l + g + v e^{-t a}) / a

both the Wiener filter l / (l + v) at g = 0 and t = inf. The weight-sharing structures (stationary, local) commute
with circular shifts, so their mean m is one number per channel. Sources: Levine & Weiss (2026); Kay, *Estimation
Theory* (1993), section 12 (docs/theory/linear.md).
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Inexact

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics import fourier, spectral
from jaxcreativity.denoiser import NoiseLevel, Prediction
from jaxcreativity.theory.linear import _gains, _structures
from jaxcreativity.theory.linear._structures import Structure


@_pytree.dataclass
class LinearDenoiser:
    """The best affine denoiser of one structure for the first two moments of a target; made by `fit`.

    Args:
        mean: m.
        spectrum: the eigendecomposition of this module's M.
        kept: 1 for the eigenvectors that a network of the given rank uses, 0 for the others.
        weight_decay: as in `fit`.
        training_time: as in `fit`; infinite for fully trained.
        sigma_data: as in `fit`.
        structure: as in `fit`.
        prediction: as in `fit`.
        kernel_size: as in `fit`.
    """

    mean: Float[Array, "*shape"]
    spectrum: spectral.Eigendecomposition
    kept: Float[Array, " b"]
    weight_decay: Float[Array, ""]
    training_time: Float[Array, ""]
    sigma_data: Float[Array, ""] | None
    structure: Structure = _pytree.static()
    prediction: Prediction = _pytree.static()
    kernel_size: int | None = _pytree.static()

    def __call__(self, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `y`.

        Raises:
            ValueError: if `y` is not one floating-point example of the shape of those that were fitted, or `sigma` is
                negative or NaN.
        """
        y = _checks.example("y", y, self.mean.shape)
        sigma = _checks.noise_level(sigma)
        gain_at = gain_parameters(self, sigma)
        u = _structures.to_blocks(self.structure, y - self.mean.astype(y.dtype))
        if self.structure == "local":
            u = fourier.multiply(frequency_response(self, gain_at), u)
        else:
            u = spectral.apply(_gains.GAINS[self.prediction], self.spectrum, (self.kept, *gain_at), u)
        return (self.mean + _structures.from_blocks(self.structure, u, self.mean.shape)).astype(y.dtype)


def gain_parameters(
    denoiser: LinearDenoiser, sigma: Float[ArrayLike, "*levels"] | int
) -> tuple[Float[Array, "*levels"], Float[Array, "*levels"], Float[Array, "*levels"]]:
    """`(variance, penalty, time)` of the gain at one noise level, or at each of a grid."""
    dtype = denoiser.spectrum.values.dtype
    variance = jnp.square(jnp.asarray(sigma, dtype))
    scale = jnp.ones_like(variance)
    if denoiser.sigma_data is not None:
        scale = variance + jnp.square(denoiser.sigma_data)
    # An infinite time does not depend on the scale; inf / scale would have a NaN derivative.
    time_scale = jnp.where(jnp.isinf(denoiser.training_time), 1.0, scale)
    return variance, denoiser.weight_decay * scale, denoiser.training_time / time_scale


def frequency_response(
    denoiser: LinearDenoiser, gain_at: tuple[Float[Array, ""], ...]
) -> Inexact[Array, "frequencies channels channels"]:
    """Fourier transform of the `"local"` filter, `x_hat(f) = W(f) y(f)`, at one level's `gain_parameters`."""
    height, width, channels = denoiser.mean.shape
    k = denoiser.kernel_size
    centre = (k * k // 2) * channels
    columns = jnp.eye(k * k * channels, dtype=denoiser.mean.dtype)[:, centre : centre + channels]
    weights = spectral.apply(
        _gains.GAINS[denoiser.prediction], denoiser.spectrum, (denoiser.kept, *gain_at), columns[None]
    )
    kernel = weights.reshape(k, k, channels, channels)  # row offset, column offset, input, output
    return fourier.frequency_response(kernel, height, width)
