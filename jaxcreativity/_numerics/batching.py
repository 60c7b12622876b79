"""Functions whose batches are worked off in groups, their derivatives too."""

import functools
from collections.abc import Callable

import jax
import jax.extend.core.primitives
import jax.interpreters.ad
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from jaxcreativity._numerics.linear_groups import even_group, in_linear_groups, largest_divisor, run

__all__ = ["in_groups", "largest_divisor"]

# Differentiated first and batched then, as by `in_groups`, a `cond` passes tangents through `stop_gradient` on the way
# to the branch that is not taken, and JAX cannot transpose that (JAX issue 22011). Lineax registers the same rule.
jax.interpreters.ad.primitive_transposes.setdefault(
    jax.extend.core.primitives.stop_gradient_p, lambda cotangent, _: (cotangent,)
)


def in_groups(
    one: Callable,
    together: Callable,
    group_size: int,
    derivative: Callable | None = None,
    *,
    stacked: Callable | None = None,
) -> Callable:
    """A function of which `jax.vmap` computes `group_size` examples at a time, one group after another.

    For functions that fill the cache (an accelerator's memory) with the temporary arrays of one group. First
    derivatives, in forward and in reverse mode, are computed in the same groups, whichever of `jax.vmap` and `jax.grad`
    comes first; a gradient keeps the arguments only. Second derivatives are computed for the whole batch at once.

    Args:
        one: function of pytrees of arrays, for one example at a time. It may branch on its values.
        together: the same function but for rounding, for examples that are computed together, which take all branches:
            those of a group larger than one. It is what is differentiated.
        group_size: most examples in a group, at least 1.
        derivative: `(args, out, tangents) -> tangent of out`, linear in the last, whose leaves are `None` where nothing
            moves, as are those of the result for integers. By default that of `together`.
        stacked: function of the first argument and of all others with a leading axis, which computes a group in its
            own way where only they are batched. By default `jax.vmap` of `together`.
    """

    def grouped(*args):
        leaves, tree = jax.tree.flatten(args)

        def flat(function):
            return lambda *leaves: function(*tree.unflatten(leaves))

        # Its constants are arguments: JAX cannot batch a `custom_vmap` with constants that a `switch` has batched.
        closed, shapes = jax.make_jaxpr(flat(one), return_shape=True)(*leaves)
        count = len(closed.consts)
        batched = jax.custom_batching.custom_vmap(
            lambda *args: jax.tree.structure(shapes).unflatten(run(closed.jaxpr, *args))
        )

        @batched.def_vmap
        def _(axis_size, is_batched, *args):
            first, *others = tree.unflatten(is_batched[count:])
            if stacked and not any(jax.tree.leaves((is_batched[:count], first))):
                out = _in_stacks(stacked, group_size, axis_size, others, *tree.unflatten(args[count:]))
                return out, jax.tree.map(lambda _: True, out)
            size = even_group(axis_size, group_size)
            function, batch = _of_some(flat(one if size == 1 else together), args[count:], is_batched[count:])
            # With a size of 1, too, `map` would batch.
            out = jax.lax.map(lambda batch: function(*batch), batch, batch_size=None if size == 1 else size)
            return out, jax.tree.map(lambda _: True, out)

        # `custom_vmap` has no derivative in reverse mode.
        differentiable = jax.custom_jvp(lambda *args: batched(*args))

        @functools.partial(differentiable.defjvp, symbolic_zeros=True)
        def _(args, tangents):
            primals, tangents, out = args[count:], tangents[count:], differentiable(*args)
            moves = [not isinstance(tangent, SymbolicZero) for tangent in tangents]

            def of_together(fixed, tangents):
                function, moving = _of_some(flat(together), fixed[0], moves)
                return jax.jvp(function, moving, tangents)[1]

            def given(fixed, tangents):
                primals, out = fixed
                moving = iter(tangents)
                tangents = [next(moving) if moved else None for moved in moves]
                return derivative(tree.unflatten(primals), out, tree.unflatten(tangents))

            moving = tuple(t for t, moved in zip(tangents, moves, strict=True) if moved)
            fixed = (primals, out) if derivative else (primals,)
            tangent = in_linear_groups(given if derivative else of_together, fixed, moving, group_size)
            return out, jax.tree.map(_or_nothing, tangent, out, is_leaf=lambda x: x is None)

        return differentiable(*closed.consts, *leaves)

    return grouped


def _or_nothing(tangent, out):
    """A tangent, also of integers."""
    return np.zeros(out.shape, jax.dtypes.float0) if tangent is None else tangent


def _in_stacks(function, group_size, number, is_batched, first, *args):
    """`function(first, *args)` of groups, the last of which repeats its last example."""
    size = even_group(number, group_size)
    groups = jnp.minimum(jnp.arange(-(-number // size) * size), number - 1).reshape(-1, size)

    def of_group(group):
        take = lambda x, b: x[group] if b else jnp.broadcast_to(x, (size, *jnp.shape(x)))  # noqa: E731
        return function(first, *jax.tree.map(take, args, tuple(is_batched)))

    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:number], jax.lax.map(of_group, groups))


def _of_some(function, args, chosen):
    """`function` of the chosen arguments only, and these."""

    def of_chosen(*some):
        some = iter(some)
        return function(*(next(some) if is_chosen else x for x, is_chosen in zip(args, chosen, strict=True)))

    return of_chosen, tuple(x for x, is_chosen in zip(args, chosen, strict=True) if is_chosen)
