"""What a linear denoiser does to one eigenmode, and what the sampler makes of it: elementwise in the eigenvalue.

All are functions for `spectral.apply`; the formulas are those of `denoiser`, with t = `inf` once trained. In a
mode the sampler's state about the mean obeys `m' = f m` and `v' = f^2 v + tau^2` with `f = (1 - c) gain + c`.
"""

import jax
import jax.numpy as jnp

from jaxcreativity._numerics.arithmetic import safe_sqrt
from jaxcreativity.sampling import step_coefficients


def x_gain(values, kept, variance, penalty, time):
    """Gain of a network that predicts x.

    Args:
        values: eigenvalues l of M.
        kept: 1 for the modes that the network can see, 0 for the others.
        variance: sigma^2.
        penalty: weight decay g.
        time: gradient-flow time t.
    """
    total = values + variance + penalty
    return kept * _divided(values * _trained(total, time), total, 0.0)


def noise_gain(values, kept, variance, penalty, time):
    """Gain of a network that predicts the noise.

    Args:
        values: eigenvalues l of M.
        kept: 1 for the modes that the network can see, 0 for the others.
        variance: sigma^2.
        penalty: weight decay g.
        time: gradient-flow time t.
    """
    total = values + variance + penalty
    left = 1 - _trained(total, time)
    seen = _divided(values + penalty + variance * left, total, left)
    return kept * seen + (1 - kept)


GAINS = {"x": x_gain, "noise": noise_gain}


def _divided(part, total, limit):
    """`part / total`; the limit of no noise where both are 0: a constant entry, or a square that underflows."""
    return jnp.where(total > 0, part / jnp.where(total > 0, total, 1.0), limit)


def _trained(total, time):
    """`1 - e^{-t a}`, accurate for short times and with a well-defined derivative at `t = inf`."""
    finished = jnp.isinf(time)
    return jnp.where(finished, 1.0, -jnp.expm1(-jnp.where(finished, 0.0, time) * total))


def sampled_gain(gain, values, kept, sigmas, eta, *gain_at):
    """Factor of the whole chain, `prod_k f_k`.

    Args:
        gain: `x_gain` or `noise_gain`.
        values: eigenvalues of M.
        kept: 1 for the modes that the network can see, 0 for the others.
        sigmas: noise grid.
        eta: 0 is DDIM, 1 ancestral sampling.
        *gain_at: variance, penalty and time at every level of the grid.
    """

    def step(product, inputs):
        sigma, sigma_next, *parameters = inputs
        c, _ = step_coefficients(sigma, sigma_next, eta)
        return product * ((1 - c) * gain(values, kept, *parameters) + c), None

    return jax.lax.scan(step, jnp.ones_like(values), per_step(sigmas, gain_at))[0]


def sampled_variance(gain, values, kept, sigmas, eta, *gain_at):
    """Variance at the end of the chain.

    Args:
        gain: `x_gain` or `noise_gain`.
        values: eigenvalues of M.
        kept: 1 for the modes that the network can see, 0 for the others.
        sigmas: noise grid.
        eta: 0 is DDIM, 1 ancestral sampling.
        *gain_at: variance, penalty and time at every level of the grid.
    """

    def step(variance, inputs):
        sigma, sigma_next, *parameters = inputs
        c, tau = step_coefficients(sigma, sigma_next, eta)
        return jnp.square((1 - c) * gain(values, kept, *parameters) + c) * variance + tau**2, None

    start = jnp.full_like(values, 1.0) * sigmas[0] ** 2
    return jax.lax.scan(step, start, per_step(sigmas, gain_at))[0]


def limit_gain(values, kept, sigma_max, keeps_noise):
    """Factor of the chain of infinitely many deterministic steps.

    Args:
        values: eigenvalues of M.
        kept: 1 for the modes that the network can see, 0 for the others.
        sigma_max: noise level from which the sampler starts.
        keeps_noise: 1 if modes that the network cannot see keep their noise, 0 if they vanish.
    """
    return kept * safe_sqrt(values / (values + sigma_max**2)) + (1 - kept) * keeps_noise


def limit_variance(values, kept, sigma_max, keeps_noise):
    """Variance at the end of the chain of infinitely many deterministic steps.

    Args:
        values: eigenvalues of M.
        kept: 1 for the modes that the network can see, 0 for the others.
        sigma_max: noise level from which the sampler starts.
        keeps_noise: 1 if modes that the network cannot see keep their noise, 0 if they vanish.
    """
    seen = values * sigma_max**2 / (values + sigma_max**2)
    return kept * seen + (1 - kept) * keeps_noise * sigma_max**2


def per_step(sigmas, gain_at):
    """`(sigma, sigma_next, *gain parameters)` of every step, for `jax.lax.scan`."""
    return (sigmas[:-1], sigmas[1:], *(parameter[:-1] for parameter in gain_at))
