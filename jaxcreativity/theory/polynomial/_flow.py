"""The many-step flow of one coordinate: its drift in units of the noisy standard deviation, and how it is integrated.

In `t = log sigma` the flow is `dy/dt = y - D(y, sigma)`. In `w = (y - mean) / sqrt(s^2 + sigma^2)`, s the target's
standard deviation, it is `dw/dt = sum_k a_k(t) w^k` with coefficients of order 1 that vanish at high noise, and at low
noise too unless the target is p atoms or fewer.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxcreativity import _checks
from jaxcreativity.denoiser import Scalar
from jaxcreativity.theory.polynomial import _expansion
from jaxcreativity.theory.polynomial._recurrence import Recurrence
from jaxcreativity.theory.polynomial.separable import PolynomialDenoiser, coordinate_shift

# a_k(t) is interpolated by polynomials of this degree on this many panels: relative error below 1e-10.
_PANELS, _NODES = 48, 11


def drift_over(
    target: Recurrence, sigma_max: Scalar, sigma_min: Scalar
) -> tuple[Callable[[Float[Array, ""]], Float[Array, " p1"]], Float[Array, ""]]:
    """`s -> a_0 ... a_p` at `t = log sigma_min + s`, and the length of the interval.

    Args:
        target: of one coordinate.
        sigma_max: upper end.
        sigma_min: lower end.
    """
    dtype = target.scale.dtype
    start = jnp.log(jnp.asarray(sigma_min, dtype))
    length = jnp.log(jnp.asarray(sigma_max, dtype)) - start

    nodes = np.polynomial.chebyshev.chebpts1(_NODES)
    to_powers = np.linalg.inv(np.vander(nodes))  # the highest first
    places = (2 * np.arange(_PANELS)[:, None] + 1 + nodes[None, :]) / (2 * _PANELS)
    values = jax.lax.map(lambda t: drift_at(target, t), (start + length * jnp.asarray(places, dtype)).ravel())
    values = values.reshape(_PANELS, _NODES, -1)
    powers = jnp.einsum("kn,pnc->pkc", jnp.asarray(to_powers, dtype), values, precision="highest")

    def drift(s):
        place = s / length * _PANELS
        panel = jnp.clip(jnp.floor(jax.lax.stop_gradient(place)).astype(int), 0, _PANELS - 1)
        local = 2 * (place - panel) - 1
        return jnp.polyval(powers[panel], local)

    return drift, length


def drift_at(target: Recurrence, t: Float[Array, ""]) -> Float[Array, " p1"]:
    """`a_0 ... a_p` of one coordinate at `t = log sigma`."""
    projection = _expansion.project(target, jnp.exp(t))
    a = projection.scale / projection.noisy_scale
    return (-a * _expansion.monomials(projection)).at[1].add(a**2)


def integrate(
    field: Callable[[Float[Array, ""], Any, None], Any], start: Float[Array, ""], end: Float[Array, ""], state: Any
) -> tuple[Any, Bool[Array, ""]]:
    """The state at `end` of `d state / ds = field(s, state, None)`, and whether the steps sufficed.

    Args:
        field: the derivative.
        start: where `state` holds.
        end: where it is wanted; may lie before `start`.
        state: array.

    Raises:
        ImportError: if diffrax is not installed.
    """
    _checks.needs("theory", "diffrax")
    import diffrax  # takes as long to load as all of this package: loaded where it is used

    single = jnp.finfo(state.dtype).bits == 32
    controller = diffrax.PIDController(rtol=1e-5 if single else 1e-9, atol=1e-6 if single else 1e-11)
    term = diffrax.ODETerm(field)
    solution = diffrax.diffeqsolve(
        term, diffrax.Tsit5(), start, end, None, state, stepsize_controller=controller, max_steps=2**14, throw=False
    )
    return solution.ys[-1], solution.result == diffrax.RESULTS.successful


def value_and_slope(
    coefficients: Float[Array, " p1"], w: Float[Array, "*batch"]
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Value and derivative at `w` of `sum_k coefficients[k] w^k`."""
    return jax.jvp(lambda w: jnp.polyval(coefficients[::-1], w), (w,), (jnp.ones_like(w),))


def columns_of(denoiser: PolynomialDenoiser) -> tuple[Recurrence, Float[Array, " d"]]:
    """The coordinates' laws and the shift of their origin (`separable.coordinate_shift`), flattened."""
    target = denoiser.target
    d = target.mean.size
    flat = Recurrence(
        target.mean.ravel(), target.scale.ravel(), target.alpha.reshape(d, -1), target.beta.reshape(d, -1)
    )
    return flat, coordinate_shift(denoiser)


def check_range(sigma_max: Scalar, sigma_min: Scalar) -> None:
    """Check noise levels.

    Raises:
        ValueError: unless `0 < sigma_min < sigma_max`.
    """
    if _checks.is_concrete(sigma_max) and _checks.is_concrete(sigma_min) and not 0 < sigma_min < sigma_max:
        raise ValueError(f"need 0 < sigma_min < sigma_max, got sigma_min={sigma_min}, sigma_max={sigma_max}")
