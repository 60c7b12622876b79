"""How a function changes with those of its arguments that move."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jaxtyping import Array


def change(function: Callable[..., Any], args: Sequence[Array | None], tangents: Sequence[Array | None]) -> Any:
    """The change of `function(*args)`, linear in the tangents; `None` if nothing moves.

    Args:
        function: of arrays, each of which may be `None`.
        args: its arguments.
        tangents: the change of each; `None` is no change.
    """
    moves = [tangent is not None for tangent in tangents]
    if not any(moves):
        return None

    def of_moving(*moving):
        moving = iter(moving)
        return function(*(next(moving) if m else x for x, m in zip(args, moves, strict=True)))

    some = tuple(x for x, m in zip(args, moves, strict=True) if m)
    return jax.jvp(of_moving, some, tuple(t for t in tangents if t is not None))[1]
