"""Many examples: the sampler over a set of noises, batch after batch, compiled once for each make of denoiser."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from jaxcreativity import _checks, sampling
from jaxcreativity.denoiser import Denoiser, Scalar
from jaxcreativity.sampling import Method

# Numbers of a batch: 1 024 images of 16x16, 85 of 32x32x3. More does not make a CPU or the sampler's scan faster, and
# what a denoiser holds for each example is a multiple of it.
_BATCH_ENTRIES = 2**18


def generate(
    denoiser: Denoiser,
    z: Float[ArrayLike, "n *shape"],
    sigmas: Float[ArrayLike, " levels"],
    *,
    batch_size: int | None = None,
    eta: Scalar = 0.0,
    key: PRNGKeyArray | None = None,
    method: Method = "ddim",
    progress: bool = False,
) -> Float[Array, "n *shape"]:
    """Generate one example from each of many noises: `sample` over the leading axis of `z`, in batches.

    Compiled once for each structure of denoiser and shape of batch: another denoiser of the same make (another
    training set of the same size, other parameters) runs the same program. Example i does not depend on the batch that
    it is in: with `eta > 0` it is `sample(denoiser, z[i], sigmas, eta=eta, key=jax.random.fold_in(key, i))`.

    Args:
        denoiser: callable on one example: a pytree (closed forms, bound networks, Equinox modules), a function, a
            lambda, a bound method. Arrays that a function closes over become constants of its program; large ones
            belong in a pytree.
        z: standard Gaussian noises, `(n, *shape)`.
        sigmas: noise levels, strictly decreasing, last 0 (`schedules.grid`).
        batch_size: examples computed at once, at most. By default about 2^18 numbers: 1 024 images of 16x16, 85 of
            32x32x3.
        eta: 0 is the deterministic DDIM sampler, 1 ancestral DDPM sampling.
        key: random key for the noise added on the way; needed unless `eta` is 0.
        method: `"ddim"` or `"heun"`, as for `sample`.
        progress: whether to show a bar (one step a batch, the first of which includes compilation).

    Returns:
        The generated examples in the order of `z`; infinite where a trajectory diverged.

    Raises:
        ValueError: for what `sample` rejects, a `z` without the axis of examples, `batch_size < 1`, or a denoiser that
            is not callable or has parts that are neither arrays nor hashable.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcreativity as jc
        >>> sigmas = jc.schedules.grid(jc.schedules.cosine(), 10)
        >>> z = jax.random.normal(jax.random.key(0), (100, 2))
        >>> jc.generate(lambda y, sigma: y / (1 + sigma**2), z, sigmas, batch_size=32).shape
        (100, 2)
    """
    return _in_batches(sampling.sample, denoiser, z, sigmas, batch_size, eta, key, method, progress)


def trajectories(
    denoiser: Denoiser,
    z: Float[ArrayLike, "n *shape"],
    sigmas: Float[ArrayLike, " levels"],
    *,
    batch_size: int | None = None,
    eta: Scalar = 0.0,
    key: PRNGKeyArray | None = None,
    method: Method = "ddim",
    progress: bool = False,
) -> Float[Array, "n levels *shape"]:
    """All states of `generate`: entry `[i, k]` is that of example i at `sigmas[k]`. Arguments and errors are the same.

    Args:
        denoiser: callable on one example.
        z: standard Gaussian noises.
        sigmas: noise levels.
        batch_size: examples computed at once, at most; what is returned is held whole.
        eta: 0 is DDIM, 1 ancestral sampling.
        key: random key, needed unless `eta` is 0.
        method: `"ddim"` or `"heun"`.
        progress: whether to show a bar.

    Raises:
        ValueError: for what `generate` rejects.
    """
    return _in_batches(sampling.trajectory, denoiser, z, sigmas, batch_size, eta, key, method, progress)


def _in_batches(run, denoiser, z, sigmas, batch_size, eta, key, method, progress):
    """`run` (`sample` or `trajectory`) for every noise."""
    if not callable(denoiser):
        raise ValueError(f"denoiser must be callable as denoiser(y, sigma), got {type(denoiser).__name__}")
    if not isinstance(z, (jax.Array, np.ndarray)) or z.ndim < 1 or z.shape[0] < 1:
        got = getattr(z, "shape", type(z).__name__)
        raise ValueError(f"z must be an array of one noise or more, (n, *shape), got {got}")
    z = jnp.asarray(z)
    *_, step_keys = sampling.check_arguments(z[0], sigmas, eta, key, method)
    if step_keys is None:  # deterministic: a key that was passed all the same makes no difference
        eta, key = 0.0, None
    n = z.shape[0]
    default = max(1, _BATCH_ENTRIES // max(1, z[0].size))
    most = default if batch_size is None else _checks.positive_int("batch_size", batch_size)
    size = -(-n // -(-n // most))

    leaves, structure = jax.tree.flatten(denoiser)
    arrays = tuple(leaf if _is_array(leaf) else None for leaf in leaves)
    rest = tuple(None if _is_array(leaf) else _hashable(leaf) for leaf in leaves)
    results = []
    for start in _with_bar(range(0, n, size), progress):
        # The last batch is moved back to end with the noises, so that it has the shape of the others.
        first = min(start, n - size)
        numbers = first + jnp.arange(size)
        batch = _batch(run, structure, rest, method, arrays, z[first : first + size], sigmas, eta, key, numbers)
        results.append(jax.block_until_ready(batch)[start - first :])  # waited for: one batch at a time is held
    return results[0] if len(results) == 1 else jnp.concatenate(results)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _batch(run, structure, rest, method, arrays, z, sigmas, eta, key, numbers):
    leaves = [fixed if array is None else array for array, fixed in zip(arrays, rest, strict=True)]
    denoiser = jax.tree.unflatten(structure, leaves)
    if key is None:
        return jax.vmap(lambda z: run(denoiser, z, sigmas, method=method))(z)
    one = lambda z, i: run(denoiser, z, sigmas, eta=eta, key=jax.random.fold_in(key, i), method=method)  # noqa: E731
    return jax.vmap(one)(z, numbers)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic))


def _hashable(leaf: Any) -> Any:
    """A part of a denoiser that is no array (a function, a number), by which its program is found again."""
    try:
        hash(leaf)
    except TypeError as error:
        raise ValueError(
            f"denoiser has a part of type {type(leaf).__name__} that is neither an array nor hashable ({error}); "
            "make it an array, or wrap the denoiser in a function"
        ) from error
    return leaf


def _with_bar(starts: range, progress: bool) -> Iterable[int]:
    if not progress:
        yield from starts
        return
    from tqdm import tqdm  # loaded when first used: the face stays light

    with tqdm(total=len(starts), unit="batch", desc="compiling, sampling") as bar:
        for start in starts:
            yield start
            bar.set_description("sampling", refresh=False)
            bar.update()
