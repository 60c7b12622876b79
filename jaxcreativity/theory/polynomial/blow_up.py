"""Which seeds the many-step flow of a polynomial denoiser carries to infinity, and with what probability.

The flow on a line is monotone, so these are the seeds outside an interval `(z_-, z_+)`. Its ends are found by search
over forward trajectories; their derivatives come from the one trajectory that each end stands for. There, with
`dw/dt = P(w)`, a change of the denoiser moves the seed that just reaches infinity by

    delta w_0 = - int E(t) delta P dt,    E(t) = exp(- int_0^t P'(w) dt).

See docs/theory/polynomial.md.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from jaxcreativity.denoiser import Scalar
from jaxcreativity.theory.polynomial._bisection import change_point
from jaxcreativity.theory.polynomial._flow import check_range, columns_of, drift_at, value_and_slope
from jaxcreativity.theory.polynomial.separable import PolynomialDenoiser, check_separable

# Runge-Kutta steps, seeds tried at once, and the largest |z| that is tried.
_STEPS, _CANDIDATES, _FAR = 4000, 256, 12.0


def blow_up_probability(denoiser: PolynomialDenoiser, sigma_max: Scalar, sigma_min: Scalar) -> Float[Array, "*coords"]:
    """Probability that the flow from `sigma_max * z` reaches infinity before `sigma_min`, per coordinate.

    Differentiable with respect to the denoiser (not the noise levels), first order.

    Args:
        denoiser: separable.
        sigma_max: where the flow starts, at `sigma_max * z`.
        sigma_min: where it stops, positive.

    Raises:
        ValueError: if not `0 < sigma_min < sigma_max`, or for a denoiser that is not separable.
    """
    low, high = blow_up_seeds(denoiser, sigma_max, sigma_min)
    return norm.cdf(low) + norm.cdf(-high)


def blow_up_seeds(
    denoiser: PolynomialDenoiser, sigma_max: Scalar, sigma_min: Scalar
) -> tuple[Float[Array, "*coords"], Float[Array, "*coords"]]:
    """`(z_-, z_+)`: seeds outside this interval blow up; infinite where none with |z| <= 12 does.

    To 1e-6 where the probability is above 1e-5, less precisely beyond.

    Args:
        denoiser: separable.
        sigma_max: where the flow starts, at `sigma_max * z`.
        sigma_min: where it stops, positive.

    Raises:
        ValueError: as `blow_up_probability`.
    """
    check_separable(denoiser, "blow_up_seeds")
    check_range(sigma_max, sigma_min)
    shape = denoiser.target.mean.shape
    if denoiser.degree == 1:
        infinite = jnp.full(shape, jnp.inf, denoiser.target.scale.dtype)
        return -infinite, infinite
    return _compiled_ends(denoiser, sigma_max, sigma_min)


@jax.jit
def _compiled_ends(denoiser, sigma_max, sigma_min):
    ends = jax.lax.map(lambda inputs: _ends(*inputs, sigma_max, sigma_min), columns_of(denoiser))
    shape = denoiser.target.mean.shape
    return ends[:, 0].reshape(shape), ends[:, 1].reshape(shape)


def _ends(target, shift, sigma_max, sigma_min):
    """Both ends for one coordinate."""
    dtype = target.scale.dtype
    start, end = (jnp.log(jnp.asarray(s, dtype)) for s in (sigma_max, sigma_min))
    step = (start - end) / _STEPS
    times = start - 0.5 * step * jnp.arange(2 * _STEPS + 1)
    forward = -jax.lax.map(lambda t: drift_at(target, t), times, batch_size=512)
    coefficients = forward[:-2:2], forward[1:-1:2], forward[2::2]
    wide = jnp.hypot(target.scale, sigma_max)

    def start_of(z):
        return (sigma_max * z - shift - target.mean) / wide

    frozen = jax.lax.stop_gradient(coefficients)
    z = jax.lax.stop_gradient(_search(lambda z: _blows_up(frozen, step, start_of(z)), dtype))
    exists = jnp.isfinite(z)
    moved = _shift(coefficients, step, jax.lax.stop_gradient(start_of(jnp.where(exists, z, 0.0))))
    # Its value is left out, its derivative is that of w_0; that of the units is in the other terms.
    start_at_end = jax.lax.stop_gradient(start_of(z) + moved) - moved
    return jnp.where(exists, (wide * jnp.where(exists, start_at_end, 0.0) + target.mean + shift) / sigma_max, z)


def _search(blows_up, dtype):
    """The seeds next to 0 on either side that blow up; infinite beyond `_FAR`."""
    sides = jnp.array([-1.0, 1.0], dtype)
    candidates = jnp.linspace(0.0, _FAR, _CANDIDATES, dtype=dtype)
    lost = blows_up(sides[:, None] * candidates[None])
    first = jnp.argmax(lost, axis=1)
    keeps = lambda z, side: ~blows_up(side * z)  # noqa: E731
    end = change_point(keeps, candidates[jnp.maximum(first - 1, 0)], candidates[first], sides, steps=24)
    return sides * jnp.where(lost.any(axis=1), end, jnp.inf)


def _blows_up(coefficients, step, w):
    """Whether trajectories from `w` reach infinity within the given steps."""

    def body(state, inputs):
        w, time_left = state
        elapsed, (first, middle, last) = inputs
        w_next, pole_ahead = _step(first, middle, last, step, w)
        pole_ahead = pole_ahead & jnp.isinf(time_left)
        time_left = jnp.where(pole_ahead, elapsed + _time_to_infinity(first, w), time_left)
        return (jnp.where(jnp.isinf(time_left), w_next, w), time_left), None

    steps = step * jnp.arange(_STEPS), coefficients
    _, time = jax.lax.scan(body, (w, jnp.full_like(w, jnp.inf)), steps)[0]
    return time < step * _STEPS


def _shift(coefficients, step, w):
    """`int E(t) P dt` along the trajectory from `w`, to be differentiated with respect to the coefficients only."""

    def body(state, inputs):
        w, log_decay, total, on_the_way = state
        first, middle, _ = inputs
        fixed = jax.lax.stop_gradient(inputs)
        w_next, pole_ahead = _step(*fixed, step, w)
        w_middle = 0.5 * (w + w_next)
        _, slope = value_and_slope(fixed[1], w_middle)
        part = step * jnp.exp(-log_decay - 0.5 * step * slope) * value_and_slope(middle, w_middle)[0]
        # Near the pole E = P(w_now) / P(w), so the rest of the integral is the derivative of the time to infinity.
        velocity, _ = value_and_slope(fixed[0], w)
        rest = -jnp.exp(-log_decay) * velocity * _time_to_infinity(first, jnp.where(pole_ahead, w, 1.0))
        rest = jnp.where(jnp.isfinite(rest), rest, 0.0)
        total = total + jnp.where(on_the_way, jnp.where(pole_ahead, rest, part), 0.0)
        on_the_way = on_the_way & ~pole_ahead
        state = (
            jnp.where(on_the_way, w_next, w),
            log_decay + jnp.where(on_the_way, step * slope, 0.0),
            total,
            on_the_way,
        )
        return state, None

    start = w, jnp.zeros_like(w), jnp.zeros_like(w), jnp.ones_like(w, bool)
    return jax.lax.scan(body, start, coefficients)[0][2]


def _step(first, middle, last, step, w):
    """One Runge-Kutta step from `w`, and whether `w` is so near a pole that steps make no sense any more."""
    a, slope = value_and_slope(first, w)
    b, _ = value_and_slope(middle, w + 0.5 * step * a)
    c, _ = value_and_slope(middle, w + 0.5 * step * b)
    d, _ = value_and_slope(last, w + step * c)
    # At an outer zero of the velocity that attracts, explicit steps explode: follow it by an implicit one.
    stiff = step * slope < -1
    implicit = step * a / (1 - jnp.where(stiff, step * slope, 0.0))
    w_next = w + jnp.where(stiff, implicit, step / 6 * (a + 2 * b + 2 * c + d))
    return w_next, (step * slope > 0.7) & (a * w > 0)


def _time_to_infinity(coefficients, w):
    """`int dw / P(w)` from `w` outwards, by quadrature in 1/w; infinite where P changes its sign on the way."""
    degree = coefficients.shape[0] - 1
    nodes, weights = np.polynomial.legendre.leggauss(8)
    total, outwards = jnp.zeros_like(w), True
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        u = node / w
        # P(1 / u) u^p is the polynomial with the coefficients in reverse order.
        rate = w * value_and_slope(coefficients[::-1], u)[0] / u ** (degree - 2)
        total, outwards = total + weight / rate, outwards & (rate > 0)
    return jnp.where(outwards, total, jnp.inf)
