"""Fitting of linear denoisers: what the denoising loss selects within a structure, training effects included."""

from functools import partial

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from jaxcreativity import _checks
from jaxcreativity._numerics import spectral
from jaxcreativity.denoiser import Prediction, Scalar
from jaxcreativity.theory.linear import _structures
from jaxcreativity.theory.linear._structures import STRUCTURES, Structure
from jaxcreativity.theory.linear.denoiser import LinearDenoiser


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
            structure does not take, negative `weight_decay`, `training_time <= 0`, `sigma_data <= 0`, or weights that
            are negative, all 0 or not one for each example.

    Example:
        >>> import jax
        >>> from jaxcreativity.theory import linear
        >>> x = 0.5 + 0.1 * jax.random.normal(jax.random.key(0), (50, 4, 4, 1))
        >>> denoiser = linear.fit(x, "local", kernel_size=3)
        >>> y = x[0] + 3.0 * jax.random.normal(jax.random.key(1), x[0].shape)
        >>> x_hat = denoiser(y, 3.0)  # at high noise the mean
        >>> x_hat.shape, bool(abs(x_hat - 0.5).max() < 0.1)
        ((4, 4, 1), True)
    """
    _checks.choice("structure", structure, STRUCTURES)
    _checks.choice("prediction", prediction, ("x", "noise"))
    shares_weights = structure in _structures.SHARING
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
    spectrum = spectral.decompose(_structures.second_moment(structure, centred, kernel_size))

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


def _shares(weights, x):
    """Weights that sum to one."""
    weights = _checks.weights(weights, len(x), "examples")
    return (weights / weights.sum()).astype(x.dtype)


def _average(x, shares):
    return x.mean(axis=0) if shares is None else jnp.tensordot(shares, x, axes=1, precision="highest")


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
