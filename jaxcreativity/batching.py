"""Functions whose batches are worked off in groups."""

from collections.abc import Callable

import jax
from jax.custom_derivatives import SymbolicZero


def in_groups(fun: Callable, group_size: int) -> Callable:
    """`fun`, of which `jax.vmap` computes `group_size` examples at a time and one group after another.

    For functions that fill the cache (an accelerator's memory) with one group's temporary arrays. Values and
    derivatives are those of `fun`; what is differentiated is computed for the whole batch at once, as usual.

    Args:
        fun: function of pytrees of arrays.
        group_size: examples in a group, at least 1; the largest divisor of their number up to this is taken.
    """

    def grouped(*args):
        leaves, tree = jax.tree.flatten(args)

        def plain(*leaves):
            return fun(*tree.unflatten(leaves))

        mapped = jax.custom_batching.custom_vmap(plain)

        @mapped.def_vmap
        def _(axis_size, is_batched, *leaves):
            batch = tuple(x for x, batched in zip(leaves, is_batched, strict=True) if batched)

            def one(batch):
                rest = iter(batch)
                return plain(*(next(rest) if batched else x for x, batched in zip(leaves, is_batched, strict=True)))

            out = jax.lax.map(one, batch, batch_size=largest_divisor(axis_size, group_size))
            return out, jax.tree.map(lambda _: True, out)

        # `custom_vmap` has no derivative in reverse mode.
        @jax.custom_jvp
        def differentiable(*leaves):
            return mapped(*leaves)

        def jvp(primals, tangents):
            moves = [not isinstance(tangent, SymbolicZero) for tangent in tangents]

            def of_moving(*moving):
                rest = iter(moving)
                return plain(*(next(rest) if moved else x for x, moved in zip(primals, moves, strict=True)))

            moving = ([x for x, moved in zip(xs, moves, strict=True) if moved] for xs in (primals, tangents))
            return jax.jvp(of_moving, *moving)

        differentiable.defjvp(jvp, symbolic_zeros=True)
        return differentiable(*leaves)

    return grouped


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of `number` that is at most `most`, but at least 1."""
    return max(d for d in range(1, max(1, min(number, most)) + 1) if number % d == 0)
