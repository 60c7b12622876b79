"""How far a denoiser looks, at each noise level: patch sizes that nothing has been fitted for."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks, generation
from jaxcreativity.denoiser import Denoiser
from jaxcreativity.theory import linear
from jaxcreativity.theory.patches._network import compiled


def response_energy(
    denoiser: Denoiser, ys: Float[Array, "m height width c"], sigma: Float[Array, ""]
) -> Float[Array, "height width"]:
    """Mean over `ys` of `|dD_q / dy_p|^2`, q the middle pixel, by pixel p.

    Args:
        denoiser: callable on one image.
        ys: noisy images.
        sigma: their noise level.
    """
    middle = ys.shape[1] // 2, ys.shape[2] // 2

    def energy(y):
        _, pullback = jax.vjp(lambda y: denoiser(y, sigma)[middle], y)
        gradients = jax.lax.map(lambda channel: pullback(channel)[0], jnp.eye(y.shape[2], dtype=y.dtype))
        return jnp.sum(jnp.square(gradients), axis=(0, 3))

    return jnp.mean(jax.vmap(energy)(ys), axis=0)


def smallest_window(energy: Float[np.ndarray, "height width"], share: float) -> int:
    """Smallest odd k whose window around the middle pixel holds the given share of the energy."""
    height, width = energy.shape
    rows, columns = np.abs(np.arange(height) - height // 2), np.abs(np.arange(width) - width // 2)
    radius = np.maximum(rows[:, None], columns[None, :])
    inside = np.array([energy[radius <= r].sum() for r in range(radius.max() + 1)])
    if not inside[-1] > 0:
        return 1
    return 2 * int(np.argmax(inside >= share * inside[-1])) + 1


def predicted_patch_sizes(
    source: Denoiser | Float[ArrayLike, "n height width channels"],
    sigmas: Float[ArrayLike, " levels"],
    zs: Float[ArrayLike, "m height width channels"] | None = None,
    *,
    share: float = 0.95,
    candidates: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """Patch size k at every positive noise level, from how far a denoiser looks: nothing is fitted.

    k(sigma) is the smallest odd window around the middle pixel q that holds `share` of the energy
    `sum_p |dD_q / dy_p|^2`, averaged over the denoiser's own trajectories (the receptive field in use). For data
    instead of a denoiser, D is their stationary Wiener filter (`linear.fit(data, "stationary")`), which is the same for
    all y (docs/theory/patches.md).

    Args:
        source: a denoiser, or training images.
        sigmas: noise grid.
        zs: noises to start the trajectories from; for a denoiser only.
        share: in (0, 1).
        candidates: if given, of these the size nearest to k at each level (few sizes are few programs to compile).

    Raises:
        ValueError: for a bad grid, bad data, `share` outside (0, 1), a denoiser without `zs`, data with them, or
            candidates that are not odd and positive.

    Example:
        Independent pixels need no neighbours:

        >>> import jax, jax.numpy as jnp, jaxcreativity as jc
        >>> x = jax.random.normal(jax.random.key(0), (2000, 7, 7, 1))
        >>> jc.theory.patches.predicted_patch_sizes(x, jnp.array([1.0, 0.1, 0.0]))
        (1, 1)
    """
    candidates = None if candidates is None else check_patch_sizes(candidates)
    sigmas = _checks.noise_grid(sigmas)
    if not 0 < share < 1:
        raise ValueError(f"share must lie strictly between 0 and 1, got {share}")
    if isinstance(source, (jax.Array, np.ndarray)):
        if zs is not None:
            raise ValueError("zs go with a denoiser; the Wiener filter of data is the same everywhere")
        data = _checks.examples("source", source, min_count=2, ndim=4)
        denoiser = linear.fit(data, "stationary")
        states = jnp.zeros((1, sigmas.shape[0], *data.shape[1:]), data.dtype)
    else:
        if zs is None:
            raise ValueError("a denoiser's receptive field is measured along its trajectories: pass zs, (m, *shape)")
        denoiser, zs = source, _checks.examples("zs", zs, ndim=4)
        states = generation.trajectories(denoiser, zs, sigmas)
    measure = compiled(response_energy, denoiser)
    levels = sigmas.astype(states.dtype)
    energies = [np.asarray(measure(states[:, i], levels[i])) for i in range(len(sigmas) - 1)]
    sizes = tuple(smallest_window(energy, share) for energy in energies)
    if candidates is None:
        return sizes
    return tuple(min(candidates, key=lambda k, wanted=wanted: abs(k - wanted)) for wanted in sizes)


def check_patch_sizes(patch_sizes: Sequence[int], count: int | None = None) -> tuple[int, ...]:
    """Return patch sizes as a tuple of odd integers, `count` of them if given.

    Raises:
        ValueError: if there are none, another number, or one is not odd and positive.
    """
    sizes = tuple(_checks.odd_size("patch_sizes", k) for k in patch_sizes)
    if not sizes:
        raise ValueError("patch_sizes must have at least one entry")
    if count is not None and len(sizes) != count:
        raise ValueError(f"patch_sizes must have one entry per positive noise level, {count}, got {len(sizes)}")
    return sizes
