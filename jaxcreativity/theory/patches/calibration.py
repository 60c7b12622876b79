"""The patch sizes that agree best with a network, level by level."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks, _pytree, trajectory
from jaxcreativity.denoiser import Denoiser
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
    result; `by_level(data, sigmas, calibration.patch_sizes)` is then the calibrated denoiser.

    Args:
        network: any denoiser.
        data: training images.
        sigmas: noise grid.
        patch_sizes: candidates, odd.
        zs: noises that the network's trajectories start from.
        batch_size: states compared at once.
        **options: those of `LocalDenoiser`.

    Raises:
        ValueError: for a bad grid, no or even candidates, or what `LocalDenoiser` rejects.
    """
    sigmas = _checks.noise_grid(sigmas)
    candidates = check_patch_sizes(patch_sizes)
    zs = _checks.examples("zs", zs, ndim=4)

    @jax.jit
    def states_and_outputs(network, zs):
        states = jax.vmap(trajectory, (None, 0, None))(network, zs, sigmas)[:, :-1]
        levels = sigmas[:-1].astype(zs.dtype)
        return states, jax.vmap(jax.vmap(network), (0, None))(states, levels), levels

    @jax.jit
    def error(denoiser, states, outputs, levels):
        def at_level(inputs):
            of_one = lambda pair: jnp.mean(jnp.square(denoiser(pair[0], inputs[2]) - pair[1]))  # noqa: E731
            return jnp.mean(jax.lax.map(of_one, inputs[:2], batch_size=min(batch_size, zs.shape[0])))

        return jax.lax.map(at_level, (jnp.swapaxes(states, 0, 1), jnp.swapaxes(outputs, 0, 1), levels))

    states, outputs, levels = states_and_outputs(network, zs)
    errors = jnp.stack([error(LocalDenoiser(data, k, **options), states, outputs, levels) for k in candidates], axis=1)
    best = np.argmin(np.asarray(errors), axis=1)
    return Calibration(errors, tuple(candidates[i] for i in best), candidates)
