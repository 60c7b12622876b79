"""The sampler against NumPy loops, SciPy's integrator and Gaussian closed forms."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from jaxcreativity import log_density, sample, sampling, schedules, trajectory
from jaxcreativity.theory import linear
from jaxcreativity.theory.empirical import EmpiricalDenoiser

POINTS = np.array([[1.0, 0.2], [-0.6, 0.9], [0.1, -1.2]])
EMPIRICAL = EmpiricalDenoiser(POINTS)
SIGMAS = np.array([3.0, 1.2, 0.5, 0.0])
Z = np.array([0.4, -1.1])

jit_sample = jax.jit(sample, static_argnames=("method", "unroll", "remat"))
jit_sample_of_function = jax.jit(sample, static_argnums=0)
jit_trajectory = jax.jit(trajectory, static_argnames=("method", "unroll", "remat"))


def denoise(y, sigma):
    """The posterior mean over `POINTS` in NumPy."""
    weights = scipy.special.softmax(-np.square(y - POINTS).sum(axis=1) / (2 * sigma**2))
    return weights @ POINTS


# --- the step ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_step_coefficients(eta):
    """From the definition; at eta = 1 they are those of the posterior of y' given y and x."""
    for sigma, following in itertools.pairwise(SIGMAS):
        c, tau = sampling.step_coefficients(sigma, following, eta)
        assert tau == pytest.approx(eta * following * np.sqrt(1 - following**2 / sigma**2))
        assert c == pytest.approx(np.sqrt(following**2 - tau**2) / sigma)
        if eta == 1:
            # y = y' + noise of variance sigma^2 - following^2, y' = x + following * noise: a product of Gaussians.
            variance = 1 / (1 / (sigma**2 - following**2) + 1 / following**2) if following else 0.0
            assert tau**2 == pytest.approx(variance)
            assert c == pytest.approx(following**2 / sigma**2)


def test_step_coefficients_have_finite_derivatives_at_the_last_step():
    for eta in (0.0, 0.5, 1.0):
        for i in range(3):
            slopes = jax.jacrev(sampling.step_coefficients, argnums=i)(0.5, 0.0, eta)
            assert np.isfinite(slopes).all()


def test_ddim_is_the_step_rule():
    y, states = SIGMAS[0] * Z, [SIGMAS[0] * Z]
    for sigma, following in itertools.pairwise(SIGMAS):
        y = denoise(y, sigma) + following * (y - denoise(y, sigma)) / sigma  # the same noise, less of it
        states.append(y)
    np.testing.assert_allclose(jit_trajectory(EMPIRICAL, Z, SIGMAS), states, atol=1e-13)


def test_heun_is_karras_algorithm_1():
    y, states = SIGMAS[0] * Z, [SIGMAS[0] * Z]
    for sigma, following in itertools.pairwise(SIGMAS):
        slope = (y - denoise(y, sigma)) / sigma
        euler = y + (following - sigma) * slope
        if following > 0:
            slope = 0.5 * (slope + (euler - denoise(euler, following)) / following)
        y = y + (following - sigma) * slope
        states.append(y)
    np.testing.assert_allclose(jit_trajectory(EMPIRICAL, Z, SIGMAS, method="heun"), states, atol=1e-13)


@pytest.mark.parametrize("method", ["ddim", "heun"])
def test_sample_is_the_end_of_the_trajectory(method):
    sigmas = np.array([3.0, 2.0, 1.2, 0.5, 0.0])
    states = jit_trajectory(EMPIRICAL, Z, sigmas, method=method)
    assert states.shape == (5, 2)
    np.testing.assert_allclose(states[-1], denoise(np.asarray(states[-2]), 0.5), atol=1e-14)
    for options in ({}, {"unroll": True}, {"remat": True}):
        np.testing.assert_allclose(jit_sample(EMPIRICAL, Z, sigmas, method=method, **options), states[-1], atol=1e-14)


def test_one_infinite_entry_is_a_diverged_sample():
    assert sampling.diverged(jnp.array([[0.0, -jnp.inf], [1.0, 2.0]]))
    assert not sampling.diverged(jnp.ones((2, 2)))


def test_one_step_is_the_denoiser():
    got = jit_sample(EMPIRICAL, Z, np.array([3.0, 0.0]))
    np.testing.assert_allclose(got, denoise(3.0 * Z, 3.0), atol=1e-14)


def test_dtype_is_that_of_the_noise():
    for dtype in (jnp.float32, jnp.float64):
        z = jax.ShapeDtypeStruct((2,), dtype)
        for method in ("ddim", "heun"):
            assert jax.eval_shape(partial(sample, EMPIRICAL, sigmas=SIGMAS, method=method), z).dtype == dtype
        for eta in (0.5, jnp.float32(0.5), jnp.float64(0.5)):
            noisy = partial(trajectory, EMPIRICAL, sigmas=SIGMAS, eta=eta, key=jax.random.key(0))
            assert jax.eval_shape(noisy, z).dtype == dtype
        assert all(out.dtype == dtype for out in jax.eval_shape(lambda z: log_density(EMPIRICAL, z, SIGMAS), z))


# --- order of convergence ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "order"), [("ddim", 1), ("heun", 2)])
def test_order_of_convergence(method, order):
    """Against SciPy's integration of `dy / d sigma = (y - D) / sigma` from 5 to 0.4, with a nonlinear denoiser."""
    high, low = 5.0, 0.4
    flow = lambda sigma, y: (y - denoise(y, sigma)) / sigma  # noqa: E731
    exact = scipy.integrate.solve_ivp(flow, (high, low), high * Z, "DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    errors = []
    for steps in (40, 80, 160):
        sigmas = np.append(np.geomspace(high, low, steps + 1), 0.0)
        errors.append(np.linalg.norm(jit_trajectory(EMPIRICAL, Z, sigmas, method=method)[-2] - exact))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(orders, order, atol=0.15)  # the next order's share is of the size of a step, 1 / 40


# --- noise on the way --------------------------------------------------------------------------------------------


def test_ancestral_steps_draw_from_the_stated_law():
    """One step of eta = 0.7 from one y: mean and covariance of what follows, within 4 standard errors."""
    n, eta, sigmas = 20_000, 0.7, np.array([2.0, 1.2, 0.0])
    keys = jax.random.split(jax.random.key(3), n)
    states = jax.jit(jax.vmap(lambda key: trajectory(EMPIRICAL, Z, sigmas, eta=eta, key=key)))(keys)
    tau = eta * 1.2 * np.sqrt(1 - 1.2**2 / 2.0**2)
    c = np.sqrt(1.2**2 - tau**2) / 2.0
    mean = (1 - c) * denoise(2.0 * Z, 2.0) + c * 2.0 * Z
    got = np.asarray(states[:, 1])
    assert (np.abs(got.mean(axis=0) - mean) < 4 * tau / np.sqrt(n)).all()
    error = tau**2 * np.sqrt((np.ones((2, 2)) + np.eye(2)) / n)
    assert (np.abs(np.cov(got.T) - tau**2 * np.eye(2)) < 4 * error).all()


def test_noise_of_different_steps_is_independent():
    """With a denoiser that returns 0 the states are the noise itself."""
    keys = jax.random.split(jax.random.key(4), 20_000)
    zero = jax.tree_util.Partial(lambda y, sigma: jnp.zeros_like(y))
    sigmas = np.array([4.0, 3.0, 2.0, 1.0, 0.0])
    states = jax.jit(jax.vmap(lambda k: trajectory(zero, jnp.zeros(1), sigmas, eta=1.0, key=k)))(keys)[:, 1:4, 0]
    c = np.array([2.0**2 / 3.0**2, 1.0 / 2.0**2])
    innovations = np.stack([states[:, 0], states[:, 1] - c[0] * states[:, 0], states[:, 2] - c[1] * states[:, 1]])
    correlations = np.corrcoef(innovations)[np.triu_indices(3, 1)]
    assert (np.abs(correlations) < 4 / np.sqrt(20_000)).all()


def test_keys():
    noisy = jax.jit(lambda key, eta: sample(EMPIRICAL, Z, SIGMAS, eta=eta, key=key))
    a, b = jax.random.split(jax.random.key(5))
    assert np.array_equal(noisy(a, 0.5), noisy(a, 0.5))
    assert not np.array_equal(noisy(a, 0.5), noisy(b, 0.5))
    # A traced eta of 0 adds nothing, and a key given with eta = 0 is not used.
    np.testing.assert_allclose(noisy(a, 0.0), jit_sample(EMPIRICAL, Z, SIGMAS), atol=1e-14)
    np.testing.assert_array_equal(sample(EMPIRICAL, Z, SIGMAS, key=a), sample(EMPIRICAL, Z, SIGMAS))


def test_gradient_through_noisy_sampler_is_that_of_finite_differences():
    key, w = jax.random.key(6), np.array([0.3, -0.8])
    loss = jax.jit(
        jax.value_and_grad(lambda z, s, eta: jnp.sum(w * sample(EMPIRICAL, z, s, eta=eta, key=key)), argnums=(0, 1, 2))
    )
    at = (Z, SIGMAS, np.float64(0.6))
    directions = [
        (np.array([1.0, 0.5]), np.zeros(4), np.float64(0)),
        (np.zeros(2), np.array([0.5, -1.0, 0.4, 0.0]), np.float64(0)),
        (np.zeros(2), np.zeros(4), np.float64(1)),
    ]
    gradient, h = loss(*at)[1], 1e-5
    for direction in directions:
        high, low = (float(loss(*(a + s * h * d for a, d in zip(at, direction, strict=True)))[0]) for s in (1, -1))
        exact = sum(np.sum(g * d) for g, d in zip(gradient, direction, strict=True))
        assert exact == pytest.approx((high - low) / (2 * h), abs=1e-8)  # h**2 and 1e-16 / h


# --- density -------------------------------------------------------------------------------------------------------


def test_log_density_of_a_gaussian():
    """An affine denoiser generates a Gaussian of known law."""
    x = np.random.default_rng(0).standard_normal((40, 2, 2, 1)) * np.array([1.5, 0.3]).reshape(1, 1, 2, 1) + 0.4
    denoiser, sigmas = linear.fit(x, "full"), schedules.grid(schedules.karras(0.05, 10.0), 8)
    law = linear.generated(denoiser, sigmas)
    reference = scipy.stats.multivariate_normal(law.mean, law.covariance)
    density = jax.jit(log_density)
    for seed in range(3):
        z = jax.random.normal(jax.random.key(seed), (2, 2, 1))
        got_x, got = density(denoiser, z, sigmas)
        np.testing.assert_allclose(got_x, jit_sample(denoiser, z, sigmas), atol=1e-12)
        assert got == pytest.approx(reference.logpdf(np.ravel(got_x)), abs=1e-8)


def test_log_density_of_a_nonlinear_flow():
    """In one dimension: change of variables by finite differences of the sampler."""
    denoiser = EmpiricalDenoiser(np.array([[-1.0], [0.2], [1.1]]))
    sigmas, z, h = np.array([3.0, 1.5, 0.8, 0.0]), np.array([0.3]), 1e-5
    _, got = log_density(denoiser, z, sigmas)
    slope = (jit_sample(denoiser, z + h, sigmas) - jit_sample(denoiser, z - h, sigmas)) / (2 * h)
    assert got == pytest.approx(float(scipy.stats.norm.logpdf(z[0]) - np.log(abs(slope[0]))), abs=1e-8)


def test_log_density_where_there_is_none():
    """Two images span one direction: the generated law has no density."""
    x = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    _, got = jax.jit(log_density)(linear.fit(x, "full"), jnp.ones(3), SIGMAS)
    assert got == np.inf


@pytest.mark.parametrize("start", [100.0, -100.0, 1.5])
def test_log_density_of_a_diverging_chain(start):
    """Cubes overflow in a few steps: x is that of `sample`, its log-density that of a mass spread to infinity."""
    cube, z = lambda y, s: y**3, jnp.asarray([start, 0.1])
    sigmas = schedules.grid(schedules.karras(0.02, 20.0), 10)
    x, got = jax.jit(log_density, static_argnums=0)(cube, z, sigmas)
    np.testing.assert_array_equal(x, jit_sample_of_function(cube, z, sigmas))
    assert jnp.isinf(x[0])
    assert got == -np.inf


def test_log_density_where_only_a_derivative_is_infinite():
    """Roots at 0: the sample is finite, the Jacobian is not in one of its two rows."""
    roots = lambda y, s: jnp.stack([jnp.sqrt(y).sum(), 0.5 * y[1]])  # noqa: E731
    x, got = log_density(roots, jnp.zeros(2), SIGMAS)
    np.testing.assert_array_equal(x, np.zeros(2))
    assert got == -np.inf


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("function", [sample, trajectory])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigmas": SIGMAS[::-1]}, "strictly decreasing and end at 0"),
        ({"sigmas": np.array([2.0, 2.0, 0.0])}, "strictly decreasing and end at 0"),
        ({"sigmas": np.array([2.0, 1.0])}, "strictly decreasing and end at 0"),
        ({"sigmas": np.array([np.inf, 1.0, 0.0])}, "must be finite"),
        ({"sigmas": np.array([2.0, np.nan, 0.0])}, "must be finite"),
        ({"sigmas": np.array([0.0])}, "at least two noise levels"),
        ({"sigmas": SIGMAS[None]}, "one axis of at least two noise levels"),
        ({"sigmas": np.array([2, 1, 0])}, "sigmas must be floating point"),
        ({"z": np.array([1, 2])}, "z must be floating point"),
        ({"z": np.ones((5, 2))}, r"y must have shape \(2,\), got \(5, 2\); batch with jax.vmap"),
        ({"eta": 1.5, "key": jax.random.key(0)}, r"eta must lie in \[0, 1\], got 1.5"),
        ({"eta": -0.1, "key": jax.random.key(0)}, r"eta must lie in \[0, 1\], got -0.1"),
        ({"eta": np.nan, "key": jax.random.key(0)}, r"eta must lie in \[0, 1\]"),
        ({"eta": 0.5}, "pass key=jax.random.key"),
        ({"method": "euler"}, "method must be one of 'ddim', 'heun', got 'euler'"),
        ({"method": "heun", "eta": 0.5, "key": jax.random.key(0)}, "method 'heun' is deterministic"),
    ],
)
def test_bad_input(function, change, message):
    arguments = {"z": Z, "sigmas": SIGMAS, **change}
    with pytest.raises(ValueError, match=message):
        function(EMPIRICAL, **arguments)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_of_log_density():
    with pytest.raises(ValueError, match="strictly decreasing"):
        log_density(EMPIRICAL, Z, SIGMAS[::-1])
    with pytest.raises(ValueError, match="z must be floating point"):
        log_density(EMPIRICAL, np.array([1, 2]), SIGMAS)
