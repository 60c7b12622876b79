"""Functions whose batches are worked off in groups."""

import functools
from collections.abc import Callable

import jax
import jax.extend.core.primitives
import jax.interpreters.ad
from jax.custom_derivatives import SymbolicZero

# Differentiated first and batched then, as by `in_groups`, a `cond` passes tangents through `stop_gradient` on the way
# to the branch that is not taken, and JAX cannot transpose that (JAX issue 22011). Lineax registers the same rule.
jax.interpreters.ad.primitive_transposes.setdefault(
    jax.extend.core.primitives.stop_gradient_p, lambda cotangent, _: (cotangent,)
)


def in_groups(one: Callable, together: Callable, group_size: int) -> Callable:
    """A function of which `jax.vmap` computes `group_size` examples at a time, one group after another.

    For functions that fill the cache (an accelerator's memory) with the temporary arrays of one group.

    Args:
        one: function of pytrees of arrays, for one example at a time. It may branch on its values.
        together: the same function but for rounding, for examples that are computed together, which take all branches:
            those of a group larger than one, and whatever is differentiated, for the whole batch at once.
        group_size: examples in a group, at least 1; the largest divisor of their number up to this is taken.
    """

    def grouped(*args):
        leaves, tree = jax.tree.flatten(args)

        def flat(function):
            return lambda *leaves: function(*tree.unflatten(leaves))

        batched = jax.custom_batching.custom_vmap(flat(one))

        @batched.def_vmap
        def _(axis_size, is_batched, *leaves):
            size = largest_divisor(axis_size, group_size)
            function, batch = _of_some(flat(one if size == 1 else together), leaves, is_batched)
            # With a size of 1, too, `map` would batch.
            out = jax.lax.map(lambda batch: function(*batch), batch, batch_size=None if size == 1 else size)
            return out, jax.tree.map(lambda _: True, out)

        # `custom_vmap` has no derivative in reverse mode.
        differentiable = jax.custom_jvp(lambda *leaves: batched(*leaves))

        @functools.partial(differentiable.defjvp, symbolic_zeros=True)
        def _(primals, tangents):
            moves = [not isinstance(tangent, SymbolicZero) for tangent in tangents]
            function, moving = _of_some(flat(together), primals, moves)
            return jax.jvp(function, moving, tuple(t for t, moved in zip(tangents, moves, strict=True) if moved))

        return differentiable(*leaves)

    return grouped


def _of_some(function, args, chosen):
    """`function` of the chosen arguments only, and these."""

    def of_chosen(*some):
        some = iter(some)
        return function(*(next(some) if is_chosen else x for x, is_chosen in zip(args, chosen, strict=True)))

    return of_chosen, tuple(x for x, is_chosen in zip(args, chosen, strict=True) if is_chosen)


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of `number` that is at most `most`, but at least 1."""
    return max(d for d in range(1, max(1, min(number, most)) + 1) if number % d == 0)
