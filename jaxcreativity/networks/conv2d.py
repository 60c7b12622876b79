"""A convolution whose kernel's gradient is one matrix product on a CPU, where XLA's own is several times slower.

With output gradient g the gradient of a `(kh, kw, c, d)` kernel is, at offset (i, j), the sum over pixels p of
`x[p + (i, j)] g[p]`. That is the sum over q of `x[q + (0, j)] g[q - (i, 0)]`: kh copies of g shifted along columns
times kw copies of x shifted along rows, `(kh d, pixels) @ (pixels, kw c)`, instead of the kh kw copies of x that a
product with all patches takes.

A primitive, not a `jax.custom_vjp`: the gradient is exact algebra, so forward mode, second derivatives and `vmap` stay.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, ArrayLike, Float

Padding = tuple[tuple[int, int], tuple[int, int]]
_NUMBERS = ("NHWC", "HWIO", "NHWC")


def conv_general_dilated(lhs, rhs, window_strides, padding, **options) -> Array:
    """`jax.lax.conv_general_dilated` as `flax.linen.Conv` calls it; by `conv2d` where that does the same."""
    dilations = (*(options.get("lhs_dilation") or ()), *(options.get("rhs_dilation") or ()))
    plain = lhs.ndim == 4 and lhs.dtype == rhs.dtype and options.get("feature_group_count", 1) == 1
    if not plain or options.get("precision") is not None or any(n != 1 for n in (*window_strides, *dilations)):
        return jax.lax.conv_general_dilated(lhs, rhs, window_strides, padding, **options)
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], window_strides, padding)
    return conv2d(lhs, rhs, tuple((int(before), int(after)) for before, after in padding))


def conv2d(
    x: Float[ArrayLike, "n height width c"], kernel: Float[ArrayLike, "kh kw c d"], padding: Padding
) -> Float[Array, "n rows columns d"]:
    """Correlate images with a kernel: `out[p] = sum_ij x[p + (i, j)] kernel[i, j]`.

    Args:
        x: images.
        kernel: kernel.
        padding: zeros added before and after the rows, and the columns.
    """
    return _primitive.bind(x, kernel, padding=padding)


def _plain(x, kernel, *, padding):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=_NUMBERS)


def _shape(x, kernel, *, padding):
    out = jax.eval_shape(partial(_plain, padding=padding), x, kernel)
    return jax.core.ShapedArray(out.shape, out.dtype)


def _gradient_of_images(g, x, kernel, *, padding):
    return jax.linear_transpose(partial(_plain, kernel=kernel, padding=padding), x.aval)(g)[0]


def _gradient_of_kernel(g, x, kernel, *, padding):
    if jax.default_backend() != "cpu":
        return jax.linear_transpose(partial(_plain, x, padding=padding), kernel.aval)(g)[0]
    kh, kw, c, d = kernel.aval.shape
    (above, _), (before, _) = padding
    x = jnp.concatenate([_shifted(x, 2, j - before, g.shape[2]) for j in range(kw)], axis=-1)
    g = jnp.concatenate([_shifted(g, 1, above - i, x.shape[1]) for i in range(kh)], axis=-1)
    product = jnp.matmul(g.reshape(-1, kh * d).T, x.reshape(-1, kw * c))
    return product.reshape(kh, d, kw, c).transpose(0, 2, 3, 1)


def _shifted(x, axis, shift, length):
    """Entries `shift, ..., shift + length - 1` of an axis, zeros outside it."""
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (-shift, length + shift - x.shape[axis], 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), pads)


def _batched(arrays, axes, *, padding):
    x, kernel = arrays
    if axes[1] is not None:
        return jax.vmap(partial(_plain, padding=padding), axes)(x, kernel), 0
    x = jnp.moveaxis(x, axes[0], 0)
    out = conv2d(x.reshape(-1, *x.shape[2:]), kernel, padding)
    return out.reshape(*x.shape[:2], *out.shape[1:]), 0


# The name is also what tells `training` that a step holds convolutions.
_primitive = Primitive("conv_general_dilated_2d")
_primitive.def_impl(_plain)
_primitive.def_abstract_eval(_shape)
mlir.register_lowering(_primitive, mlir.lower_fun(_plain, multiple_results=False))
ad.defbilinear(_primitive, _gradient_of_images, _gradient_of_kernel)
batching.primitive_batchers[_primitive] = _batched
