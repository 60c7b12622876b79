"""Polynomial denoisers that act on each coordinate on its own: pixels, principal components, or one number."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics.levels import nearest_level
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.theory.polynomial import _orthogonal


@_pytree.dataclass
class PolynomialDenoiser:
    """The best denoiser among polynomials of degree p in each coordinate; made by `polynomial.from_moments` and `fit`.

    Coordinates are the entries of an example, or with `vectors` those of `vectors^T (y - offset)`. `target` holds
    what a degree p can see of each coordinate's law, its moments up to 2p. With `levels`, the coefficients of these
    noise levels are stored and a call uses those of the nearest one (in ratio); without, a call computes them.
    """

    target: _orthogonal.Recurrence
    offset: Float[Array, "*shape"] | None = None
    vectors: Float[Array, "d d"] | None = None
    levels: Float[Array, " levels"] | None = None
    table: _orthogonal.Expansion | None = None

    @property
    def degree(self) -> int:
        """Largest degree in any one coordinate."""
        return self.target.degree

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.target.mean.shape if self.offset is None else self.offset.shape

    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `y`; infinite, never NaN, where the polynomial overflows."""
        y = _checks.example("y", y, self.shape)
        coords = _orthogonal.evaluate(self.at(sigma), to_coordinates(self, y))
        return from_coordinates(self, coords).astype(y.dtype)

    def at(self, sigma: NoiseLevel) -> _orthogonal.Expansion:
        """The coefficients of every coordinate at one noise level."""
        if self.table is None:
            return _orthogonal.project(self.target, sigma)
        level = nearest_level(self.levels, sigma)
        return jax.tree.map(lambda leaf: leaf[level], self.table)


def to_coordinates(denoiser: PolynomialDenoiser, x: Float[Array, "*shape"]) -> Float[Array, "*coords"]:
    """The coordinates in which the denoiser is separable."""
    if denoiser.vectors is None:
        return x
    centred = (x - denoiser.offset.astype(x.dtype)).ravel()
    # One infinite coordinate makes every pixel infinite, and from then on the example stays as it is.
    centred = jnp.where(jnp.isfinite(centred).all() | jnp.isnan(centred), centred, jnp.inf)
    rotated = jnp.matmul(
        denoiser.vectors.T.astype(x.dtype), jnp.where(jnp.isinf(centred), 0.0, centred), precision="highest"
    )
    return jnp.where(jnp.isinf(centred), jnp.inf, rotated)


def from_coordinates(denoiser: PolynomialDenoiser, coords: Float[Array, "*coords"]) -> Float[Array, "*shape"]:
    """The example with these coordinates."""
    if denoiser.vectors is None:
        return coords
    infinite = jnp.isinf(coords).any()
    safe = jnp.where(jnp.isinf(coords), 0.0, coords)
    rotated = jnp.matmul(denoiser.vectors.astype(coords.dtype), safe, precision="highest")
    return jnp.where(infinite, jnp.inf, rotated.reshape(denoiser.shape) + denoiser.offset.astype(coords.dtype))


def tabulate(denoiser: PolynomialDenoiser, sigmas: Float[Array, " levels"]) -> PolynomialDenoiser:
    """The same denoiser with its coefficients computed once for every positive level of a noise grid."""
    levels = sigmas[:-1]
    table = _project_all(denoiser.target, levels)
    return PolynomialDenoiser(denoiser.target, denoiser.offset, denoiser.vectors, levels, table)


@jax.jit
def _project_all(target, levels):
    return jax.lax.map(partial(_orthogonal.project, target), levels)


def from_moments(moments: Float[Array, " orders"], degree: int) -> PolynomialDenoiser:
    """See `polynomial.from_moments`."""
    moments = moments.astype(jnp.promote_types(moments.dtype, jnp.float32))
    return PolynomialDenoiser(_orthogonal.from_moments(moments, degree))


def fit_pixel(x: Float[Array, "n *shape"], degree: int) -> PolynomialDenoiser:
    """Every entry of an example on its own."""
    return PolynomialDenoiser(_orthogonal.from_samples(x, degree))


def fit_pca(x: Float[Array, "n *shape"], degree: int) -> PolynomialDenoiser:
    """Every principal coordinate on its own; those of rounding-sized variance count as constant."""
    flat = x.reshape(x.shape[0], -1)
    mean = flat.mean(axis=0)
    mean = mean + (flat - mean[None]).mean(axis=0)
    centred = flat - mean[None]
    values, vectors = jnp.linalg.eigh(jnp.matmul(centred.T, centred, precision="highest") / flat.shape[0])
    floor = jnp.sqrt(flat.shape[1] * jnp.finfo(x.dtype).eps * values[-1])
    target = _orthogonal.from_samples(jnp.matmul(centred, vectors, precision="highest"), degree, floor)
    return PolynomialDenoiser(target, mean.reshape(x.shape[1:]), vectors)


def check_one_law(denoiser: PolynomialDenoiser, caller: str) -> None:
    """Raise unless the denoiser is separable and every coordinate varies."""
    if not isinstance(denoiser, PolynomialDenoiser):
        raise ValueError(
            f"{caller} needs a separable polynomial denoiser (from_moments, or fit with basis 'pixel' or 'pca'), "
            f"got {type(denoiser).__name__}; its samples can be drawn with sampling.sample"
        )
    constant = denoiser.target.constant
    if _checks.is_concrete(constant) and bool(constant.any()):
        count = int(constant.sum())
        raise ValueError(
            f"{caller}: {count} of {math.prod(constant.shape)} coordinate(s) are constant, so the generated law has no "
            "density; leave them out of the data, or use cdf"
        )
