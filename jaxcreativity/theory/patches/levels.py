"""One patch size per noise level."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float

from jaxcreativity import _checks
from jaxcreativity.denoiser import Piecewise
from jaxcreativity.theory.patches.local import LocalDenoiser
from jaxcreativity.theory.patches.patch_sizes import check_patch_sizes


def by_level(
    data: Float[ArrayLike, "n height width channels"],
    sigmas: Float[ArrayLike, " levels"],
    patch_sizes: Sequence[int],
    **options: Any,
) -> Piecewise:
    """A `LocalDenoiser` of its own patch size at every positive level of a grid; neighbours of equal size share one.

    Between levels the size changes at their geometric mean. Source: Kamb & Ganguli (2025)
    (docs/theory/patches.md).

    Args:
        data: training images.
        sigmas: noise grid.
        patch_sizes: one per positive level, highest noise first.
        **options: those of `LocalDenoiser`.

    Raises:
        ValueError: for a bad grid, as many sizes as there are not levels, or what `LocalDenoiser` rejects.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcreativity as jc
        >>> x = jax.random.uniform(jax.random.key(0), (8, 6, 6, 1))
        >>> sigmas = jnp.array([4.0, 1.0, 0.25, 0.0])
        >>> machine = jc.theory.patches.by_level(x, sigmas, (5, 3, 3), equivariant=True, boundary="broken")
        >>> [denoiser.patch_size for denoiser in machine.denoisers], machine.edges.tolist()
        ([5, 3], [2.0])
    """
    levels = np.asarray(_checks.noise_grid(sigmas))[:-1]
    sizes = check_patch_sizes(patch_sizes, len(levels))
    changes = [i for i in range(1, len(sizes)) if sizes[i] != sizes[i - 1]]
    edges = [float(np.sqrt(levels[i - 1] * levels[i])) for i in changes]
    return Piecewise(edges, [LocalDenoiser(data, sizes[i], **options) for i in (0, *changes)])
