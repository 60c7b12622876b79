"""What the sampler makes of a linear denoiser: the exact Gaussian, its limit, and the sample of one noise.

With `D(y, s) = A_s y + b_s` every state of the sampler is Gaussian. One step of `sampling` carries its moments to

    m' = F m + (1 - c) b,   C' = F C F^T + tau^2 I,   F = (1 - c) A + c I,

from `m = 0`, `C = sigmas[0]^2 I`. Where one matrix M is behind all A_s, this goes eigenmode by eigenmode: about the
mean, `m' = f m` and `v' = f^2 v + tau^2` with `f = (1 - c) gain + c`, from `-m` and `sigmas[0]^2`
(docs/theory/linear.md).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks
from jaxcreativity._numerics import fourier, spectral
from jaxcreativity.denoiser import Scalar
from jaxcreativity.distributions.gaussian import Gaussian
from jaxcreativity.sampling import step_coefficients
from jaxcreativity.theory.linear import _gains, _structures
from jaxcreativity.theory.linear.affine import AffineDenoiser
from jaxcreativity.theory.linear.denoiser import LinearDenoiser, frequency_response, gain_parameters


def generated(
    denoiser: LinearDenoiser | AffineDenoiser,
    sigmas: Float[ArrayLike, " levels"],
    *,
    eta: Scalar = 0.0,
) -> Gaussian:
    """The Gaussian that `sampling.sample` generates, exact for the given finite grid: this module's recursion.

    Args:
        denoiser: from `fit`, or any `AffineDenoiser` (`from_denoiser` reads one off a trained network).
        sigmas: noise grid.
        eta: 0 is DDIM, 1 ancestral sampling.

    Returns:
        The law of the flattened sample, `d = height * width * channels`.

    Raises:
        ValueError: for a bad grid.

    Example:
        >>> import jax
        >>> from jaxcreativity import schedules
        >>> from jaxcreativity.theory import linear
        >>> x = jax.random.normal(jax.random.key(0), (50, 2, 2, 1))
        >>> law = linear.generated(linear.fit(x, "full"), schedules.grid(schedules.cosine(), 10))
        >>> law.mean.shape, law.covariance.shape
        ((4,), (4, 4))
    """
    if isinstance(denoiser, AffineDenoiser):
        return _generated_by_affine(denoiser, sigmas, eta)
    sigmas = _checks.noise_grid(sigmas).astype(denoiser.mean.dtype)
    start = _structures.to_blocks(denoiser.structure, -denoiser.mean)
    mean = denoiser.mean + _from_blocks(denoiser, _transfer(denoiser, sigmas, eta, start))
    if denoiser.structure == "local":
        blocks = _local_moments(denoiser, sigmas, eta)[1]
    else:
        blocks = _apply_chain(_gains.sampled_variance, denoiser, sigmas, eta, _identity(denoiser))
    return Gaussian(mean.ravel(), _structures.dense(denoiser.structure, blocks, denoiser.mean.shape))


def generated_limit(denoiser: LinearDenoiser, sigma_max: Scalar) -> Gaussian:
    """The Gaussian generated in the limit of infinitely many deterministic steps from `sigma_max` to 0.

    `du / d log sigma = (1 - gain) u` gives each eigenmode the factor `G = sqrt(l / (l + sigma_max^2))`, so the
    variance is `l sigma_max^2 / (l + sigma_max^2)` and the mean `m - G m` about m. Directions that a low-rank
    network does not see vanish if it predicts x and keep all their noise if it predicts noise.

    Args:
        denoiser: from `fit`.
        sigma_max: noise level from which the sampler starts.

    Returns:
        The law of the flattened sample.

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
    start = _structures.to_blocks(denoiser.structure, -denoiser.mean)
    moved = _from_blocks(denoiser, spectral.apply(_gains.limit_gain, denoiser.spectrum, parameters, start))
    blocks = spectral.apply(_gains.limit_variance, denoiser.spectrum, parameters, _identity(denoiser))
    covariance = _structures.dense(denoiser.structure, blocks, denoiser.mean.shape)
    return Gaussian((denoiser.mean + moved).ravel(), covariance)


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
    u = _transfer(denoiser, sigmas, 0.0, _structures.to_blocks(denoiser.structure, start))
    return (denoiser.mean + _from_blocks(denoiser, u)).astype(z.dtype)


def _generated_by_affine(denoiser, sigmas, eta):
    """This module's recursion of full matrices."""
    sigmas = _checks.noise_grid(sigmas).astype(denoiser.biases.dtype)
    d = denoiser.biases.shape[1]
    eye = jnp.eye(d, dtype=denoiser.biases.dtype)

    def step(moments, levels):
        mean, covariance = moments
        c, tau = step_coefficients(*levels, eta)
        matrix, bias = denoiser.at(levels[0])
        F = (1 - c) * matrix + c * eye
        mean = jnp.matmul(F, mean, precision="highest") + (1 - c) * bias
        covariance = jnp.linalg.multi_dot([F, covariance, F.T], precision="highest") + tau**2 * eye
        return (mean, covariance), None

    start = (jnp.zeros_like(denoiser.biases[0]), sigmas[0] ** 2 * eye)
    (mean, covariance), _ = jax.lax.scan(step, start, (sigmas[:-1], sigmas[1:]))
    return Gaussian(mean, 0.5 * (covariance + covariance.T))


def _transfer(denoiser, sigmas, eta, u):
    """The state about m at the end of the noise-free chain that starts at `u`, in blocks."""
    if denoiser.structure == "local":
        return fourier.multiply(_local_moments(denoiser, sigmas, eta)[0], u)
    return _apply_chain(_gains.sampled_gain, denoiser, sigmas, eta, u)


def _apply_chain(function, denoiser, sigmas, eta, u):
    """`function` (of `_gains`, over a whole grid) of M, times `u`."""
    function = partial(function, _gains.GAINS[denoiser.prediction])
    parameters = (denoiser.kept, sigmas, jnp.asarray(eta), *gain_parameters(denoiser, sigmas))
    return spectral.apply(function, denoiser.spectrum, parameters, u)


def _local_moments(denoiser, sigmas, eta):
    """Transfer matrix and covariance at the end of the chain, (C, C) per frequency."""
    height, width, channels = denoiser.mean.shape
    eye = jnp.broadcast_to(jnp.eye(channels), (height * width, channels, channels))

    def step(moments, inputs):
        transfer, covariance = moments
        sigma, sigma_next, *gain_at = inputs
        c, tau = step_coefficients(sigma, sigma_next, eta)
        F = (1 - c) * frequency_response(denoiser, tuple(gain_at)) + c * eye
        covariance = fourier.multiply(F, fourier.multiply(covariance, F.conj().swapaxes(1, 2))) + tau**2 * eye
        return (fourier.multiply(F, transfer), covariance), None

    gain_at = gain_parameters(denoiser, sigmas)
    eye = eye.astype(jnp.result_type(denoiser.mean.dtype, jnp.complex64))
    return jax.lax.scan(step, (eye, sigmas[0] ** 2 * eye), _gains.per_step(sigmas, gain_at))[0]


def _from_blocks(denoiser, u):
    return _structures.from_blocks(denoiser.structure, u, denoiser.mean.shape)


def _identity(denoiser):
    matrix = denoiser.spectrum.matrix
    return jnp.broadcast_to(jnp.eye(matrix.shape[-1], dtype=matrix.dtype), matrix.shape)
