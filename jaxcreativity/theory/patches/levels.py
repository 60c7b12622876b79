"""One patch size per noise level."""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, PRNGKeyArray

from jaxcreativity import _checks
from jaxcreativity.denoiser import Denoiser, Piecewise
from jaxcreativity.theory.patches.index import PatchIndex
from jaxcreativity.theory.patches.indexed import IndexedLocalDenoiser
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
    return _piecewise(levels, sizes, lambda size: LocalDenoiser(data, size, **options))


def indexed_by_level(
    indices: Sequence[PatchIndex],
    sigmas: Float[ArrayLike, " levels"],
    patch_sizes: Sequence[int],
    *,
    num_head: int,
    num_tail: int,
    key: PRNGKeyArray,
    tolerance: float | None = None,
    **options: Any,
) -> Piecewise:
    """As `by_level`, an `IndexedLocalDenoiser` at every level; of as many draws as a wanted error takes.

    With a `tolerance` the draws of a level are the fewest of `num_tail`, a half, a quarter ... a sixteenth of it whose
    standard error is expected to be that small: the root mean square over the pixels of four noisy training images,
    measured with the sixteenth, and as the inverse root of the number of draws.

    Args:
        indices: one for each patch size, of the same images and border.
        sigmas: noise grid.
        patch_sizes: one per positive level, highest noise first.
        num_head: of `IndexedLocalDenoiser`.
        num_tail: likewise; with a `tolerance`, the most.
        key: random key of the draws.
        tolerance: wanted standard error, in units of the images.
        **options: the others of `IndexedLocalDenoiser`.

    Raises:
        ValueError: for a bad grid, as many sizes as there are not levels, a size without index, indices of several data
            sets or borders, a tolerance that is not positive, or what `IndexedLocalDenoiser` rejects.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcreativity as jc
        >>> x = jax.random.uniform(jax.random.key(0), (100, 8, 8, 1))
        >>> sigmas, keys = jnp.array([4.0, 1.0, 0.25, 0.0]), jax.random.split(jax.random.key(1))
        >>> of = lambda k: jc.theory.patches.build_index(x, k, boundary="circular", num_cells=32, key=keys[0])
        >>> options = {"num_head": 100, "num_tail": 160, "key": keys[1]}
        >>> machine = jc.theory.patches.indexed_by_level([of(3), of(5)], sigmas, (5, 5, 3), tolerance=0.05, **options)
        >>> [denoiser.index.patch_size for denoiser in machine.denoisers]
        [5, 3]
    """
    levels = np.asarray(_checks.noise_grid(sigmas))[:-1]
    sizes = check_patch_sizes(patch_sizes, len(levels))
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")
    known = _by_patch_size(indices)
    if missing := sorted(set(sizes) - set(known)):
        raise ValueError(f"patch size {missing[0]} has no index among those of {sorted(known)}; build_index makes it")

    def denoiser(kind: tuple[int, int]) -> IndexedLocalDenoiser:
        size, draws = kind
        return IndexedLocalDenoiser(known[size], num_head=num_head, num_tail=draws, key=key, **options)

    draws = [num_tail] * len(levels)
    if tolerance is not None:
        few = [denoiser((size, max(3, num_tail // 16))) for size in sizes]
        draws = [_draws(*pair, tolerance, num_tail) for pair in zip(few, levels, strict=True)]
    return _piecewise(levels, list(zip(sizes, draws, strict=True)), denoiser)


def _by_patch_size(indices) -> dict[int, PatchIndex]:
    first = indices[0]
    for index in indices[1:]:
        if index.data is not first.data and not np.array_equal(index.data, first.data):
            raise ValueError("indices must be of the same images; make all of them by build_index from one data set")
        if index.boundary != first.boundary:
            raise ValueError(f"indices must have one boundary, got {first.boundary!r} and {index.boundary!r}")
    return {index.patch_size: index for index in indices}


@jax.jit
def _mean_square_error(denoiser, ys, sigma):
    errors = jax.vmap(lambda y: denoiser.estimate(y, sigma)[1])(ys)
    return jnp.nanmean(jnp.square(errors))


def _draws(denoiser, sigma, tolerance, most) -> int:
    image, noise = jax.random.split(jax.random.fold_in(denoiser.key, 1))
    data = denoiser.index.data
    x = data[jax.random.randint(image, (4,), 0, len(data))]
    y = x + jnp.asarray(sigma, x.dtype) * jax.random.normal(noise, x.shape, x.dtype)
    wanted = denoiser.num_tail * float(_mean_square_error(denoiser, y, jnp.asarray(sigma, x.dtype))) / tolerance**2
    halvings = 4 if not wanted > 0 else min(4, max(0, math.floor(math.log2(most / wanted))))
    return max(denoiser.num_tail, most // 2**halvings)


def _piecewise(levels, kinds: Sequence[Hashable], denoiser: Callable[[Any], Denoiser]) -> Piecewise:
    """A denoiser for every level, by its kind; neighbours of one kind share one."""
    changes = [i for i in range(1, len(kinds)) if kinds[i] != kinds[i - 1]]
    edges = [float(np.sqrt(levels[i - 1] * levels[i])) for i in changes]
    return Piecewise(edges, [denoiser(kinds[i]) for i in (0, *changes)])
