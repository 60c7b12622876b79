"""Functions of a symmetric matrix, `f(M) = U diag(f(lambda)) U^H`, differentiable where eigenvalues coincide.

The derivative of an eigendecomposition divides by eigenvalue gaps, and real covariances have none in places (constant
pixels, fewer images than pixels). The derivative of `f(M)` itself exists all the same (Daleckii & Krein 1965; Higham,
*Functions of Matrices*, 2008, theorem 3.11):

    d f(M) = U (Gamma * (U^H dM U)) U^H,   Gamma_ij = (f(l_i) - f(l_j)) / (l_i - l_j),   f'(l) where l_i = l_j.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, Real

from jaxcreativity import _pytree
from jaxcreativity._numerics.arithmetic import dot

SpectralFunction: TypeAlias = Callable[..., jax.Array]
"""`(eigenvalues, *parameters) -> values`, elementwise in the eigenvalues; a module-level function."""


@_pytree.dataclass
class Eigendecomposition:
    """Positive semi-definite matrices with their eigendecompositions, one per block.

    `values` and `vectors` are a cache of `matrix`: `decompose` cuts their derivative, and `apply` restores it through
    `matrix`. To optimise eigenvalues at fixed eigenvectors, differentiate with respect to `values` alone.

    Attributes:
        matrix: the blocks.
        values: their eigenvalues, ascending, at least 0.
        vectors: their eigenvectors, as columns.
    """

    matrix: Inexact[Array, "blocks b b"]
    values: Real[Array, "blocks b"]
    vectors: Inexact[Array, "blocks b b"]


def wiener_gain(values: Real[Array, "*shape"], variance: Real[Array, ""]) -> Real[Array, "*shape"]:
    """`lambda / (lambda + sigma^2)`: the part of an eigenmode that the best linear denoiser keeps (Wiener 1949).

    Where both are 0 it is the limit of no noise, 0.

    Args:
        values: eigenvalues of the covariance, lambda.
        variance: of the noise, sigma^2.
    """
    total = values + variance
    return jnp.where(total > 0, values / jnp.where(total > 0, total, 1.0), 0.0)


def decompose(matrix: Inexact[Array, "blocks b b"]) -> Eigendecomposition:
    """Eigendecomposition of symmetric (Hermitian) blocks; rounding below zero is cut, values ascend."""
    values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(matrix))
    return Eigendecomposition(matrix, jnp.maximum(values, 0.0), vectors)


def apply(
    function: SpectralFunction,
    spectrum: Eigendecomposition,
    parameters: tuple,
    u: Inexact[Array, "blocks b *columns"],
) -> Inexact[Array, "blocks b *columns"]:
    """`f(M) u` for every block, with the derivative of this module's docstring.

    Args:
        function: `(eigenvalues (b,), *parameters) -> (b,)`, elementwise, smooth.
        spectrum: from `decompose`.
        parameters: further arguments of `function`, the same for every block.
        u: one vector or a few columns per block.

    First derivatives with respect to `spectrum.matrix` are exact; second ones with respect to it raise.
    """
    columns = u if u.ndim == 3 else u[..., None]
    per_block = partial(_apply_block, function)
    out = jax.vmap(per_block, in_axes=(0, None, 0))(spectrum, parameters, columns)
    return out if u.ndim == 3 else out[..., 0]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _apply_block(function, spectrum, parameters, columns):
    gains = function(spectrum.values, *parameters)
    return _rotate(spectrum.vectors, gains[:, None] * _unrotate(spectrum.vectors, columns))


@partial(_apply_block.defjvp, symbolic_zeros=True)
def _apply_block_jvp(function, primals, tangents):
    spectrum, parameters, columns = primals
    spectrum_dot, parameters_dot, columns_dot = tangents
    is_zero = lambda t: isinstance(t, jax.custom_derivatives.SymbolicZero)  # noqa: E731
    fill = lambda primal, tangent: jnp.zeros_like(primal) if is_zero(tangent) else tangent  # noqa: E731

    rotated = _unrotate(spectrum.vectors, columns)
    scalar_primals = (spectrum.values, *parameters)
    scalar_tangents = tuple(map(fill, scalar_primals, (spectrum_dot.values, *parameters_dot)))
    gains, gains_dot = jax.jvp(function, scalar_primals, scalar_tangents)
    out = _rotate(spectrum.vectors, gains[:, None] * rotated)
    rotated_dot = gains_dot[:, None] * rotated
    if not is_zero(columns_dot):
        rotated_dot = rotated_dot + gains[:, None] * _unrotate(spectrum.vectors, columns_dot)
    if not is_zero(spectrum_dot.matrix):
        matrix_dot = _unrotate(spectrum.vectors, dot(spectrum_dot.matrix, spectrum.vectors))
        differences = _divided_differences(function, spectrum.values, parameters)
        values_once = _first_order_only(differences, spectrum.matrix)
        rotated_dot = rotated_dot + dot(values_once * matrix_dot, rotated)
    return out, _rotate(spectrum.vectors, rotated_dot)


def _divided_differences(function, values, parameters):
    slope_direction = (jnp.ones_like(values), *map(jnp.zeros_like, parameters))
    f, slope = jax.jvp(function, (values, *parameters), slope_direction)
    gap = values[:, None] - values[None, :]
    mean_slope = 0.5 * (slope[:, None] + slope[None, :])
    # Balances the rounding of the quotient, eps / gap, against the mean slope's error, gap**2.
    eps = jnp.finfo(values.dtype).eps
    size = jnp.maximum(values[:, None], values[None, :])
    close = jnp.abs(gap) <= eps ** (1 / 3) * size
    gap = jnp.where(close, 1.0, gap)
    quotient = (f[:, None] - f[None, :]) / gap
    # Eigenvalues that are rounding (of a singular matrix) are not close in ratio. Where the quotient is rounding, too,
    # the mean slope is taken as far as that rounding allows.
    rounding = 64 * eps * jnp.maximum(jnp.abs(f)[:, None], jnp.abs(f)[None, :]) / jnp.abs(gap)
    return jnp.where(close, mean_slope, jnp.clip(mean_slope, quotient - rounding, quotient + rounding))


@jax.custom_jvp
def _first_order_only(differences, matrix):
    del matrix
    return differences


@partial(_first_order_only.defjvp, symbolic_zeros=True)
def _first_order_only_jvp(primals, tangents):
    if not isinstance(tangents[1], jax.custom_derivatives.SymbolicZero):
        raise NotImplementedError(
            "second derivatives with respect to the covariance (or the data behind it) are not implemented; "
            "differentiate twice with respect to the noise or noise level only"
        )
    differences_dot = tangents[0]
    if isinstance(differences_dot, jax.custom_derivatives.SymbolicZero):
        differences_dot = jnp.zeros_like(primals[0])
    return primals[0], differences_dot


def _rotate(vectors, columns):
    return dot(vectors, columns)


def _unrotate(vectors, columns):
    return dot(vectors.conj().T, columns)
