"""How far two denoisers' samples from the same noise are apart, as one differentiable number."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks, sampling
from jaxcreativity.denoiser import Denoiser

Measure = Callable[[Float[Array, "*shape"], Float[Array, "*shape"]], Float[Array, ""]]


def mean_square(x: Float[Array, "*shape"], reference: Float[Array, "*shape"]) -> Float[Array, ""]:
    """`mean((x - reference)^2)` over entries."""
    return jnp.mean(jnp.square(x - reference))


def one_minus_correlation(x: Float[Array, "*shape"], reference: Float[Array, "*shape"]) -> Float[Array, ""]:
    """1 less the Pearson correlation of two examples, each less its mean."""
    x, reference = x - x.mean(), reference - reference.mean()
    scale = jnp.sqrt(jnp.sum(jnp.square(x)) * jnp.sum(jnp.square(reference)))
    return 1 - jnp.sum(x * reference) / jnp.maximum(scale, jnp.finfo(x.dtype).tiny ** 0.5)


MEASURES: dict[str, Measure] = {"mean_square": mean_square, "correlation": one_minus_correlation}


def discrepancy(
    theory: Denoiser,
    network: Denoiser,
    z: Float[ArrayLike, "n *shape"],
    sigmas: Float[ArrayLike, " levels"],
    measure: Measure | Literal["mean_square", "correlation"] = "mean_square",
    *,
    unroll: int | bool = 1,
    remat: bool = False,
) -> Float[Array, ""]:
    """Mean over seeds of `measure(sample of theory, sample of network)`, both from the same noise.

    Differentiable, so not in batches on the host as `generate` works: one traced program with both denoisers and both
    trajectories. Differentiate it with `jax.grad` with respect to `z` (where do they disagree?), the theory (what would
    make it fit?), the network (distil the theory into it) or the noise levels.

    Args:
        theory: callable on one example; any pytree.
        network: the same.
        z: standard Gaussian noises `(n, *shape)`.
        sigmas: noise grid.
        measure: a function of two examples that returns a scalar, or `"mean_square"` or `"correlation"` (1 less the
            Pearson correlation).
        unroll: as for `sampling.sample`: `True` on CPUs where a convolutional network is differentiated.
        remat: as for `sampling.sample`: `True` where a gradient through many steps needs too much memory.

    Raises:
        ValueError: for a bad grid, an unknown measure or one that is not scalar, or samples of different shapes.

    Example:
        >>> import jaxcreativity as jc
        >>> theory = lambda y, sigma: y / (1 + sigma**2)
        >>> z, sigmas = jnp.ones((2, 3)), jc.schedules.grid(jc.schedules.cosine(), 5)
        >>> loss = lambda gain: discrepancy(theory, lambda y, sigma: gain * theory(y, sigma), z, sigmas)
        >>> value, slope = jax.value_and_grad(loss)(0.9)
        >>> bool(value > 0), bool(slope < 0)  # they come closer as the gain grows to 1
        (True, True)
    """
    z = _checks.examples("z", z)
    if isinstance(measure, str):
        measure = MEASURES[_checks.choice("measure", measure, tuple(MEASURES))]

    def one(z):
        x, reference = (
            sampling.sample(denoiser, z, sigmas, unroll=unroll, remat=remat) for denoiser in (network, theory)
        )
        value = measure(x, reference)
        if jnp.shape(value) != ():
            raise ValueError(f"measure must return a scalar, got shape {jnp.shape(value)}; reduce it, e.g. by jnp.mean")
        return value

    return jnp.mean(jax.vmap(one)(z))
