"""The many-step limit of one-dimensional polynomial denoisers: its density, and the maps of degrees 2 and 3.

In `t = log sigma` the flow is `dy/dt = y - D(y, sigma)`. In `w = (y - mean) / sqrt(s^2 + sigma^2)`, s the target's
standard deviation, it is `dw/dt = sum_k a_k(t) w^k` with coefficients of order 1 that vanish at high noise, and at low
noise too unless the target is p atoms or fewer. The flow on a line is monotone, so its inverse, from the sample back to
the seed, is one integration with t increasing and never meets the poles of the forward flow; an `x` that no seed
reaches escapes to infinity on the way and has density 0.
Integration: diffrax (Kidger 2021).

Maps: p = 2 is a Riccati equation, p = 3 without even terms a Bernoulli equation (Ince, *Ordinary Differential
Equations* (1927), sections 2.13 and 2.15; theory section 3).
"""

from collections.abc import Sequence

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks
from jaxcreativity.theory.polynomial import _orthogonal, separable
from jaxcreativity.theory.polynomial.separable import PolynomialDenoiser, check_one_law, to_coordinates

# a_k(t) is interpolated by polynomials of this degree on this many panels: relative error below 1e-10.
_PANELS, _NODES = 48, 11


def limit_density(
    denoiser: PolynomialDenoiser, x: Float[ArrayLike, "n *shape"], sigma_max: float, sigma_min: float
) -> Float[Array, " n"]:
    """Density at `x` of what infinitely many deterministic steps from `sigma_max` to `sigma_min` generate.

    Its integral is `1 - blow_up_probability`. Differentiable with respect to `x` and the denoiser.

    Args:
        denoiser: separable, as in `density`; for several coordinates the density is the product.
        x: points `(n, *shape)`; `(n,)` for a denoiser made by `from_moments`.
        sigma_max: where the flow starts, at `sigma_max * z`.
        sigma_min: where it stops, positive.

    Raises:
        ValueError: if not `0 < sigma_min < sigma_max`, for constant coordinates or a denoiser that is not separable.
    """
    check_one_law(denoiser, "limit_density")
    check_range(sigma_max, sigma_min)
    x = jnp.asarray(x)
    if x.shape[1:] != denoiser.shape:
        raise ValueError(f"x must have shape (n, *{denoiser.shape}), got {x.shape}")
    return _compiled_limit_density(denoiser, x, sigma_max, sigma_min)


@jax.jit
def _compiled_limit_density(denoiser, x, sigma_max, sigma_min):
    coords = jax.vmap(lambda point: to_coordinates(denoiser, point))(x)
    columns = coords.reshape(x.shape[0], -1).T

    def one(inputs):
        target, shift, column = inputs
        z, log_slope, reached = _seeds(target, shift, column, sigma_max, sigma_min)
        return jnp.where(reached, norm.logpdf(jnp.where(reached, z, 0.0)) + log_slope, -jnp.inf)

    return jnp.exp(jax.lax.map(one, (*columns_of(denoiser), columns)).sum(axis=0))


def moebius_map(
    moments: Float[ArrayLike, " orders"] | Sequence[float], sigma_max: float, sigma_min: float
) -> Float[Array, "2 2"]:
    """The flow of the best quadratic denoiser, a Moebius map: `x = (A y + B) / (C y + D)` of `y = sigma_max z`.

    With `dw/dt = a_0 + a_1 w + a_2 w^2` and `w = U / V`,

        d/dt [U; V] = [[a_1 / 2, a_0], [-a_2, -a_1 / 2]] [U; V].

    Seeds beyond the pole `z* = -D / (C sigma_max)` (on the side away from 0) blow up on the way.

    Args:
        moments: `E[x^k]`, k = 0 ... 4 at least.
        sigma_max: where the flow starts.
        sigma_min: where it stops, positive.

    Returns:
        `[[A, B], [C, D]]` with determinant 1 and D > 0.

    Raises:
        ValueError: as `from_moments`, or if not `0 < sigma_min < sigma_max`.
    """
    check_range(sigma_max, sigma_min)
    target = separable.from_moments(jnp.asarray(moments, jnp.result_type(float)), 2).target
    drift, length = _drift(target, sigma_max, sigma_min)

    def field(s, matrix, _):
        a_0, a_1, a_2 = drift(s)
        generator = jnp.stack([jnp.stack([a_1 / 2, a_0]), jnp.stack([-a_2, -a_1 / 2])])
        return jnp.matmul(generator, matrix, precision="highest")

    matrix, _ = _integrate(field, length, jnp.zeros_like(length), jnp.eye(2, dtype=target.scale.dtype))
    wide, narrow = jnp.hypot(target.scale, sigma_max), jnp.hypot(target.scale, sigma_min)
    to_w = jnp.stack([jnp.stack([jnp.ones_like(wide), -target.mean]), jnp.stack([jnp.zeros_like(wide), wide])])
    to_x = jnp.stack([jnp.stack([narrow, target.mean]), jnp.stack([jnp.zeros_like(wide), jnp.ones_like(wide)])])
    matrix = jnp.linalg.multi_dot([to_x, matrix, to_w], precision="highest")
    matrix = matrix / jnp.sqrt(wide * narrow)
    return matrix * jnp.where(matrix[1, 1] < 0, -1.0, 1.0)


def bernoulli_map(
    moments: Float[ArrayLike, " orders"] | Sequence[float], sigma_max: float, sigma_min: float
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The flow of the best cubic denoiser of a symmetric target: `x = alpha z / sqrt(1 + beta z^2)`.

    With `dw/dt = a_1 w + a_3 w^3`, `A(t) = int a_1` from the start and `S = sqrt(s^2 + sigma^2)`,

        alpha = sigma_max S_min / S_max e^A,    beta = -2 (sigma_max / S_max)^2 int a_3 e^(2 A) dt.

    beta > 0: bounded support `|x| < alpha / sqrt(beta)`. beta < 0: blow-up beyond `|z| = 1 / sqrt(-beta)`.

    Args:
        moments: `E[x^k]`, k = 0 ... 6 at least, the odd ones 0.
        sigma_max: where the flow starts.
        sigma_min: where it stops, positive.

    Raises:
        ValueError: as `from_moments`, if an odd moment is not 0, or if not `0 < sigma_min < sigma_max`.
    """
    check_range(sigma_max, sigma_min)
    moments = jnp.asarray(moments, jnp.result_type(float))
    target = separable.from_moments(moments, 3).target
    if _checks.is_concrete(moments):
        odd = np.abs(np.asarray(moments)[1:6:2]) / float(target.scale) ** np.array([1, 3, 5])
        if odd.max() > 1e3 * jnp.finfo(moments.dtype).eps * max(1.0, float(moments[6]) / float(target.scale) ** 6):
            raise ValueError(f"bernoulli_map needs a target symmetric about 0, got odd moments {moments[1:6:2]}")
    drift, length = _drift(target, sigma_max, sigma_min)

    def field(s, state, _):
        _, a_1, _, a_3 = drift(s)
        return jnp.stack([a_1, a_3 * jnp.exp(2 * state[0])])

    (total, integral), _ = _integrate(field, length, jnp.zeros_like(length), jnp.zeros(2, target.scale.dtype))
    wide, narrow = jnp.hypot(target.scale, sigma_max), jnp.hypot(target.scale, sigma_min)
    return sigma_max * narrow / wide * jnp.exp(total), -2 * (sigma_max / wide) ** 2 * integral


# --- the flow -----------------------------------------------------------------------------------------------------


def _drift(target, sigma_max, sigma_min):
    """`s -> a_0 ... a_p` at `t = log sigma_min + s`, and the length of the interval."""
    dtype = target.scale.dtype
    start = jnp.log(jnp.asarray(sigma_min, dtype))
    length = jnp.log(jnp.asarray(sigma_max, dtype)) - start

    nodes = np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES)
    to_powers = np.linalg.inv(np.vander(nodes, increasing=True))
    places = (2 * np.arange(_PANELS)[:, None] + 1 + nodes[None, :]) / (2 * _PANELS)
    values = jax.lax.map(lambda t: drift_at(target, t), (start + length * jnp.asarray(places, dtype)).ravel())
    values = values.reshape(_PANELS, _NODES, -1)
    powers = jnp.einsum("kn,pnc->pkc", jnp.asarray(to_powers, dtype), values, precision="highest")

    def drift(s):
        place = s / length * _PANELS
        panel = jnp.clip(jnp.floor(jax.lax.stop_gradient(place)).astype(int), 0, _PANELS - 1)
        local = 2 * (place - panel) - 1
        chosen = powers[panel]
        value = chosen[-1]
        for k in range(_NODES - 2, -1, -1):
            value = value * local + chosen[k]
        return value

    return drift, length


def drift_at(target: _orthogonal.Recurrence, t: Float[Array, ""]) -> Float[Array, " p1"]:
    """`a_0 ... a_p` of one coordinate at `t = log sigma`."""
    projection = _orthogonal.project(target, jnp.exp(t))
    a = projection.scale / projection.noisy_scale
    return (-a * _orthogonal.monomials(projection)).at[1].add(a**2)


def _integrate(field, start, end, state):
    single = jnp.finfo(state.dtype).bits == 32
    controller = diffrax.PIDController(rtol=1e-5 if single else 1e-9, atol=1e-6 if single else 1e-11)
    term = diffrax.ODETerm(field)
    solution = diffrax.diffeqsolve(
        term, diffrax.Tsit5(), start, end, None, state, stepsize_controller=controller, max_steps=2**14, throw=False
    )
    return solution.ys[-1], solution.result == diffrax.RESULTS.successful


def _infinity(degree, dtype):
    """What counts as infinite in units of the noisy standard deviation: the rest of the way takes no time."""
    double = jnp.finfo(dtype).bits == 64
    if degree == 1:
        return 1e9 if double else 1e6
    return max(1e4, 1e9 ** (1 / (degree - 1))) if double else max(1e2, 1e4 ** (1 / (degree - 1)))


def _back(drift, length, degree, w):
    """Carry `w` from sigma_min to sigma_max: `(w, log dw/dw_0, escaped)`, held at infinity while it is pushed out."""
    infinity = _infinity(degree, w.dtype)

    def field(s, state, _):
        w, _, _ = state
        coefficients = drift(s)
        inside = jnp.clip(w, -2 * infinity, 2 * infinity)
        velocity, slope = value_and_slope(coefficients, inside)
        held = (jnp.abs(w) >= infinity) & (velocity * w > 0)
        # Too slow to be seen by the step-size control; whether it is exactly 0 is all that matters.
        mark = jnp.where(held, 1e-25, 0.0)
        return jnp.stack([jnp.where(held, 0.0, velocity), jnp.where(held, 0.0, slope), mark])

    start = jnp.stack([w, jnp.zeros_like(w), jnp.zeros_like(w)])
    (w, log_slope, mark), finished = _integrate(field, jnp.zeros_like(length), length, start)
    # Steps run out only where the equation is stiff, at an outer zero of the velocity: no seed of any weight.
    return w, log_slope, (mark > 0) | ~finished


def _seeds(target, shift, x, sigma_max, sigma_min):
    """`(z, log dz/dx, reached)` of points of one coordinate."""
    drift, length = _drift(target, sigma_max, sigma_min)
    wide, narrow = jnp.hypot(target.scale, sigma_max), jnp.hypot(target.scale, sigma_min)
    w = (x - target.mean).astype(narrow.dtype) / narrow
    w, log_slope, escaped = jax.vmap(lambda w: _back(drift, length, target.degree, w))(w)
    z = (target.mean + wide * w + shift) / sigma_max
    return z, log_slope + jnp.log(wide / narrow / sigma_max), ~escaped


def value_and_slope(
    coefficients: Float[Array, " p1"], w: Float[Array, "*batch"]
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Value and derivative at `w` of `sum_k coefficients[k] w^k`."""
    value, slope = jnp.zeros_like(w), jnp.zeros_like(w)
    for k in range(coefficients.shape[0] - 1, -1, -1):
        slope = slope * w + value
        value = value * w + coefficients[k]
    return value, slope


def columns_of(denoiser: PolynomialDenoiser) -> tuple[_orthogonal.Recurrence, Float[Array, " d"]]:
    """The coordinates' laws and the shift of their origin (`coords = vectors^T y - shift`), flattened."""
    target = denoiser.target
    d = target.mean.size
    flat = _orthogonal.Recurrence(
        target.mean.ravel(), target.scale.ravel(), target.alpha.reshape(d, -1), target.beta.reshape(d, -1)
    )
    shift = jnp.zeros_like(flat.mean)
    if denoiser.vectors is not None:
        shift = jnp.matmul(denoiser.vectors.T, denoiser.offset.ravel(), precision="highest")
    return flat, shift


def check_range(sigma_max: float, sigma_min: float) -> None:
    """Raise unless `0 < sigma_min < sigma_max`."""
    if _checks.is_concrete(sigma_max) and _checks.is_concrete(sigma_min) and not 0 < sigma_min < sigma_max:
        raise ValueError(f"need 0 < sigma_min < sigma_max, got sigma_min={sigma_min}, sigma_max={sigma_max}")
