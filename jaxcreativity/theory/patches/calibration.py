"""The patch sizes that agree best with a network, level by level."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity.denoiser import Denoiser
from jaxcreativity.theory.patches._network import states_and_estimates
from jaxcreativity.theory.patches.local import LocalDenoiser
from jaxcreativity.theory.patches.patch_sizes import check_patch_sizes


@_pytree.dataclass
class Calibration:
    """Patch sizes that agree best with a network; made by `calibrate`.

    Args:
        patch_sizes: the best size at every positive level, highest noise first.
        candidates: the sizes that were tried.
        errors: mean squared difference of outputs, by level and candidate.
    """

    errors: Float[Array, "levels candidates"]
    patch_sizes: tuple[int, ...] = _pytree.static()
    candidates: tuple[int, ...] = _pytree.static()


def calibrate(
    network: Denoiser,
    data: Float[ArrayLike, "n height width channels"],
    sigmas: Float[ArrayLike, " levels"],
    patch_sizes: Sequence[int],
    zs: Float[ArrayLike, "m height width channels"],
    *,
    batch_size: int = 4,
    **options: Any,
) -> Calibration:
    """Find k(sigma): at every level, the patch size whose output is nearest to the network's, on the network's states.

    At level i both denoisers see the network's own state at `sigmas[i]`, the level at which the sampler will use the
    result; `by_level(data, sigmas, calibration.patch_sizes)` is then the calibrated denoiser. Source: Kamb & Ganguli
    (2025); here a size belongs to the level at which it was measured (docs/theory/patches.md).

    Args:
        network: any denoiser.
        data: training images.
        sigmas: noise grid.
        patch_sizes: candidates, odd.
        zs: noises that the network's trajectories start from.
        batch_size: states compared at once.
        **options: those of `LocalDenoiser`.

    Raises:
        ValueError: for a bad grid, bad noises, no or even candidates, `batch_size < 1`, or what `LocalDenoiser`
            rejects.

    Example:
        A denoiser of known sizes in place of a network, two noise levels:

        >>> import jax, jax.numpy as jnp, jaxcreativity as jc
        >>> x = jax.random.uniform(jax.random.key(0), (8, 6, 6, 1))
        >>> z = jax.random.normal(jax.random.key(1), (2, 6, 6, 1))
        >>> sigmas = jnp.array([1.0, 0.3, 0.0])
        >>> options = {"equivariant": False, "boundary": "zero"}
        >>> network = jc.theory.patches.by_level(x, sigmas, (3, 1), **options)
        >>> jc.theory.patches.calibrate(network, x, sigmas, (1, 3), z, **options).patch_sizes
        (3, 1)
    """
    sigmas = _checks.noise_grid(sigmas)
    candidates = check_patch_sizes(patch_sizes)
    zs = _checks.examples("zs", zs, ndim=4)
    batch_size = min(_checks.positive_int("batch_size", batch_size), zs.shape[0])
    levels = sigmas[:-1].astype(zs.dtype)
    by_level = [jnp.swapaxes(x, 0, 1) for x in states_and_estimates(network, zs, sigmas)]

    @jax.jit
    def error(denoiser, states, estimates, levels):
        def at_level(inputs):
            of_one = lambda pair: jnp.mean(jnp.square(denoiser(pair[0], inputs[2]) - pair[1]))  # noqa: E731
            return jnp.mean(jax.lax.map(of_one, inputs[:2], batch_size=batch_size))

        return jax.lax.map(at_level, (states, estimates, levels))

    errors = jnp.stack([error(LocalDenoiser(data, k, **options), *by_level, levels) for k in candidates], axis=1)
    best = np.argmin(np.asarray(errors), axis=1)
    return Calibration(errors, tuple(candidates[i] for i in best), candidates)
