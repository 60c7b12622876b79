"""Where a property of numbers changes, for many brackets at once."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcreativity import _checks


def change_point(
    same: Callable[..., Bool[Array, ""]],
    low: Float[Array, " n"],
    high: Float[Array, " n"],
    *args: jax.Array,
    steps: int,
) -> Float[Array, " n"]:
    """The z at which `same(z, *args)`, true at `low`, turns false; `high` if it does not. No derivative passes.

    Args:
        same: of one number and what belongs to its bracket.
        low: one end of each bracket.
        high: the other end.
        *args: one entry for each bracket.
        steps: halvings; the error is that share, `2^-steps`, of a bracket.

    Raises:
        ImportError: if optimistix is not installed.
    """
    _checks.needs("theory", "optimistix")
    import optimistix as optx  # takes as long to load as all of this package: loaded where it is used

    def one(low, high, *args):
        sign = lambda z, args: jnp.where(same(z, *args), -1.0, 1.0).astype(z.dtype)  # noqa: E731
        # A sign has no size to converge in: the number of steps ends it.
        solver = optx.Bisection(rtol=0.0, atol=0.0, flip=False)
        bracket = {"lower": low, "upper": high}
        middle = 0.5 * (low + high)
        return optx.root_find(sign, solver, middle, args, options=bracket, max_steps=steps, throw=False).value

    return jax.lax.stop_gradient(jax.vmap(one)(low, high, *args))
