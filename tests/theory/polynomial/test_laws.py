"""Generated laws of polynomial denoisers: finite schedules against the sampler, limits against their maps."""

import math

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from jaxcreativity import generate, sampling, schedules
from jaxcreativity.theory import linear, polynomial

pytestmark = pytest.mark.slow  # minutes of compilation on two cores

GRID = schedules.grid(schedules.log_linear(0.02, 20.0), 20)
SIGMA_MAX, SIGMA_MIN = 20.0, 0.01
EXPONENTIAL = jnp.array([float(math.factorial(k)) for k in range(9)])
LAPLACE = jnp.array([0.0 if k % 2 else float(math.factorial(k)) for k in range(9)])
_MEAN, _STD = 1.0, 0.3
TWO_MODES = jnp.array([
    0.0 if k % 2 else sum(
        math.comb(k, 2 * j) * _MEAN ** (k - 2 * j) * _STD ** (2 * j) * math.prod(range(1, 2 * j, 2))
        for j in range(k // 2 + 1)
    )
    for k in range(9)
])  # fmt: skip
POINTS = jnp.linspace(-4.0, 6.0, 2001)


def draw(denoiser, z):
    return generate(denoiser, z, GRID)


@pytest.fixture(scope="module")
def cubic():
    return polynomial.from_moments(TWO_MODES, 3)


@pytest.mark.parametrize("moments", [TWO_MODES, EXPONENTIAL])
def test_law_of_a_finite_grid_is_that_of_the_sampler(moments, key):
    denoiser, n = polynomial.from_moments(moments, 3), 20_000
    samples = np.sort(np.asarray(draw(denoiser, jax.random.normal(key, (n,)))))
    distribution = np.asarray(polynomial.cdf(denoiser, POINTS, GRID))
    counted = np.searchsorted(samples, np.asarray(POINTS), side="right") / n
    assert np.abs(counted - distribution).max() < 1.95 / math.sqrt(n)
    density = np.asarray(polynomial.density(denoiser, POINTS, GRID))
    assert (density >= 0).all()
    middle = np.abs(np.diff(np.log(np.maximum(density, 1e-300)))) < 0.05  # away from edges of the support
    slope = np.diff(distribution) / np.diff(np.asarray(POINTS))
    np.testing.assert_allclose(slope[middle], 0.5 * (density[1:] + density[:-1])[middle], rtol=5e-3, atol=1e-6)


def test_folded_branches_are_all_counted():
    """A quadratic of one step, `x = z^2`-like, has two preimages: compare with the noncentral chi-square law."""
    denoiser = polynomial.from_moments(EXPONENTIAL, 2)
    one_step = jnp.array([1.5, 0.0])
    constant, linear_, square = _monomials_in_z(denoiser, 1.5)
    x = jnp.linspace(-0.5, 6.0, 2001)
    root = jnp.sqrt(jnp.maximum(linear_**2 - 4 * square * (constant - x), 0.0))
    first, second = (-linear_ + root) / (2 * square), (-linear_ - root) / (2 * square)
    inside = linear_**2 - 4 * square * (constant - x) > 1e-4
    expected = jnp.where(inside, (norm.pdf(first) + norm.pdf(second)) / jnp.where(inside, root, 1.0), 0.0)
    got = polynomial.density(denoiser, x, one_step)
    np.testing.assert_allclose(jnp.where(inside, got, 0.0), expected, rtol=1e-8, atol=1e-20)


def _monomials_in_z(denoiser, sigma):
    z = jnp.array([-1.0, 0.0, 1.0])
    low, middle, high = jax.vmap(denoiser, in_axes=(0, None))(sigma * z, sigma)
    return middle, (high - low) / 2, (high + low) / 2 - middle


def test_degree_one_generates_the_gaussian_of_the_linear_theory(digits):
    x = jnp.asarray(digits)[:, 3:5, 3, 0]
    gaussian = linear.generated(linear.fit(x, "full"), GRID)
    denoiser = polynomial.fit(x, 1, basis="pca")
    expected = jax.vmap(gaussian.log_prob)(x[:5])
    np.testing.assert_allclose(polynomial.log_density(denoiser, x[:5], GRID), expected, rtol=1e-8)
    moments = polynomial.generated_moments(polynomial.fit(x, 1, basis="pixel"), GRID, 2, z_max=9.0)
    pixelwise = linear.generated(linear.fit(x, "pixelwise"), GRID)
    np.testing.assert_allclose(moments[1], pixelwise.mean, atol=1e-9)
    np.testing.assert_allclose(moments[2] - moments[1] ** 2, jnp.diagonal(pixelwise.covariance), rtol=1e-8)


def test_moments_are_those_of_samples(cubic, key):
    x = draw(cubic, jax.random.normal(key, (200_000,)))
    moments = polynomial.generated_moments(cubic, GRID, 8)
    for k in range(1, 5):
        error = math.sqrt((moments[2 * k] - moments[k] ** 2) / x.size)
        assert abs(jnp.mean(x**k) - moments[k]) < 4 * error


def test_gradients_match_finite_differences():
    x = jnp.array([-1.1, -0.4, 0.2, 0.9, 1.05])

    def likelihood(moments):
        return polynomial.expected_log_likelihood(polynomial.from_moments(moments, 3), x, GRID)

    def distance(moments):
        return jnp.max(
            jnp.abs(polynomial.cdf(polynomial.from_moments(moments, 3), x, GRID) - jnp.linspace(0.1, 0.9, 5))
        )

    def limit(moments):
        return polynomial.limit_density(polynomial.from_moments(moments, 3), x, SIGMA_MAX, SIGMA_MIN).sum()

    moments = TWO_MODES[:7].at[1:].add(0.01)
    direction = jnp.array([0.0, 1.0, -0.5, 0.3, 1.0, -0.2, 0.7])
    for loss in (likelihood, distance, limit):
        _, gradient = jax.jit(jax.value_and_grad(loss))(moments)
        assert bool(jnp.isfinite(gradient).all())
        above, below = (jax.jit(loss)(moments + step * direction) for step in (1e-5, -1e-5))
        np.testing.assert_allclose(gradient @ direction, (above - below) / 2e-5, rtol=2e-4)


# --- many steps ---------------------------------------------------------------------------------------------------


def integrate(denoiser, z):
    """The flow, forward, by a solver of its own."""

    def field(t, y, _):
        return y - denoiser(y, jnp.exp(t))

    def one(z):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(field), diffrax.Dopri8(), math.log(SIGMA_MAX), math.log(SIGMA_MIN), None, SIGMA_MAX * z,
            stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-10), max_steps=10_000,
        ).ys[-1]  # fmt: skip

    return jax.jit(jax.vmap(one))(z)


def test_moebius_map():
    denoiser = polynomial.from_moments(EXPONENTIAL, 2)
    matrix = polynomial.moebius_map(EXPONENTIAL, SIGMA_MAX, SIGMA_MIN)
    (a, b), (c, d) = np.asarray(matrix)
    np.testing.assert_allclose(a * d - b * c, 1.0, rtol=1e-8)
    z = jnp.linspace(-3.0, 3.0, 7)
    y = SIGMA_MAX * z
    x = (a * y + b) / (c * y + d)
    np.testing.assert_allclose(x, integrate(denoiser, z), atol=1e-6)
    pole = -d / (c * SIGMA_MAX)
    np.testing.assert_allclose(pole, 5.0413, atol=1e-3)  # theory section 3: an exponential target at 5
    low, high = polynomial.blow_up_seeds(denoiser, SIGMA_MAX, SIGMA_MIN)
    assert low == -jnp.inf
    np.testing.assert_allclose(high, pole, rtol=1e-6)
    density = polynomial.limit_density(denoiser, x, SIGMA_MAX, SIGMA_MIN)
    np.testing.assert_allclose(density, norm.pdf(z) * (c * y + d) ** 2 / SIGMA_MAX, rtol=1e-6)


def test_late_blow_ups_are_not_missed():
    """Two atoms blow up at a constant rate down to `sigma_min`: the ends must not wait for an overflow."""
    moments = [1.0] + [0.2] * 4
    (_, _), (c, d) = polynomial.moebius_map(moments, SIGMA_MAX, SIGMA_MIN)
    low, high = polynomial.blow_up_seeds(polynomial.from_moments(moments, 2), SIGMA_MAX, SIGMA_MIN)
    assert low == -jnp.inf
    np.testing.assert_allclose(high, -d / (c * SIGMA_MAX), rtol=1e-6)


@pytest.mark.parametrize(("moments", "bounded"), [(TWO_MODES, True), (LAPLACE, False)])
def test_bernoulli_map(moments, bounded):
    denoiser = polynomial.from_moments(moments, 3)
    alpha, beta = polynomial.bernoulli_map(moments, SIGMA_MAX, SIGMA_MIN)
    z = jnp.linspace(-3.0, 3.0, 7)
    x = alpha * z / jnp.sqrt(1 + beta * z**2)
    np.testing.assert_allclose(x, integrate(denoiser, z), atol=1e-6)
    density = polynomial.limit_density(denoiser, x, SIGMA_MAX, SIGMA_MIN)
    np.testing.assert_allclose(density, norm.pdf(z) * (1 + beta * z**2) ** 1.5 / alpha, rtol=1e-5)
    low, high = polynomial.blow_up_seeds(denoiser, SIGMA_MAX, SIGMA_MIN)
    if bounded:
        assert beta > 0
        assert (low, high) == (-jnp.inf, jnp.inf)
        edge = float(alpha / jnp.sqrt(beta))
        around = polynomial.limit_density(denoiser, edge * jnp.linspace(0.97, 1.03, 7), SIGMA_MAX, SIGMA_MIN)
        assert (around[:3] > 0).all()
        assert (around[4:] == 0).all()
    else:
        np.testing.assert_allclose([low, high], [-1 / jnp.sqrt(-beta), 1 / jnp.sqrt(-beta)], rtol=1e-6)
        counted = polynomial.blow_up_probability(denoiser, SIGMA_MAX, SIGMA_MIN)
        np.testing.assert_allclose(counted, 2 * norm.cdf(low), rtol=1e-12)


@pytest.mark.parametrize(("degree", "moments"), [
    (2, [1.0] + [0.2] * 4),  # atoms 0 and 1, the second of probability 0.2
    (3, [1.0] + [0.1 * ((k + 1) % 2) for k in range(1, 7)]),  # atoms -1, 0, 1; the outer ones of 0.05 each
])  # fmt: skip
def test_blow_up_probability_is_the_count_over_a_million_seeds(degree, moments, key):
    denoiser = polynomial.from_moments(moments, degree)
    predicted = float(polynomial.blow_up_probability(denoiser, SIGMA_MAX, SIGMA_MIN))
    assert 1e-4 < predicted < 0.3
    z = jax.random.normal(key, (10**6,))
    # Two atoms blow up at a constant rate down to sigma_min, and a trajectory needs some steps to overflow: the count
    # is 2 % low at 500 steps and 0.5 % (one standard error) at 2000. Euler steps are far worse.
    fine = schedules.grid(schedules.log_linear(SIGMA_MIN, SIGMA_MAX), 2000)
    exact = float(polynomial.diverging_probability(denoiser, GRID))
    for grid, method, expected in ((fine, "heun", predicted), (GRID, "ddim", exact)):
        table = polynomial.tabulate(denoiser, grid)
        final = generate(table, z, grid, method=method)
        assert not bool(jnp.isnan(final).any())
        counted = float(jax.vmap(sampling.diverged)(final).mean())
        assert abs(counted - expected) < 4 * math.sqrt(max(expected, 1e-6) / z.size), (counted, expected)


def test_gradient_of_the_blow_up_probability_is_that_of_the_pole():
    def of_the_pole(moments):
        (_, _), (c, d) = polynomial.moebius_map(moments, SIGMA_MAX, SIGMA_MIN)
        return norm.cdf(d / (c * SIGMA_MAX))

    def probability(moments):
        return polynomial.blow_up_probability(polynomial.from_moments(moments, 2), SIGMA_MAX, SIGMA_MIN)

    # Two modes of 0.1 standard deviations, 0 and 1, the second of probability 0.2.
    moments = jnp.array([1.0, 0.2, 0.21, 0.206, 0.2123])
    value, gradient = jax.jit(jax.value_and_grad(probability))(moments)
    expected, expected_gradient = jax.jit(jax.value_and_grad(of_the_pole))(moments)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient[1:], expected_gradient[1:], rtol=1e-4)


def test_langevin_density(cubic):
    x = jnp.linspace(-3.0, 3.0, 4001)
    density, normalisable = polynomial.langevin_density(cubic, x, 0.3)
    assert bool(normalisable)
    np.testing.assert_allclose(jnp.trapezoid(density, x), 1.0, atol=1e-6)
    score = jax.jit(jax.vmap(lambda y: (cubic(y, 0.3) - y) / 0.09))(x[1:-1])
    np.testing.assert_allclose(jnp.gradient(jnp.log(density), x)[1:-1], score, atol=1e-2)
    for moments, degree in ((EXPONENTIAL, 2), (LAPLACE, 3)):
        density, normalisable = polynomial.langevin_density(polynomial.from_moments(moments, degree), x, 0.3)
        assert not bool(normalisable)
        assert (density == 0).all()
    gaussian = polynomial.from_moments([1.0, 0.0, 1.0, 0.0, 3.0, 0.0, 15.0], 3)
    density, normalisable = polynomial.langevin_density(gaussian, x, 0.5)
    assert bool(normalisable)
    np.testing.assert_allclose(density, norm.pdf(x, scale=math.sqrt(1.25)), atol=1e-8)


def test_bad_input(cubic, digits, unchecked):
    with pytest.raises(ValueError, match="sigma_min < sigma_max"):
        polynomial.blow_up_probability(cubic, 0.01, 20.0)
    with pytest.raises(ValueError, match="symmetric"):
        polynomial.bernoulli_map(EXPONENTIAL, SIGMA_MAX, SIGMA_MIN)
    x = jnp.asarray(digits)
    with pytest.raises(ValueError, match="constant"):
        polynomial.density(polynomial.fit(x, 2, basis="pixel"), x[:1], GRID)
    patch = polynomial.fit(x, 1, basis="patch", kernel_size=3)
    for law in (
        lambda: polynomial.density(patch, x[:1], GRID),
        lambda: polynomial.cdf(patch, x[:1], GRID),
        lambda: polynomial.generated_moments(patch, GRID, 2),
        lambda: polynomial.diverging_probability(patch, GRID),
        lambda: polynomial.blow_up_seeds(patch, SIGMA_MAX, SIGMA_MIN),
        lambda: polynomial.langevin_density(patch, x[:1], 0.3),
    ):
        with pytest.raises(ValueError, match="separable"):
            law()
