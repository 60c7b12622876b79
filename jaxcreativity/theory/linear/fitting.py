"""Linear denoisers and the Gaussians that they generate.

Every structure is one function, the gain, of one positive semi-definite matrix M:

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
Theory* (1993), section 12; theory section 2.
"""

from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Inexact

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics import fourier, spectral
from jaxcreativity.denoiser import NoiseLevel, Prediction, Scalar
from jaxcreativity.distributions.gaussian import Gaussian
from jaxcreativity.sampling import step_coefficients
from jaxcreativity.theory.linear import _gains, affine
from jaxcreativity.theory.linear.affine import AffineDenoiser

Structure = Literal["full", "pixelwise", "stationary", "local", "low_rank"]
STRUCTURES: tuple[str, ...] = get_args(Structure)


@_pytree.dataclass
class LinearDenoiser:
    """The best affine denoiser of one structure for the first two moments of a target; made by `fit`.

    `spectrum` is the eigendecomposition of this module's M, `kept` is 1 for the eigenvectors that a network of the
    given rank uses and 0 for the others. The other fields are those of `fit`.
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
        """Estimate `x` from `y`."""
        y = _checks.example("y", y, self.mean.shape)
        gain_at = _gain_parameters(self, sigma)
        u = _to_blocks(self, y - self.mean.astype(y.dtype))
        if self.structure == "local":
            u = fourier.multiply(_frequency_response(self, gain_at), u)
        else:
            u = spectral.apply(_gains.GAINS[self.prediction], self.spectrum, (self.kept, *gain_at), u)
        return (self.mean + _from_blocks(self, u)).astype(y.dtype)


def fit(
    x: Float[ArrayLike, "n *shape"],
    structure: Structure,
    *,
    weights: Float[ArrayLike, " n"] | None = None,
    kernel_size: int | None = None,
    rank: int | None = None,
    weight_decay: Scalar = 0.0,
    prediction: Prediction = "x",
    training_time: Scalar | None = None,
    bias: bool = True,
    sigma_data: Scalar | None = None,
) -> LinearDenoiser:
    """The affine denoiser that the denoising loss on `x` selects within a structure, for every noise level.

    Traceable, and differentiable with respect to `x` (and `weights`, `weight_decay`, `training_time`, `sigma_data`),
    repeated eigenvalues included.

    Args:
        x: training examples `(n, *shape)`; `(n, height, width, channels)` for the weight-sharing structures. The
            moments are those of the set, divided by n: what the denoising loss sees.
        weights: how much each example counts, not negative; only ratios matter. Equal by default.
        structure: `"full"`, `"pixelwise"`, `"stationary"` (circular convolution of any size), `"local"` (circular
            convolution of `kernel_size`), `"low_rank"` (linear bottleneck of width `rank`).
        kernel_size: odd, at most the smaller image side; `"local"` only.
        rank: at most the number of entries; `"low_rank"` only.
        weight_decay: g, for the loss 1/2 E|error|^2 + g/2 |weights|^2 of each output entry and its own weights. For a
            shared kernel the error is averaged over positions and the kernel counted once; for `"low_rank"` the
            weights are the product of the two factors.
        prediction: whether the network's linear map outputs `"x"` or the noise in `y`. Without penalty and fully
            trained both are the same denoiser, except for `"low_rank"`, where predicting noise keeps the `rank`
            directions of *smallest* variance.
        training_time: t, of gradient flow from zero weights on that loss; `None` is fully trained.
        bias: whether there is a bias. If not, M is the second moment about 0. With one, `weight_decay` and
            `training_time` act on the weights and the bias is optimal throughout (as for centred data).
        sigma_data: if given, the network's weights act on `y / sqrt(sigma^2 + sigma_data^2)`, which turns g into
            `g (sigma^2 + sigma_data^2)` and t into `t / (sigma^2 + sigma_data^2)`.

    Raises:
        ValueError: for fewer than two examples, NaN, infinite or integer entries, a wrong rank, an unknown structure
            or prediction, a missing, even or oversized kernel, a missing or oversized `rank`, an option that the
            structure does not take, negative `weight_decay`, `training_time <= 0`.
    """
    _checks.choice("structure", structure, STRUCTURES)
    _checks.choice("prediction", prediction, ("x", "noise"))
    shares_weights = structure in ("stationary", "local")
    x = _checks.examples("x", x, min_count=2, ndim=4 if shares_weights else None)
    _check_options(structure, x.shape, kernel_size, rank, weight_decay, training_time, sigma_data)

    shares = None if weights is None else _shares(weights, x)
    mean = jnp.zeros(x.shape[1:], x.dtype)
    if bias:
        mean = _average(x, shares)
        mean = mean + _average(x - mean[None], shares)  # a second pass removes the rounding of the first
        if shares_weights:
            mean = jnp.broadcast_to(mean.mean(axis=(0, 1), keepdims=True), mean.shape)
    centred = x - mean[None]
    if shares is not None:
        # Positive shares only: the root of 0 has no derivative.
        root = jnp.sqrt(len(x) * jnp.where(shares > 0, shares, 1.0)) * (shares > 0)
        centred = centred * root.reshape(-1, *[1] * (x.ndim - 1))
    spectrum = spectral.decompose(_second_moment(structure, centred, kernel_size))

    size = spectrum.values.shape[1]
    # Eigenvalues ascend: predicting x keeps the last `rank` of them, predicting noise the first.
    position = jnp.arange(size) if prediction == "noise" else jnp.arange(size)[::-1]
    scalar = partial(jnp.asarray, dtype=x.dtype)
    return LinearDenoiser(
        mean=mean,
        spectrum=spectrum,
        kept=(position < (size if rank is None else rank)).astype(x.dtype),
        weight_decay=scalar(weight_decay),
        training_time=scalar(jnp.inf if training_time is None else training_time),
        sigma_data=None if sigma_data is None else scalar(sigma_data),
        structure=structure,
        prediction=prediction,
        kernel_size=kernel_size,
    )


def predict_sample(
    denoiser: LinearDenoiser, z: Float[ArrayLike, "*shape"], sigmas: Float[ArrayLike, " levels"]
) -> Float[Array, "*shape"]:
    """The DDIM sample of `z` in closed form, `m + G (sigmas[0] z - m)` with `G = prod_k [(1 - c_k) gain_k + c_k]`.

    The product is taken eigenvalue by eigenvalue (frequency by frequency); no image passes through the chain.

    Args:
        denoiser: from `fit`.
        z: standard Gaussian noise of one example's shape.
        sigmas: noise grid.

    Raises:
        ValueError: for a bad grid or a `z` of another shape.
    """
    z = _checks.example("z", z, denoiser.mean.shape)
    sigmas = _checks.noise_grid(sigmas).astype(denoiser.mean.dtype)
    start = sigmas[0] * z - denoiser.mean
    u = _transfer(denoiser, sigmas, 0.0, _to_blocks(denoiser, start))
    return (denoiser.mean + _from_blocks(denoiser, u)).astype(z.dtype)


def generated(
    denoiser: LinearDenoiser | AffineDenoiser,
    sigmas: Float[ArrayLike, " levels"],
    *,
    eta: Scalar = 0.0,
) -> Gaussian:
    """The Gaussian that `sampling.sample` generates, exact for the given finite grid.

    In each eigenmode of M the state about m has mean and variance `m' = f m`, `v' = f^2 v + tau^2` with
    `f = (1 - c) gain + c`, from `-m` and `sigmas[0]^2` (theory section 2; `affine` for arbitrary affine denoisers).

    Args:
        denoiser: from `fit`, or any `AffineDenoiser` (`affine.from_denoiser` reads one off a trained network).
        sigmas: noise grid.
        eta: 0 is DDIM, 1 ancestral sampling.

    Returns:
        The law of the flattened sample, `d = height * width * channels`.
    """
    if isinstance(denoiser, AffineDenoiser):
        return affine.generated(denoiser, sigmas, eta)
    sigmas = _checks.noise_grid(sigmas).astype(denoiser.mean.dtype)
    start = _to_blocks(denoiser, -denoiser.mean)
    mean = denoiser.mean + _from_blocks(denoiser, _transfer(denoiser, sigmas, eta, start))
    if denoiser.structure == "local":
        blocks = _local_moments(denoiser, sigmas, eta)[1]
    else:
        eye = _identity_like(denoiser.spectrum.matrix)
        blocks = _apply_chain(_gains.sampled_variance, denoiser, sigmas, eta, eye)
    return Gaussian(mean.ravel(), _dense(denoiser, blocks))


def generated_limit(denoiser: LinearDenoiser, sigma_max: Scalar) -> Gaussian:
    """The Gaussian generated in the limit of infinitely many deterministic steps from `sigma_max` to 0.

    `du / d log sigma = (1 - gain) u` gives each eigenmode the factor `G = sqrt(l / (l + sigma_max^2))`, so the
    variance is `l sigma_max^2 / (l + sigma_max^2)` and the mean `m - G m` about m. Directions that a low-rank
    network does not see vanish if it predicts x and keep all their noise if it predicts noise.

    Raises:
        ValueError: for `"local"`, a weight decay or a training time, which have no such formula; use `generated` with
            a fine grid.
    """
    decay, time = _checks.known(denoiser.weight_decay), _checks.known(denoiser.training_time)
    penalised, early = decay is not None and decay != 0, time is not None and np.isfinite(time)
    if denoiser.structure == "local" or penalised or early:
        raise ValueError(
            "generated_limit needs a structure other than 'local', no weight decay and no training time; "
            "use generated(denoiser, schedules.grid(schedule, 1000)) instead"
        )
    keeps_noise = jnp.asarray(denoiser.prediction == "noise")
    parameters = (
        denoiser.kept,
        jnp.asarray(sigma_max, denoiser.mean.dtype),
        keeps_noise.astype(denoiser.mean.dtype),
    )
    start = _to_blocks(denoiser, -denoiser.mean)
    moved = _from_blocks(denoiser, spectral.apply(_gains.limit_gain, denoiser.spectrum, parameters, start))
    eye = _identity_like(denoiser.spectrum.matrix)
    blocks = spectral.apply(_gains.limit_variance, denoiser.spectrum, parameters, eye)
    return Gaussian((denoiser.mean + moved).ravel(), _dense(denoiser, blocks))


def _gain_parameters(denoiser, sigma):
    """`(variance, penalty, time)` at one noise level, or at each of a grid."""
    dtype = denoiser.spectrum.values.dtype
    variance = jnp.square(jnp.asarray(sigma, dtype))
    scale = jnp.ones_like(variance)
    if denoiser.sigma_data is not None:
        scale = variance + jnp.square(denoiser.sigma_data)
    # An infinite time does not depend on the scale; inf / scale would have a NaN derivative.
    time_scale = jnp.where(jnp.isinf(denoiser.training_time), 1.0, scale)
    return variance, denoiser.weight_decay * scale, denoiser.training_time / time_scale


def _transfer(denoiser, sigmas, eta, u):
    """The state about m at the end of the noise-free chain that starts at `u`, in blocks."""
    if denoiser.structure == "local":
        return fourier.multiply(_local_moments(denoiser, sigmas, eta)[0], u)
    return _apply_chain(_gains.sampled_gain, denoiser, sigmas, eta, u)


def _apply_chain(function, denoiser, sigmas, eta, u):
    """`function` (of `gains`, over a whole grid) of M, times `u`."""
    function = partial(function, _gains.GAINS[denoiser.prediction])
    parameters = (denoiser.kept, sigmas, jnp.asarray(eta), *_gain_parameters(denoiser, sigmas))
    return spectral.apply(function, denoiser.spectrum, parameters, u)


def _local_moments(denoiser, sigmas, eta):
    """Transfer matrix and covariance at the end of the chain, (C, C) per frequency."""
    height, width, channels = denoiser.mean.shape
    eye = jnp.broadcast_to(jnp.eye(channels), (height * width, channels, channels))

    def step(moments, inputs):
        transfer, covariance = moments
        sigma, sigma_next, *gain_at = inputs
        c, tau = step_coefficients(sigma, sigma_next, eta)
        F = (1 - c) * _frequency_response(denoiser, gain_at) + c * eye
        covariance = fourier.multiply(F, fourier.multiply(covariance, F.conj().swapaxes(1, 2))) + tau**2 * eye
        return (fourier.multiply(F, transfer), covariance), None

    response = _frequency_response(denoiser, [p[0] for p in _gain_parameters(denoiser, sigmas)])
    eye = eye.astype(response.dtype)
    levels = _gains.per_step(sigmas, _gain_parameters(denoiser, sigmas))
    return jax.lax.scan(step, (eye, sigmas[0] ** 2 * eye), levels)[0]


def _frequency_response(denoiser, gain_at) -> Inexact[Array, "frequencies channels channels"]:
    """Fourier transform of the local filter: `x_hat(f) = W(f) y(f)`."""
    height, width, channels = denoiser.mean.shape
    k = denoiser.kernel_size
    centre = (k * k // 2) * channels
    columns = jnp.eye(k * k * channels, dtype=denoiser.mean.dtype)[:, centre : centre + channels]
    weights = spectral.apply(
        _gains.GAINS[denoiser.prediction], denoiser.spectrum, (denoiser.kept, *gain_at), columns[None]
    )
    kernel = weights.reshape(k, k, channels, channels)  # row offset, column offset, input, output
    return fourier.frequency_response(kernel, height, width)


# --- coordinates in which M is block-diagonal ------------------------------------------------------------


def _to_blocks(denoiser, image) -> Inexact[Array, "blocks b"]:
    if denoiser.structure in ("stationary", "local"):
        return jnp.fft.fft2(image, axes=(0, 1), norm="ortho").reshape(-1, image.shape[-1])
    return image.reshape((-1, 1) if denoiser.structure == "pixelwise" else (1, -1))


def _from_blocks(denoiser, u) -> Float[Array, "*shape"]:
    u = u.reshape(denoiser.mean.shape)
    if denoiser.structure in ("stationary", "local"):
        return jnp.fft.ifft2(u, axes=(0, 1), norm="ortho").real
    return u


def _dense(denoiser, blocks) -> Float[Array, "d d"]:
    """The covariance of flattened images whose covariance in block coordinates is block-diagonal."""
    if denoiser.structure == "pixelwise":
        return jnp.diag(blocks[:, 0, 0])
    if denoiser.structure in ("full", "low_rank"):
        return 0.5 * (blocks[0] + blocks[0].T)
    height, width, channels = denoiser.mean.shape
    rows, columns = np.divmod(np.arange(height * width), width)
    autocovariance = fourier.autocovariance(blocks.reshape(height, width, channels, channels))
    return fourier.covariance_between(autocovariance, rows, columns)


def _second_moment(structure, u, kernel_size) -> Inexact[Array, "blocks b b"]:
    """The matrix M of this module for centred examples `u`."""
    n = u.shape[0]
    if structure in ("full", "low_rank"):
        flat = u.reshape(n, -1)
        return (jnp.matmul(flat.T, flat, precision="highest") / n)[None]
    if structure == "pixelwise":
        return jnp.mean(jnp.square(u), axis=0).reshape(-1, 1, 1)
    _, height, width, channels = u.shape
    power = fourier.mean_power_spectrum(u)
    if structure == "stationary":
        return power.reshape(height * width, channels, channels)
    offsets = np.divmod(np.arange(kernel_size**2), kernel_size)
    return fourier.covariance_between(fourier.autocovariance(power), *offsets)[None]


def _shares(weights, x):
    """Weights that sum to one."""
    weights = _checks.weights(weights, len(x), "examples")
    return (weights / weights.sum()).astype(x.dtype)


def _average(x, shares):
    return x.mean(axis=0) if shares is None else jnp.tensordot(shares, x, axes=1, precision="highest")


def _identity_like(matrix):
    return jnp.broadcast_to(jnp.eye(matrix.shape[-1], dtype=matrix.dtype), matrix.shape)


# --- input -----------------------------------------------------------------------------------------------


def _check_options(structure, shape, kernel_size, rank, weight_decay, training_time, sigma_data):
    if (kernel_size is not None) != (structure == "local"):
        raise ValueError(f"kernel_size goes with structure 'local' only, got {kernel_size} with {structure!r}")
    if (rank is not None) != (structure == "low_rank"):
        raise ValueError(f"rank goes with structure 'low_rank' only, got {rank} with {structure!r}")
    if structure == "local":
        _checks.odd_size("kernel_size", kernel_size, min(shape[1:3]), "the smaller image side ")
    if structure == "low_rank":
        d = int(np.prod(shape[1:]))
        if _checks.positive_int("rank", rank) > d:
            raise ValueError(f"rank must be at most the number of entries d = {d}, got {rank}")
        if training_time is not None:
            raise ValueError(
                "training_time has no closed form for 'low_rank': gradient flow on two factors is not linear"
            )
    decay = _checks.known(weight_decay)
    if decay is not None and not (np.isfinite(decay) and decay >= 0):
        raise ValueError(f"weight_decay must be finite and not negative, got {weight_decay}")
    for name, value in (("training_time", training_time), ("sigma_data", sigma_data)):
        if value is not None and (known := _checks.known(value)) is not None and not known > 0:
            raise ValueError(f"{name} must be positive, got {value}")
