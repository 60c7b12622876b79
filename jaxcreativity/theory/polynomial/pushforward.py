"""What a separable polynomial denoiser generates along a finite noise grid: the push-forward of N(0, 1).

With eta = 0 each coordinate of the sample is a polynomial x = Phi(z) of one Gaussian number, of degree p^N. Its law
follows by change of variables over the monotone branches of Phi,

    p(x) = sum_{z: Phi(z) = x} phi(z) / |Phi'(z)|,    P(Phi <= x) = Gaussian mass of {z: Phi(z) <= x}.

How branches and preimages are found: `_branches`. See docs/theory/polynomial.md.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks
from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity.theory.polynomial._branches import monotone_branches, preimages
from jaxcreativity.theory.polynomial._chain import over_coordinates, with_slope
from jaxcreativity.theory.polynomial.separable import PolynomialDenoiser, check_one_law, check_separable, to_coordinates

_QUERIES_AT_ONCE = 256


def log_density(
    denoiser: PolynomialDenoiser,
    x: Float[ArrayLike, "n *shape"],
    sigmas: Float[ArrayLike, " levels"],
    *,
    z_max: float = 10.0,
    max_branches: int = 8,
) -> Float[Array, " n"]:
    """Log-density, in nats, at `x` of what `sampling.sample` generates along `sigmas` with eta = 0.

    Exact but where only seeds beside diverging ones lead, far out in the tails (beyond six standard deviations for the
    exponential law at degree 3): there, turns of the map lie closer than the cells in which they are sought.
    Differentiable (first order) with respect to `x`, `sigmas` and what the denoiser was made from.

    Args:
        denoiser: separable: from `from_moments`, or `fit` with basis `"pixel"` or `"pca"` (then a product of laws).
        x: points `(n, *shape)`; `(n,)` for a denoiser made by `from_moments`.
        sigmas: noise grid.
        z_max: seeds beyond it are left out; a point that only they reach has density 0.
        max_branches: the most preimages that are counted for one point, those of smallest |z| first.

    Raises:
        ValueError: for a bad grid, points of another shape, a denoiser that is not separable, or constant coordinates.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcreativity import schedules
        >>> from jaxcreativity.theory import polynomial
        >>> gaussian = polynomial.from_moments([1.0, 0.0, 1.0], 1)
        >>> sigmas = schedules.grid(schedules.log_linear(0.02, 20.0), 5)
        >>> log_p = polynomial.log_density(gaussian, jnp.array([-1.0, 1.0]), sigmas)
        >>> log_p.shape, bool(abs(log_p[0] - log_p[1]) < 1e-4)
        ((2,), True)
    """
    check_one_law(denoiser, "log_density")
    x = _points(denoiser, x)
    coords = jax.vmap(partial(to_coordinates, denoiser))(x)
    log_densities = _marginals(denoiser, coords, sigmas, _log_density, z_max, max_branches)
    return log_densities.reshape(x.shape[0], -1).sum(axis=1)


def density(
    denoiser: PolynomialDenoiser,
    x: Float[ArrayLike, "n *shape"],
    sigmas: Float[ArrayLike, " levels"],
    *,
    z_max: float = 10.0,
    max_branches: int = 8,
) -> Float[Array, " n"]:
    """Density of the generated law at `x`, the exponential of `log_density`.

    Args:
        denoiser: as in `log_density`.
        x: points `(n, *shape)`.
        sigmas: noise grid.
        z_max: as in `log_density`.
        max_branches: as in `log_density`.

    Raises:
        ValueError: as `log_density`.
    """
    return jnp.exp(log_density(denoiser, x, sigmas, z_max=z_max, max_branches=max_branches))


def marginal_density(
    denoiser: PolynomialDenoiser,
    coords: Float[ArrayLike, "n *coords"],
    sigmas: Float[ArrayLike, " levels"],
    *,
    z_max: float = 10.0,
    max_branches: int = 8,
) -> Float[Array, "n *coords"]:
    """Density of each coordinate on its own (entries, or principal coordinates).

    Args:
        denoiser: as in `log_density`.
        coords: points, in those coordinates.
        sigmas: noise grid.
        z_max: as in `log_density`.
        max_branches: as in `log_density`.

    Raises:
        ValueError: as `log_density`.
    """
    check_one_law(denoiser, "marginal_density")
    coords = jnp.asarray(coords)
    return jnp.exp(_marginals(denoiser, coords, sigmas, _log_density, z_max, max_branches))


def cdf(
    denoiser: PolynomialDenoiser,
    coords: Float[ArrayLike, "n *coords"],
    sigmas: Float[ArrayLike, " levels"],
    *,
    z_max: float = 10.0,
    max_branches: int = 8,
) -> Float[Array, "n *coords"]:
    """Distribution function of each coordinate of the generated law.

    Trajectories that diverge count at the infinity that they reach. Coordinates may be constant.

    Args:
        denoiser: as in `log_density`.
        coords: points, in the coordinates in which the denoiser is separable.
        sigmas: noise grid.
        z_max: as in `log_density`.
        max_branches: as in `log_density`.

    Raises:
        ValueError: for a bad grid, points of another shape or a denoiser that is not separable.
    """
    check_separable(denoiser, "cdf")
    coords = jnp.asarray(coords)
    return _marginals(denoiser, coords, sigmas, _cdf, z_max, max_branches)


def expected_log_likelihood(
    denoiser: PolynomialDenoiser,
    x: Float[ArrayLike, "n *shape"],
    sigmas: Float[ArrayLike, " levels"],
    weights: Float[ArrayLike, " n"] | None = None,
    **options: float | int,
) -> Float[Array, ""]:
    """`E[log p(x)]` of the generated density p under the target, in nats per example.

    Args:
        denoiser: as in `log_density`.
        x: samples of the target, or quadrature points.
        sigmas: noise grid.
        weights: of the quadrature points (density times spacing); they are normalised. Equal by default.
        **options: `z_max` and `max_branches` of `log_density`.

    Raises:
        ValueError: as `log_density`.
    """
    values = log_density(denoiser, x, sigmas, **options)
    if weights is None:
        return values.mean()
    weights = jnp.asarray(weights)
    # 0 log 0 = 0: a point without weight may lie outside the support.
    return jnp.sum(jnp.where(weights > 0, weights * jnp.where(weights > 0, values, 0.0), 0.0)) / weights.sum()


def _log_density(chain, branches, x, *, max_branches):
    z, _, _, found = preimages(chain, branches, x, max_branches)
    _, slope = with_slope(chain, z)
    terms = norm.logpdf(z) - jnp.log(jnp.abs(jnp.where(found, slope, 1.0)))
    terms = jnp.where(found, terms, -jnp.inf)
    # logsumexp of nothing is -inf, but its derivative is NaN.
    any_found = found.any(axis=1)
    total = jax.scipy.special.logsumexp(jnp.where(any_found[:, None], terms, 0.0), axis=1)
    return jnp.where(any_found, total, -jnp.inf)


def _cdf(chain, branches, x, *, max_branches):
    edges, values = branches
    below = values[None] <= x[:, None]
    mass = norm.cdf(edges[1:]) - norm.cdf(edges[:-1])
    total = dot((below[:, :-1] & below[:, 1:]).astype(x.dtype), mass)
    z, cell, found, _ = preimages(chain, branches, x, max_branches)
    rising = jnp.take_along_axis(below, cell, axis=1)
    part = jnp.where(rising, norm.cdf(z) - norm.cdf(edges[cell]), norm.cdf(edges[cell + 1]) - norm.cdf(z))
    outside = norm.cdf(edges[0]) * (below[:, 0].astype(x.dtype) + below[:, -1].astype(x.dtype))
    return total + jnp.sum(jnp.where(found, part, 0.0), axis=1) + outside


def _points(denoiser, x):
    x = jnp.asarray(x)
    if x.ndim != len(denoiser.shape) + 1 or x.shape[1:] != denoiser.shape:
        raise ValueError(f"x must have shape (n, *{denoiser.shape}), got {x.shape}")
    return x


def _marginals(denoiser, coords, sigmas, function, z_max, max_branches):
    sigmas = _checks.noise_grid(sigmas)
    _checks.positive_int("max_branches", max_branches)
    shape = denoiser.target.mean.shape
    if coords.shape[1:] != shape:
        raise ValueError(f"coordinates must have shape (n, *{shape}), got {coords.shape}")
    return _compiled_marginals(denoiser, coords, sigmas, z_max, function=function, max_branches=max_branches)


@partial(jax.jit, static_argnames=("function", "max_branches"))
def _compiled_marginals(denoiser, coords, sigmas, z_max, *, function, max_branches):
    def one(chain, x):
        branches = jax.lax.stop_gradient(monotone_branches(partial(chain, frozen=True), z_max, sigmas.dtype))
        chunks = -(-x.size // _QUERIES_AT_ONCE)
        padded = jnp.pad(x, (0, chunks * _QUERIES_AT_ONCE - x.size), mode="edge")
        chunk = partial(function, chain, branches, max_branches=max_branches)
        return jax.lax.map(chunk, padded.reshape(chunks, _QUERIES_AT_ONCE)).ravel()[: x.size]

    columns = coords.reshape(coords.shape[0], -1).T.astype(sigmas.dtype)
    return over_coordinates(denoiser, sigmas, one, columns).T.reshape(coords.shape)
