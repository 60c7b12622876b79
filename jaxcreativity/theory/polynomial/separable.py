"""Polynomial denoisers that act on each coordinate on its own: pixels, principal components, or one number."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity._numerics.levels import LevelTable
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.theory.polynomial import _expansion, _moments, _recurrence
from jaxcreativity.theory.polynomial._expansion import Expansion
from jaxcreativity.theory.polynomial._recurrence import Recurrence


@_pytree.dataclass
class PolynomialDenoiser:
    """The best denoiser among polynomials of degree p in each coordinate; made by `polynomial.from_moments` and `fit`.

    Coordinates are the entries of an example, or with `vectors` those of `vectors^T (y - offset)`.

    Args:
        target: what a degree p can see of each coordinate's law, its moments up to 2p.
        offset: the example whose coordinates are 0, if they are not the entries.
        vectors: orthogonal; its columns are the directions of the coordinates.
        table: coefficients of some noise levels (`polynomial.tabulate`), of which a call uses those of the nearest one
            (in ratio); without it, a call computes its own.
    """

    target: Recurrence
    offset: Float[Array, "*shape"] | None = None
    vectors: Float[Array, "d d"] | None = None
    table: LevelTable | None = None

    @property
    def degree(self) -> int:
        """Largest degree in any one coordinate."""
        return self.target.degree

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.target.mean.shape if self.offset is None else self.offset.shape

    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `y`; infinite, never NaN, where the polynomial overflows.

        Raises:
            ValueError: if `y` is not one floating-point example of the shape of those that were fitted, or `sigma` is
                negative or NaN.
        """
        y = _checks.example("y", y, self.shape)
        coords = _expansion.evaluate(self.at(sigma), to_coordinates(self, y))
        return from_coordinates(self, coords).astype(y.dtype)

    def at(self, sigma: NoiseLevel) -> Expansion:
        """The coefficients of every coordinate at one noise level.

        Raises:
            ValueError: if `sigma` is known to be negative or NaN.
        """
        sigma = _checks.noise_level(sigma)
        return _expansion.project(self.target, sigma) if self.table is None else self.table.at(sigma)


def to_coordinates(denoiser: PolynomialDenoiser, x: Float[Array, "*shape"]) -> Float[Array, "*coords"]:
    """The coordinates in which the denoiser is separable."""
    if denoiser.vectors is None:
        return x
    centred = (x - denoiser.offset.astype(x.dtype)).ravel()
    # One infinite coordinate makes every pixel infinite, and from then on the example stays as it is.
    centred = jnp.where(jnp.isfinite(centred).all() | jnp.isnan(centred), centred, jnp.inf)
    rotated = dot(denoiser.vectors.T.astype(x.dtype), jnp.where(jnp.isinf(centred), 0.0, centred))
    return jnp.where(jnp.isinf(centred), jnp.inf, rotated)


def from_coordinates(denoiser: PolynomialDenoiser, coords: Float[Array, "*coords"]) -> Float[Array, "*shape"]:
    """The example with these coordinates."""
    if denoiser.vectors is None:
        return coords
    infinite = jnp.isinf(coords).any()
    safe = jnp.where(jnp.isinf(coords), 0.0, coords)
    rotated = dot(denoiser.vectors.astype(coords.dtype), safe)
    return jnp.where(infinite, jnp.inf, rotated.reshape(denoiser.shape) + denoiser.offset.astype(coords.dtype))


def coordinate_shift(denoiser: PolynomialDenoiser) -> Float[Array, " d"]:
    """How far the origin of the coordinates is from the example of zeros: `coords = vectors^T y - shift`, flattened."""
    if denoiser.vectors is None:
        return jnp.zeros_like(denoiser.target.mean.ravel())
    return dot(denoiser.vectors.T, denoiser.offset.ravel())


def tabulate(denoiser: PolynomialDenoiser, sigmas: Float[Array, " levels"]) -> PolynomialDenoiser:
    """The same denoiser with its coefficients computed once for every positive level of a noise grid."""
    table = LevelTable(sigmas[:-1], _project_all(denoiser.target, sigmas[:-1]))
    return PolynomialDenoiser(denoiser.target, denoiser.offset, denoiser.vectors, table)


@jax.jit
def _project_all(target, levels):
    return jax.lax.map(partial(_expansion.project, target), levels)


def from_moments(moments: Float[Array, " orders"], degree: int) -> PolynomialDenoiser:
    """See `polynomial.from_moments`.

    Raises:
        ValueError: as there.
    """
    moments = moments.astype(jnp.promote_types(moments.dtype, jnp.float32))
    return PolynomialDenoiser(_moments.from_moments(moments, degree))


def fit_pixel(x: Float[Array, "n *shape"], degree: int) -> PolynomialDenoiser:
    """Every entry of an example on its own."""
    return PolynomialDenoiser(_recurrence.from_samples(x, degree))


def fit_pca(x: Float[Array, "n *shape"], degree: int) -> PolynomialDenoiser:
    """Every principal coordinate on its own; those of rounding-sized variance count as constant."""
    flat = x.reshape(x.shape[0], -1)
    mean = flat.mean(axis=0)
    mean = mean + (flat - mean[None]).mean(axis=0)
    centred = flat - mean[None]
    values, vectors = jnp.linalg.eigh(dot(centred.T, centred) / flat.shape[0])
    floor = jnp.sqrt(flat.shape[1] * jnp.finfo(x.dtype).eps * values[-1])
    target = _recurrence.from_samples(dot(centred, vectors), degree, floor)
    return PolynomialDenoiser(target, mean.reshape(x.shape[1:]), vectors)


def check_separable(denoiser: PolynomialDenoiser, caller: str) -> None:
    """Check that each coordinate is on its own.

    Raises:
        ValueError: unless the denoiser is separable.
    """
    if not isinstance(denoiser, PolynomialDenoiser):
        raise ValueError(
            f"{caller} needs a separable polynomial denoiser (from_moments, or fit with basis 'pixel' or 'pca'), "
            f"got {type(denoiser).__name__}; its samples can be drawn with sampling.sample"
        )


def check_one_law(denoiser: PolynomialDenoiser, caller: str) -> None:
    """Check that each coordinate has a density of its own.

    Raises:
        ValueError: unless the denoiser is separable and every coordinate varies.
    """
    check_separable(denoiser, caller)
    constant = denoiser.target.constant
    if _checks.is_concrete(constant) and bool(constant.any()):
        count = int(constant.sum())
        raise ValueError(
            f"{caller}: {count} of {math.prod(constant.shape)} coordinate(s) are constant, so the generated law has no "
            "density; leave them out of the data, or use cdf"
        )
