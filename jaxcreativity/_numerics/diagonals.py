"""Sums along short diagonals, a linear function whose transpose is as quick as it is.

The transpose that JAX derives, a sum of arrays that are padded one by one, takes ten times as long on CPUs.
"""

import functools

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float


def sum_diagonals(x: Float[Array, "*n a b"], length: int, stride: int) -> Float[Array, "*n c d"]:
    """`out[.., i, j] = sum_l x[.., i + l, j + l stride]` for l from 0 to `length - 1`, wherever all of these are.

    Args:
        x: arrays.
        length: entries to a sum.
        stride: columns from one of them to the next.
    """
    return _sums.bind(x, length=length, stride=stride, spread=False)


def _run(x, *, length, stride, spread):
    """The sums, or their transpose, which are such sums again if there are zeros all around."""
    if spread:
        rows, columns = length - 1, (length - 1) * stride
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(rows, rows), (columns, columns)])
        starts = range(length - 1, -1, -1)
    else:
        starts = range(length)
    h, w = x.shape[-2] - length + 1, x.shape[-1] - (length - 1) * stride
    return functools.reduce(jnp.add, (x[..., i : i + h, i * stride : i * stride + w] for i in starts))


_sums = Primitive("sum_diagonals")
_sums.def_impl(jax.jit(_run, static_argnames=("length", "stride", "spread")))


@_sums.def_abstract_eval
def _(x, *, length, stride, spread):
    return x.update(shape=jax.eval_shape(functools.partial(_run, length=length, stride=stride, spread=spread), x).shape)


mlir.register_lowering(_sums, mlir.lower_fun(_run, multiple_results=False))


def _transpose(cotangent, x, *, length, stride, spread):
    return [_sums.bind(cotangent, length=length, stride=stride, spread=not spread)]


ad.deflinear2(_sums, _transpose)


def _batch(args, dims, **options):
    return _sums.bind(jnp.moveaxis(args[0], dims[0], 0), **options), 0


batching.primitive_batchers[_sums] = _batch
