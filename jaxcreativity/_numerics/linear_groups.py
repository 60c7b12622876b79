"""A linear function whose batches are worked off in groups, and whose transpose is such a function again.

JAX has no such function: its `custom_vmap` cannot be transposed, and `linear_call` cannot be batched.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir

_call = Primitive("in_linear_groups")
_call.multiple_results = True


def in_linear_groups(function: Callable[[Any, Any], Any], fixed: Any, moving: Any, group_size: int) -> Any:
    """`function(fixed, moving)`, of which `jax.vmap` computes `group_size` examples at a time.

    Args:
        function: of two pytrees of arrays, linear in the second; closes over no traced arrays.
        fixed: what it is not linear in.
        moving: what it is linear in.
        group_size: most examples in a group, at least 1.
    """
    fixed, fixed_tree = jax.tree.flatten(fixed)
    moving, moving_tree = jax.tree.flatten(moving)
    tree = None

    def flat(*leaves):
        nonlocal tree
        first, last = fixed_tree.unflatten(leaves[: len(fixed)]), moving_tree.unflatten(leaves[len(fixed) :])
        out, tree = jax.tree.flatten(function(first, last))
        return out

    out = _bind(flat, fixed, moving, group_size)
    return tree.unflatten(out)


def even_group(number: int, most: int) -> int:
    """Size of groups, at most `most`, of `number` examples: a divisor of it if that is not much smaller."""
    size = largest_divisor(number, most)
    return size if 2 * size >= min(number, most) else -(-number // -(-number // most))


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of `number` that is at most `most`, but at least 1."""
    return max(d for d in range(1, max(1, min(number, most)) + 1) if number % d == 0)


def run(jaxpr: Jaxpr, *args: Any) -> list:
    """Evaluate a program whose constants are its first arguments."""
    count = len(jaxpr.constvars)
    return jaxpr_as_fun(ClosedJaxpr(jaxpr, args[:count]))(*args[count:])


def _bind(function, fixed, moving, group_size):
    closed = jax.make_jaxpr(function)(*fixed, *moving)
    # Constants are arguments: those that the program holds would not show in its text (`generation`).
    fixed = [*closed.consts, *fixed]
    return _call.bind(*fixed, *moving, jaxpr=closed.jaxpr, num_fixed=len(fixed), group_size=group_size)


@_call.def_impl
def _run(*args, jaxpr, num_fixed, group_size):
    return run(jaxpr, *args)


@_call.def_abstract_eval
def _(*avals, jaxpr, num_fixed, group_size):
    return [v.aval for v in jaxpr.outvars]


mlir.register_lowering(_call, mlir.lower_fun(_run, multiple_results=True))


def _batch(args, dims, *, jaxpr, num_fixed, group_size):
    """The same function of a batch: it is linear again."""
    number = next(x.shape[d] for x, d in zip(args, dims, strict=True) if d is not None)
    size = even_group(number, group_size)
    is_batched = [d is not None for d in dims]
    args = [jnp.moveaxis(x, d, 0) if b else x for x, d, b in zip(args, dims, is_batched, strict=True)]

    def mapped(*args):
        @functools.partial(jax.checkpoint, prevent_cse=False)  # transposed, the map keeps its arguments only
        def of_group(batch):
            batch = iter(batch)
            return run(jaxpr, *(next(batch) if b else x for x, b in zip(args, is_batched, strict=True)))

        batch = tuple(x for x, b in zip(args, is_batched, strict=True) if b)
        if size == number:
            return jax.vmap(of_group)(batch)
        return jax.lax.map(of_group, batch, batch_size=None if size == 1 else size)

    out = _bind(mapped, args[:num_fixed], args[num_fixed:], max(1, group_size // number))
    return out, [0] * len(out)


batching.primitive_batchers[_call] = _batch


def _transpose(cotangents, *args, jaxpr, num_fixed, group_size):
    """Linear in the cotangents, of all that is known."""
    unknown = [ad.is_undefined_primal(x) for x in args]
    known = [x for x, u in zip(args, unknown, strict=True) if not u]
    likes = [x.aval for x, u in zip(args, unknown, strict=True) if u]
    cotangents = [ad.instantiate_zeros(c) for c in cotangents]

    def transposed(*leaves):
        # What moves but is known adds a constant.
        fixed = (x if i < num_fixed else jnp.zeros_like(x) for i, x in enumerate(leaves[: len(known)]))
        filled = [None if u else next(fixed) for u in unknown]

        def linear(*moving):
            moving = iter(moving)
            return run(jaxpr, *(next(moving) if u else x for x, u in zip(filled, unknown, strict=True)))

        return jax.linear_transpose(linear, *likes)(list(leaves[len(known) :]))

    out = iter(_bind(transposed, known, cotangents, group_size))
    return [next(out) if u else None for u in unknown]


ad.primitive_transposes[_call] = _transpose


def _jvp(primals, tangents, *, jaxpr, num_fixed, group_size):
    call = functools.partial(_call.bind, jaxpr=jaxpr, num_fixed=num_fixed, group_size=group_size)
    moves = [not isinstance(t, ad.Zero) for t in tangents]
    if not any(moves[:num_fixed]):
        directions = map(ad.instantiate_zeros, tangents[num_fixed:])
        return call(*primals), call(*primals[:num_fixed], *directions)

    def of_moving(*moving):
        moving = iter(moving)
        return run(jaxpr, *(next(moving) if m else x for x, m in zip(primals, moves, strict=True)))

    some = tuple(x for x, m in zip(primals, moves, strict=True) if m)
    return call(*primals), jax.jvp(of_moving, some, tuple(t for t, m in zip(tangents, moves, strict=True) if m))[1]


ad.primitive_jvps[_call] = _jvp
