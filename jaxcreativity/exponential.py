"""An exponential for the innermost loops of a CPU."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Of 2^f for |f| <= 1/2, highest power first: least squares of the relative error at Chebyshev nodes, at most 2e-9.
_COEFFICIENTS = (1.5337577e-4, 1.3399860e-3, 9.6185195e-3, 5.5503290e-2, 2.4022647e-1, 6.9314721e-1, 1.0)


@jax.custom_jvp
def exp(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`exp(x)` for x <= 0, in half the time of XLA's on a CPU.

    In float32 it is `2^n 2^f` with `n` the integer nearest to `x / log 2` and a polynomial for `2^f`: relative error at
    most `1e-7 (2 + |x|)`, and above 0 however small x. Of other types and on accelerators it is `jnp.exp`.
    """
    if x.dtype != jnp.float32 or jax.default_backend() != "cpu":
        return jnp.exp(x)
    t = jnp.maximum(x * 1.4426950408889634, -126.0)
    n = jnp.round(t)
    f = t - n
    power = functools.reduce(lambda value, c: value * f + c, _COEFFICIENTS[1:], jnp.full_like(f, _COEFFICIENTS[0]))
    # The last bits of `n + 1.5 * 2^23` are those of the integer n: quicker than XLA's conversion.
    exponent = jax.lax.bitcast_convert_type(n + 1.5 * 2**23, jnp.int32) << 23
    return jax.lax.bitcast_convert_type(jax.lax.bitcast_convert_type(power, jnp.int32) + exponent, x.dtype)


@exp.defjvp
def _(primals, tangents):
    y = exp(*primals)
    return y, y * tangents[0]
