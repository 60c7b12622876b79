"""Sums over blocks of keys, which patch posteriors are added up from.

What `streaming.partial` does, apart from it because a patch denoiser spends its time here: queries last, for vector
instructions, the quick exponential, the minimum in slices. Blocks end as one `streaming.Partial` (`union`).
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcreativity import _pytree
from jaxcreativity._numerics import streaming
from jaxcreativity._numerics.exponential import exp2


@_pytree.dataclass
class Blocks:
    """Blocks of keys, and what each adds to the posterior of each query; queries last, for vector instructions.

    Args:
        min_energy: smallest energy in the block.
        sums: sums over its keys of `weight * value` and, last, of the weights, relative to that energy.
        image: number of the image that the block is in.
        column: its column of keys.
    """

    min_energy: Float[Array, "blocks q"]
    sums: Float[Array, "blocks c1 q"]
    image: Int[Array, "blocks q"]
    column: Int[Array, "blocks q"]


def keep(kept: Blocks, blocks: Blocks) -> tuple[Blocks, tuple[Array, Array]]:
    """The blocks with the smallest minima of both; minima and sums of all, those of the kept ones masked."""
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), kept, blocks)
    num_kept, num_both = kept.image.shape[0], both.image.shape[0]
    _, chosen = jax.lax.top_k(-jax.lax.stop_gradient(both.min_energy).T, num_kept)
    chosen = chosen.T
    at = lambda x: chosen if x.ndim == 2 else chosen[:, None]  # noqa: E731
    first = jax.tree.map(lambda x: jnp.take_along_axis(x, at(x), axis=0), both)
    is_chosen = jnp.any(chosen[:, None] == jnp.arange(num_both).reshape(1, -1, 1), axis=0)
    return first, (jnp.where(is_chosen, streaming.MASKED, both.min_energy), jnp.where(is_chosen[:, None], 0, both.sums))


def over_keys(
    energies: Float[Array, "blocks keys q"], values: Float[Array, "blocks keys c1"], temperature: Float[Array, ""]
) -> tuple[Float[Array, "blocks q"], Float[Array, "blocks c1 q"]]:
    """Smallest energy and sums of each block, as in `Blocks`.

    Args:
        energies: of the keys of each block.
        values: of the same keys, from `with_one`; of one block for all.
        temperature: `2 sigma^2`.
    """
    smallest = min_over_keys(jax.lax.stop_gradient(energies))
    weights = exp2((smallest[:, None] - energies) * (1 / (temperature * math.log(2))))  # one division, not one a key
    if len(values) == 1:  # XLA's product without a batch is three times as fast
        return smallest, contract("kc,kq->cq", values[0], weights[0])[None]
    return smallest, contract("bkc,bkq->bcq", values, weights)


contract = functools.partial(jnp.einsum, precision="highest")
"""A product in full precision."""


def with_one(values: Float[Array, "*keys c"]) -> Float[Array, "*keys c1"]:
    """Values and a 1, so that one product sums values and weights."""
    return jnp.concatenate([values, jnp.ones_like(values[..., :1])], axis=-1)


def min_over_keys(energies: Float[Array, "blocks keys q"]) -> Float[Array, "blocks q"]:
    """Minimum over keys, first of whole slices: on a CPU, XLA's reduction would walk down one column after another."""
    num = energies.shape[1]
    # With fewer than 16 slices XLA would compute energies in the minimum, again; with 2 to 32 keys to a slice, slices
    # in the reduction over them; with 1, the minimum wherever it is used.
    length = min(num, max(2 if num <= 64 else 33, -(-num // 16)))
    starts = np.linspace(0, num - length, min(16, num - length + 1)).round().astype(int)  # slices may overlap
    slices = (jax.lax.slice_in_dim(energies, i, i + length, axis=1) for i in starts)
    return functools.reduce(jnp.minimum, slices).min(axis=1)


def union(
    smallest: Float[Array, "blocks q"], sums: Float[Array, "blocks c1 q"], temperature: Float[Array, ""]
) -> streaming.Partial:
    """One partial sum of all blocks.

    Args:
        smallest: smallest energy of each block.
        sums: its sums, relative to that energy.
        temperature: `2 sigma^2`.
    """
    least = jax.lax.stop_gradient(smallest.min(axis=0))
    sums = jnp.sum(sums * jnp.exp((least[None] - smallest) / temperature)[:, None], axis=0)
    return streaming.Partial(least, sums[:-1].T, sums[-1])
