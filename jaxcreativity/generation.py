"""Many examples: the sampler over a set of noises, batch after batch, compiled once for each make of denoiser."""

import sys
from collections.abc import Iterable
from functools import partial
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from jaxcreativity import _checks, _pytree, sampling
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

    Works inside `jax.jit`, `jax.vmap` and `jax.grad` of other code, with gradients into the denoiser, into what a
    function closes over, and into `z` and `sigmas`. A gradient holds what every batch needs for it.

    Args:
        denoiser: callable on one example: a pytree (closed forms, bound networks, Equinox modules), a function, a
            lambda, a bound method. A function is traced anew at every call, since what it closes over may have
            changed, and compiled anew only if it then computes something else; arrays that it closes over are
            arguments of its program.
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
            is not callable.

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

    Example:
        >>> import jax.numpy as jnp
        >>> trajectories(lambda y, sigma: 0 * y, jnp.ones((5, 2)), jnp.asarray([3.0, 1.0, 0.0])).shape
        (5, 3, 2)
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

    if not all(isinstance(leaf, (jax.Array, np.ndarray, np.generic)) for leaf in jax.tree.leaves(denoiser)):
        denoiser = _traced(denoiser, z)
    results = []
    for start in _with_bar(range(0, n, size), progress):
        # The last batch is moved back to end with the noises, so that it has the shape of the others.
        first = min(start, n - size)
        numbers = first + jnp.arange(size)
        batch = _batch(run, method, denoiser, z[first : first + size], sigmas, eta, key, numbers)
        results.append(jax.block_until_ready(batch)[start - first :])  # waited for: one batch at a time is held
    return results[0] if len(results) == 1 else jnp.concatenate(results)


@partial(jax.jit, static_argnums=(0, 1))
def _batch(run, method, denoiser, z, sigmas, eta, key, numbers):
    if key is None:
        return jax.vmap(lambda z: run(denoiser, z, sigmas, method=method))(z)
    one = lambda z, i: run(denoiser, z, sigmas, eta=eta, key=jax.random.fold_in(key, i), method=method)  # noqa: E731
    return jax.vmap(one)(z, numbers)


class _Program:
    """A traced function without the arrays that it closes over, equal to another that computes the same."""

    def __init__(self, jaxpr):
        self.jaxpr = jaxpr  # kept: functions that the text names by their address stay where they are
        with np.printoptions(threshold=sys.maxsize, floatmode="unique"):
            self.text = str(jaxpr)

    def __eq__(self, other):
        return isinstance(other, _Program) and self.text == other.text

    def __hash__(self):
        return hash(self.text)


@_pytree.dataclass
class _Traced:
    """A denoiser that is no pytree of arrays as one: its program as structure, what it closes over as leaves."""

    program: _Program = _pytree.static()
    constants: list[Any]

    def __call__(self, y, sigma):
        closed = jax.extend.core.ClosedJaxpr(self.program.jaxpr, self.constants)
        return jax.extend.core.jaxpr_as_fun(closed)(y, sigma)[0]


def _traced(denoiser, z):
    """`denoiser` as it is now, for examples like those of `z`."""
    like = jax.ShapeDtypeStruct(z.shape[1:], z.dtype), jax.ShapeDtypeStruct((), z.dtype)
    # A new function each time: JAX remembers the trace of an old one.
    closed = jax.make_jaxpr(lambda y, sigma: sampling.estimate(denoiser, y, sigma))(*like)
    return _Traced(_Program(closed.jaxpr), closed.consts)


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
