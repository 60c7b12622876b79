"""The posterior mean over weighted points: what every denoiser of finitely many atoms computes.

Energies `|y - x_i|^2` come from products, `|x_i|^2 - 2 x_i.y`, whose rounding, about eps |x|^2, is divided by
`T = 2 sigma^2`. Where T is large this does not show, and the points are streamed once, a batch with one product. Where
T is small few points have a weight (unless points have few coordinates, which is another case): the energies of the
leading ones are computed again by differences, relative to the nearest.

Derivatives are closed forms, too: with `w_i` the weights and `a_i` the change of `log w_i` but for a constant, the mean
m changes by `sum_i w_i a_i (v_i - m) + sum_i w_i dv_i`. They stream the points a second time and keep nothing of the
first.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks
from jaxcreativity._numerics import batching, streaming
from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity._numerics.linear_groups import even_group
from jaxcreativity._numerics.rows import RelativeRows, combine, inner, run_of, times

NUM_KEPT = 32
"""Leading points whose energies are computed by differences."""

FEW_COORDINATES = 16
"""In so few, many points can be near y, and differences cost no more than products: all energies are differences."""

ROUNDING_SHOWS = 2.0**16
"""The temperature, in units of eps |x|^2, below which leading energies are computed by differences.

Above it a weight is off by about 1e-5 of itself."""


class _Weighted(NamedTuple):
    """The posterior: its mean, and `sum_i exp(-(E_i - reference) / T)`, with E_i the energy less |y|^2.

    Only products need the last two again, for the derivative; differences return 0 for them.
    """

    mean: Array
    total: Array
    reference: Array


def posterior_mean(
    y: Float[Array, " d"],
    points: Float[Array, "n d"],
    sigma: Float[ArrayLike, ""] | int,
    *,
    values: Float[Array, "n *value"] | None = None,
    log_weights: Float[Array, " n"] | None = None,
    chunk_size: int | None = None,
) -> Float[Array, "*value"]:
    """`sum_i w_i v_i` with `w = softmax_i(log pi_i - |y - x_i|^2 / (2 sigma^2))`.

    At `sigma = 0` the mean is that of the nearest points. Batches, by `jax.vmap`, are worked off in groups of some
    hundred examples, quickest where they share `sigma`.

    Args:
        y: where the posterior is taken, in the coordinates in which points are compared.
        points: x_i.
        sigma: noise level.
        values: v_i, of which the mean is taken; the points themselves by default.
        log_weights: log pi_i up to a common constant; equal by default.
        chunk_size: points compared at once; need not divide n. By default all for one y, and few enough for a batch to
            stay in the cache.

    Raises:
        ValueError: if `chunk_size` is below 1.
    """
    n, d = points.shape
    if chunk_size is not None:
        chunk_size = min(n, _checks.positive_int("chunk_size", chunk_size))
    few = chunk_size or even_group(n, streaming.default_chunk_size(d, on_cpu=2**20))
    posterior = batching.in_groups(
        functools.partial(_posterior, chunk_size=chunk_size or n),
        functools.partial(_posterior, chunk_size=few),
        streaming.default_group_size(2 * (n * d if _all_by_differences(points) else n + NUM_KEPT * d)),
        functools.partial(_derivative, chunk_size=few),
    )
    flat = None if values is None else values.reshape(n, -1)
    mean = posterior(y, points, jnp.asarray(sigma, y.dtype), flat, log_weights).mean
    return mean if values is None else mean.reshape(values.shape[1:])


def _posterior(y, points, sigma, values, log_weights, *, chunk_size):
    forms = (functools.partial(form, chunk_size=chunk_size) for form in (_by_differences, _by_products))
    return _either(*forms, y, points, sigma, values, log_weights)


def _derivative(args, out, tangents, *, chunk_size):
    """The change of `_posterior` with its arguments, linear in their tangents; `None` is no change."""
    n, data_move = len(args[1]), any(tangents[i] is not None for i in (1, 3, 4))
    # Transposed, a loop adds to an array as large as all that it takes a chunk of.
    by_products = functools.partial(_derivative_by_products, chunk_size=n if data_move else chunk_size)
    by_differences = functools.partial(_derivative_by_differences, chunk_size=n)
    return _either(by_differences, by_products, *args, out, tangents)


def _either(by_differences, by_products, y, points, sigma, *others):
    if _all_by_differences(points):
        return by_differences(y, points, sigma, *others)
    some = jax.lax.stop_gradient(points[:: max(1, len(points) // 64)])
    square = jnp.mean(jnp.sum(jnp.square(some), axis=1))
    is_cold = 2 * jnp.square(sigma) < ROUNDING_SHOWS * jnp.finfo(y.dtype).eps * square
    return jax.lax.cond(is_cold, by_differences, by_products, y, points, sigma, *others)


def _all_by_differences(points) -> bool:
    n, d = points.shape
    return n <= NUM_KEPT or d <= FEW_COORDINATES


# --- energies from products ---


def _by_products(y, points, sigma, values, log_weights, *, chunk_size):
    temperature = streaming.as_temperature(sigma, y.dtype)

    def one_chunk(total, first, is_new):
        x, v, log_pi = run_of((points, values, log_weights), first, is_new.size)
        energies = _weighted(_squares(y, x), log_pi, temperature)
        part = streaming.partial(energies, x if v is None else v, temperature, is_new)
        return part if total is None else streaming.merge(total, part, temperature)

    part = streaming.fold_chunks(one_chunk, len(points), chunk_size)
    return _Weighted(part.mean, part.weight, part.min_energy)


def _derivative_by_products(y, points, sigma, values, log_weights, out, tangents, *, chunk_size):
    temperature = streaming.as_temperature(sigma, y.dtype)
    dy, dx, dsigma, dv, dlog_weights = tangents
    data = points, values, log_weights, dx, dv, dlog_weights

    def one_chunk(sums, first, is_new):
        x, v, log_pi, dx, dv, dlog_pi = run_of(data, first, is_new.size)
        v, dv = (x, dx) if v is None else (v, dv)
        squares = _squares(y, x) - out.reference
        weights = jnp.exp(-_weighted(squares, log_pi, temperature) / temperature) * (is_new / out.total)
        along = None if dy is None else dot(x, dy)
        moved = None if dx is None else dot(dx, y) - inner(x, dx)
        changes = weights * _log_changes(squares, sigma, temperature, along, moved, dsigma, dlog_pi)
        mean = dot(changes, v) if dv is None else dot(changes, v) + dot(weights, dv)
        return sums[0] + mean, sums[1] + changes.sum()

    start = jnp.zeros_like(out.mean), jnp.zeros_like(out.total)
    weighted, change = streaming.fold_chunks(one_chunk, len(points), chunk_size, start)
    return _Weighted(weighted - out.mean * change, out.total * change, jnp.zeros_like(out.reference))


def _squares(y, x):
    return inner(x, x) - 2 * dot(x, y)


# --- leading energies from differences ---


class _Compared(NamedTuple):
    """The points compared with one y.

    Attributes:
        x: the points less the nearest one.
        squares: `|y - x_i|^2`, less a constant.
        weights: of the points, their sum 1.
    """

    x: RelativeRows
    squares: Array
    weights: Array


def _compare(y, points, temperature, log_weights, chunk_size) -> _Compared:
    if _all_by_differences(points):
        roughly = jnp.sum(jnp.square(points - y[None]), axis=1)
        near, leading = jnp.argmin(jax.lax.stop_gradient(roughly)), None
    else:
        roughly = inner(points, points) - 2 * times(points, y, chunk_size)
        leading = jax.lax.top_k(-jax.lax.stop_gradient(roughly), NUM_KEPT)[1]
        # Fused with what they select, indices would be found again for every number on CPUs.
        leading = jax.lax.optimization_barrier(leading)
        near = leading[0]
    x = RelativeRows(points, near, leading, chunk_size)
    # |y - b|^2 - |y - a|^2 = 2 (a - b).(y - (a + b) / 2) is exact where the two are nearly equal.
    exact = -2 * jnp.sum(x.exact * (y[None] - 0.5 * (x.leading_of(points) + x.near[None])), axis=1)
    squares = x.replace(lambda: roughly - roughly[near], exact)
    energies = _weighted(squares, log_weights, temperature)
    smallest = jax.lax.stop_gradient(energies.min())
    weights = jnp.exp(-(energies - smallest) / temperature)
    return _Compared(x, squares - smallest, weights / weights.sum())


def _by_differences(y, points, sigma, values, log_weights, *, chunk_size):
    c = _compare(y, points, streaming.as_temperature(sigma, y.dtype), log_weights, chunk_size)
    v = c.x if values is None else c.x.of(values)
    return _Weighted(v.near + v.combine(c.weights), *_nothing(y))


def _derivative_by_differences(y, points, sigma, values, log_weights, out, tangents, *, chunk_size):
    dy, dx, dsigma, dv, dlog_weights = tangents
    temperature = streaming.as_temperature(sigma, y.dtype)
    c = _compare(y, points, temperature, log_weights, chunk_size)
    v, dv = (c.x, dx) if values is None else (c.x.of(values), dv)
    counts = c.weights > 0
    squares = jnp.where(counts, c.squares, 0)
    along = None if dy is None else c.x.times(dy)
    moved = None
    if dx is not None:
        exact = jnp.sum((y[None] - c.x.leading_of(points)) * c.x.leading_of(dx), axis=1)
        moved = c.x.replace(lambda: times(dx, y, chunk_size) - inner(points, dx), exact)
    log_changes = _log_changes(squares, sigma, temperature, along, moved, dsigma, dlog_weights)
    # An infinite change of no weight is none, and that of all weight is none of the mean, however it is rounded.
    changes = c.weights * jnp.where(counts, log_changes, 0)
    change = changes.sum()
    mean = v.combine(changes - c.weights * change)
    if dv is not None:
        mean = mean + combine(c.weights, dv, chunk_size)
    return _Weighted(mean, *_nothing(y))


def _nothing(y):
    return (jnp.zeros((), y.dtype),) * 2


# --- both ---


def _weighted(squares, log_weights, temperature):
    """Energies of squared distances."""
    return squares if log_weights is None else squares - temperature * log_weights


def _log_changes(squares, sigma, temperature, along, moved, dsigma, dlog_weights):
    """Change of `log pi_i - squares_i / T`, but for a constant.

    `along` is `x_i.dy` and `moved` is `(y - x_i).dx_i`; what does not move is `None`.
    """
    changes = jnp.zeros_like(squares)
    for product in (along, moved):
        if product is not None:
            changes = changes + 2 / temperature * product
    if dsigma is not None:
        changes = changes + squares / temperature * (4 * sigma / temperature) * dsigma
    return changes if dlog_weights is None else changes + dlog_weights
