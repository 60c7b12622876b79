"""What a separable polynomial denoiser generates along a finite noise grid: the push-forward of N(0, 1).

With eta = 0 each coordinate of the sample is a polynomial x = Phi(z) of one Gaussian number, of degree p^N. Its law
follows by change of variables over the monotone branches of Phi,

    p(x) = sum_{z: Phi(z) = x} phi(z) / |Phi'(z)|,    P(Phi <= x) = Gaussian mass of {z: Phi(z) <= x}.

The branches are found on a grid of cells over |z| <= z_max, cut at the zeros of Phi' (so that every cell is monotone),
and the preimages by safeguarded Newton steps, exact to rounding. Nothing of the search is differentiated: one Newton
step with derivatives at the solution carries them (implicit function theorem). Theory section 3.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks
from jaxcreativity.sampling import step_coefficients
from jaxcreativity.theory.polynomial import _orthogonal
from jaxcreativity.theory.polynomial.separable import PolynomialDenoiser, check_one_law, tabulate, to_coordinates

_CELLS = 2048
_TURNS = 128  # at most this many zeros of Phi' are cut out
_QUERIES_AT_ONCE = 256


def log_density(
    denoiser: PolynomialDenoiser,
    x: Float[ArrayLike, "n *shape"],
    sigmas: Float[ArrayLike, " levels"],
    *,
    z_max: float = 10.0,
    max_branches: int = 8,
) -> Float[Array, " n"]:
    """Log-density, in nats, at `x` of what `sampling.sample` generates along `sigmas` with eta = 0: exact.

    Differentiable (first order) with respect to `x`, `sigmas` and what the denoiser was made from.

    Args:
        denoiser: separable: from `from_moments`, or `fit` with basis `"pixel"` or `"pca"` (then a product of laws).
        x: points `(n, *shape)`; `(n,)` for a denoiser made by `from_moments`.
        sigmas: noise grid.
        z_max: seeds beyond it are left out; a point that only they reach has density 0.
        max_branches: the most preimages that are counted for one point, those of smallest |z| first.

    Raises:
        ValueError: for a bad grid, points of another shape, a denoiser that is not separable, or constant coordinates.
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
    """Density of the generated law at `x`, the exponential of `log_density`; arguments and errors are its."""
    return jnp.exp(log_density(denoiser, x, sigmas, z_max=z_max, max_branches=max_branches))


def marginal_density(
    denoiser: PolynomialDenoiser,
    coords: Float[ArrayLike, "n *coords"],
    sigmas: Float[ArrayLike, " levels"],
    *,
    z_max: float = 10.0,
    max_branches: int = 8,
) -> Float[Array, "n *coords"]:
    """Density of each coordinate on its own (entries, or principal coordinates); see `log_density`."""
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
    """Distribution function of each coordinate of the generated law; see `log_density`. Trajectories that diverge
    count at the infinity that they reach.
    """
    coords = jnp.asarray(coords)
    return _marginals(denoiser, coords, sigmas, _cdf, z_max, max_branches)


def generated_moments(
    denoiser: PolynomialDenoiser,
    sigmas: Float[ArrayLike, " levels"],
    order: int,
    *,
    z_max: float = 6.0,
) -> Float[Array, "orders *coords"]:
    """Moments 0 ... `order` of each generated coordinate, `E[Phi(z)^k | |z| <= z_max]`, by Gauss-Legendre panels.

    The restriction leaves out 2e-9 of the probability at the default, which no practical sample sees. Without it the
    moments of a polynomial of degree p^N are decided by seeds that never occur. They are infinite (or of rounding) if
    trajectories from within `z_max` diverge.

    Raises:
        ValueError: for a bad grid or `order < 1`.
    """
    _checks.positive_int("order", order)
    return _compiled_moments(denoiser, _checks.noise_grid(sigmas), order, z_max)


@partial(jax.jit, static_argnames="order")
def _compiled_moments(denoiser, sigmas, order, z_max):
    nodes, weights = np.polynomial.legendre.leggauss(16)
    panels = 128
    z = jnp.asarray(2 * np.arange(panels)[:, None] + 1 + nodes[None, :] - panels) * (z_max / panels)
    z = z.ravel().astype(sigmas.dtype)
    weights = jnp.tile(jnp.asarray(weights, sigmas.dtype), panels) * norm.pdf(z)
    weights = weights / weights.sum()

    def moments(chain):
        values = chain(z)
        powers = values[None, :] ** jnp.arange(order + 1)[:, None]
        # A power of infinity is infinite; its weight must not turn it into NaN.
        total = jnp.sum(powers * weights[None, :], axis=1)
        return jnp.where(jnp.isnan(total), jnp.inf, total)

    values = _over_coordinates(denoiser, sigmas, lambda chain, _: moments(chain), None)
    return jnp.moveaxis(values.reshape(*denoiser.target.mean.shape, order + 1), -1, 0)


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
    """
    values = log_density(denoiser, x, sigmas, **options)
    if weights is None:
        return values.mean()
    weights = jnp.asarray(weights)
    # 0 log 0 = 0: a point without weight may lie outside the support.
    return jnp.sum(jnp.where(weights > 0, weights * jnp.where(weights > 0, values, 0.0), 0.0)) / weights.sum()


def diverging_probability(
    denoiser: PolynomialDenoiser, sigmas: Float[ArrayLike, " levels"], *, z_max: float = 10.0
) -> Float[Array, "*coords"]:
    """Probability that the sampler on this grid returns an infinite coordinate (`sampling.diverged`), exact.

    The many-step counterpart is `blow_up_probability`.
    """
    return _compiled_diverging(denoiser, _checks.noise_grid(sigmas), z_max)


@jax.jit
def _compiled_diverging(denoiser, sigmas, z_max):
    edges = jnp.linspace(-z_max, z_max, _CELLS + 1, dtype=sigmas.dtype)

    def probability(chain, _):
        finite = jnp.isfinite(chain(edges))
        low, high = edges[:-1], edges[1:]

        def halve(_, bracket):
            low, high = bracket
            middle = 0.5 * (low + high)
            same = jnp.isfinite(chain(middle)) == finite[:-1]
            return jnp.where(same, middle, low), jnp.where(same, high, middle)

        cut = jax.lax.fori_loop(0, 40, halve, (low, high))[0]
        left, right = norm.cdf(cut) - norm.cdf(low), norm.cdf(high) - norm.cdf(cut)
        whole = norm.cdf(high) - norm.cdf(low)
        split = jnp.where(finite[:-1], right, left)
        lost = jnp.where(finite[:-1] == finite[1:], jnp.where(finite[:-1], 0.0, whole), split)
        outside = norm.cdf(-z_max) * ((~finite[0]) + (~finite[-1]))
        return lost.sum() + outside

    return _over_coordinates(denoiser, sigmas, probability, None).reshape(denoiser.target.mean.shape)


# --- one coordinate -----------------------------------------------------------------------------------------------


def _log_density(chain, branches, x, *, max_branches):
    z, _, _, found = _preimages(chain, branches, x, max_branches)
    _, slope = _with_slope(chain, z)
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
    total = jnp.matmul((below[:, :-1] & below[:, 1:]).astype(x.dtype), mass, precision="highest")
    z, cell, found, _ = _preimages(chain, branches, x, max_branches)
    rising = jnp.take_along_axis(below, cell, axis=1)
    part = jnp.where(rising, norm.cdf(z) - norm.cdf(edges[cell]), norm.cdf(edges[cell + 1]) - norm.cdf(z))
    outside = norm.cdf(edges[0]) * (below[:, 0].astype(x.dtype) + below[:, -1].astype(x.dtype))
    return total + jnp.sum(jnp.where(found, part, 0.0), axis=1) + outside


def _branches(chain, z_max, dtype):
    """Cell edges, ascending, such that Phi is monotone between neighbours; and Phi at them."""
    edges = jnp.linspace(-z_max, z_max, _CELLS + 1, dtype=dtype)
    rises = _with_slope(chain, edges)[1] > 0
    turns = jnp.nonzero(rises[:-1] != rises[1:], size=_TURNS, fill_value=0)[0]

    def halve(_, bracket):
        low, high = bracket
        middle = 0.5 * (low + high)
        same = (_with_slope(chain, middle)[1] > 0) == rises[turns]
        return jnp.where(same, middle, low), jnp.where(same, high, middle)

    critical = jax.lax.fori_loop(0, 45, halve, (edges[turns], edges[turns + 1]))[0]
    edges = jnp.sort(jnp.concatenate([edges, critical]))
    return edges, chain(edges)


def _preimages(chain, branches, x, max_branches):
    """The seeds that reach each `x`, smallest |z| first, their cells, and masks: which exist, which have a slope."""
    edges, values = branches
    frozen = partial(chain, frozen=True)
    fixed_x = jax.lax.stop_gradient(x)[:, None]
    below = values[None] <= fixed_x
    crosses = below[:, :-1] != below[:, 1:]
    by_size = jnp.argsort(jnp.abs(edges[:-1] + edges[1:]))
    first = jax.vmap(lambda row: jnp.nonzero(row, size=max_branches, fill_value=0)[0])(crosses[:, by_size])
    cell = by_size[first]
    found = jnp.arange(max_branches)[None] < crosses.sum(axis=1, keepdims=True)
    rising = jnp.take_along_axis(below, cell, axis=1)

    def newton(state):
        low, high, z, _, count = state
        value, slope = _with_slope(frozen, z)
        right = (value <= fixed_x) == rising  # the root lies to the right of z
        low, high = jnp.where(right, z, low), jnp.where(right, high, z)
        step = z - (value - fixed_x) / jnp.where(slope == 0, 1.0, slope)
        step = jnp.where((step >= low) & (step <= high), step, 0.5 * (low + high))
        return low, high, step, jnp.abs(step - z), count + 1

    def unfinished(state):
        _, _, z, moved, count = state
        tolerance = 4 * jnp.finfo(z.dtype).eps * jnp.maximum(jnp.abs(z), 1.0)
        return (count < 50) & jnp.any(found & (moved > tolerance))

    low, high = edges[cell], edges[cell + 1]
    start = (low, high, 0.5 * (low + high), high - low, 0)
    z = jax.lax.stop_gradient(jax.lax.while_loop(unfinished, newton, start)[2])
    z = jnp.where(found, z, 0.0)
    value, slope = _with_slope(frozen, z)
    # Where Phi jumps to infinity within rounding of z there is a preimage, but no derivative to speak of.
    smooth = found & jnp.isfinite(value) & jnp.isfinite(slope) & (slope != 0)
    residual = jnp.where(smooth, chain(z) - x[:, None], 0.0)
    # Its value is rounding; its derivative is that of the preimage.
    shift = residual / jnp.where(smooth, slope, 1.0)
    return z - (shift - jax.lax.stop_gradient(shift)), cell, found, smooth


def _with_slope(chain, z):
    return jax.jvp(chain, (z,), (jnp.ones_like(z),))


def _chain(table, sigmas, shift, z, frozen=False):
    """Phi: the sampler's deterministic chain of one coordinate."""
    if frozen:
        table, sigmas, shift = jax.lax.stop_gradient((table, sigmas, shift))

    def step(y, inputs):
        projection, sigma, sigma_next = inputs
        c, _ = step_coefficients(sigma, sigma_next, 0.0)
        kept = jnp.where(sigma_next > 0, c * y, 0.0)  # 0 times infinity in the last step
        return (1 - c) * _orthogonal.evaluate_once(projection, y) + kept, None

    return jax.lax.scan(step, sigmas[0] * z - shift, (table, sigmas[:-1], sigmas[1:]))[0]


# --- all coordinates ----------------------------------------------------------------------------------------------


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
        branches = jax.lax.stop_gradient(_branches(partial(chain, frozen=True), z_max, sigmas.dtype))
        chunks = -(-x.size // _QUERIES_AT_ONCE)
        padded = jnp.pad(x, (0, chunks * _QUERIES_AT_ONCE - x.size), mode="edge")
        chunk = partial(function, chain, branches, max_branches=max_branches)
        return jax.lax.map(chunk, padded.reshape(chunks, _QUERIES_AT_ONCE)).ravel()[: x.size]

    columns = coords.reshape(coords.shape[0], -1).T.astype(sigmas.dtype)
    return _over_coordinates(denoiser, sigmas, one, columns).T.reshape(coords.shape)


def _over_coordinates(denoiser, sigmas, function, columns):
    """`function(chain, column)` for each coordinate's chain, stacked."""
    table = tabulate(denoiser, sigmas).table
    d = denoiser.target.mean.size
    shift = jnp.zeros((d,), sigmas.dtype)
    if denoiser.vectors is not None:
        shift = jnp.matmul(denoiser.vectors.T, denoiser.offset.ravel(), precision="highest")
    num_coords = denoiser.target.mean.ndim

    def flatten(leaf):
        leaf = leaf.reshape(leaf.shape[0], d, *leaf.shape[1 + num_coords :])
        return jnp.moveaxis(leaf, 1, 0).astype(sigmas.dtype)

    def one(inputs):
        table, shift, column = inputs
        return function(partial(_chain, table, sigmas, shift), column)

    return jax.lax.map(one, (jax.tree.map(flatten, table), shift, columns))
