"""Polynomial denoisers against exact arithmetic, least squares, the linear theory, and bad input."""

import math
from decimal import Decimal, getcontext
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from jaxcreativity import sampling, schedules
from jaxcreativity.theory import linear, polynomial
from jaxcreativity.theory.polynomial import _expansion, separable

GRID = schedules.grid(schedules.log_linear(0.02, 20.0), 20)
SIGMAS = (1e-3, 1e-2, 0.1, 0.5, 1.0, 3.0, 30.0, 1e3)


def gaussian_moment(mean, std, k):
    double_factorials = [math.prod(range(1, 2 * j, 2)) for j in range(k // 2 + 1)]
    return sum(math.comb(k, 2 * j) * mean ** (k - 2 * j) * std ** (2 * j) * f for j, f in enumerate(double_factorials))


def mixture_moments(count, weight=0.6, means=(-1.0, 1.2), stds=(0.3, 0.4)):
    first, second = zip(means, stds, strict=True)
    return [weight * gaussian_moment(*first, k) + (1 - weight) * gaussian_moment(*second, k) for k in range(count)]


MOMENTS = {
    "gaussian": [gaussian_moment(0.0, 1.0, k) for k in range(15)],
    "exponential": [float(math.factorial(k)) for k in range(15)],
    "laplace": [0.0 if k % 2 else float(math.factorial(k)) for k in range(15)],
    "uniform": [0.0 if k % 2 else 1 / (k + 1) for k in range(15)],
    "mixture": mixture_moments(15),
    "atoms": [0.0 if k % 2 else 1.0 for k in range(15)],
}


def exact_denoiser(moments, sigma, degree, y):
    """Normal equations in 120-digit arithmetic on the very numbers that the tested code gets."""
    getcontext().prec = 120
    M, variance = [Decimal(float(m)) for m in moments], Decimal(float(sigma)) ** 2

    def product(m, n):
        orders = range(min(m, n) + 1)
        return sum(math.comb(m, k) * math.perm(n, k) * variance**k * M[m + n - 2 * k] for k in orders)

    size = degree + 1
    rows = [[product(i, j) for j in range(size)] + [M[i + 1]] for i in range(size)]
    for i in range(size):
        for r in range(i + 1, size):
            factor = rows[r][i] / rows[i][i]
            rows[r] = [a - factor * b for a, b in zip(rows[r], rows[i], strict=True)]
    theta = [Decimal(0)] * size
    for i in reversed(range(size)):
        theta[i] = (rows[i][-1] - sum(rows[i][c] * theta[c] for c in range(i + 1, size))) / rows[i][i]
    values = []
    for point in map(Decimal, map(float, y)):
        hermite = [Decimal(1), point]
        for k in range(1, degree):
            hermite.append(point * hermite[k] - k * variance * hermite[k - 1])
        values.append(float(sum(t * h for t, h in zip(theta, hermite, strict=True))))
    return np.array(values)


@jax.jit
def evaluate(denoiser, y, sigma):
    return jax.vmap(denoiser, in_axes=(0, None))(y, sigma)


@pytest.mark.parametrize(("dtype", "degree", "tolerance"), [
    ("float32", 1, 1e-3), ("float32", 2, 1e-3), ("float32", 3, 1e-3), ("float64", 3, 1e-12), ("float64", 7, 1e-10),
])  # fmt: skip
def test_matches_exact_arithmetic_at_every_noise_level(dtype, degree, tolerance):
    for name, moments in MOMENTS.items():
        moments = np.asarray(moments, dtype)
        denoiser = polynomial.from_moments(jnp.asarray(moments), degree)
        std = math.sqrt(moments[2] - moments[1] ** 2)
        reach = np.linspace(-3, 3, 25)
        for sigma in np.asarray(SIGMAS, dtype):
            y = np.asarray(moments[1] + reach * math.hypot(std, sigma), dtype)
            expected = exact_denoiser(moments, sigma, degree, y)
            got = evaluate(denoiser, jnp.asarray(y), jnp.asarray(sigma))
            assert got.dtype == dtype
            error = np.abs(np.asarray(got, float) - expected) / np.maximum(np.abs(expected), std)
            assert error.max() < tolerance, (name, sigma, error.max())


@pytest.mark.parametrize("unit", [1e-18, 1.0, 1e12])
def test_recurrence_of_the_exponential_law_in_any_unit(unit):
    """That of `(x - unit) / unit` is Laguerre's: alpha_n = 2 n, beta_n = n."""
    target = polynomial.from_moments([math.factorial(k) * unit**k for k in range(7)], 3).target
    np.testing.assert_allclose([target.mean, target.scale], [unit, unit], rtol=1e-14)
    np.testing.assert_allclose(target.alpha, [0.0, 2.0, 4.0], atol=1e-12)
    np.testing.assert_allclose(target.beta, [1.0, 2.0, 3.0], rtol=1e-12)


def test_newton_step_brings_back_digits_and_costs_none():
    """Degree 9: the uniform law keeps five digits without it, order 10 ten; the Gaussian law is exact and stays so."""
    n = np.arange(1, 10)
    for twice_order, tolerance in ((1, 1e-8), (20, 1e-11)):  # the laws (1 - x^2)^(order - 1/2), Gegenbauer's
        ratios = [Fraction(2 * i - 1, 2 * i + twice_order) for i in n.tolist()]
        moments = [float(math.prod(ratios[: k // 2])) if k % 2 == 0 else 0.0 for k in range(19)]
        target, order = polynomial.from_moments(moments, 9).target, twice_order / 2
        beta2 = n * (n + 2 * order - 1) / (4 * (n + order) * (n + order - 1))
        np.testing.assert_allclose(target.beta, np.sqrt(beta2 / moments[2]), rtol=tolerance)
        np.testing.assert_allclose(target.alpha, 0.0, atol=tolerance)
    gaussian = polynomial.from_moments([gaussian_moment(0.0, 1.0, k) for k in range(19)], 9).target
    np.testing.assert_allclose(gaussian.beta, np.sqrt(n), rtol=1e-14)


@pytest.mark.parametrize("weight", [0.2, 1e-6])
def test_recurrences_of_one_and_two_atoms_end(weight):
    """Atoms 0 and 1, however rare the second, and one atom, whose scale is said to be 1."""
    std = math.sqrt(weight * (1 - weight))
    two = polynomial.from_moments([1.0] + [weight] * 6, 3).target
    np.testing.assert_allclose([two.mean, two.scale], [weight, std], rtol=1e-14)
    np.testing.assert_allclose(two.alpha[:2], [0.0, (1 - 2 * weight) / std], atol=1e-12 / std)
    np.testing.assert_allclose(two.beta, [1.0, 0.0, 0.0], atol=1e-12)
    one = polynomial.from_moments([weight**k for k in range(7)], 3)
    np.testing.assert_array_equal([one.target.mean, one.target.scale], [weight, 1.0])
    np.testing.assert_array_equal(one.target.beta, np.zeros(3))
    np.testing.assert_array_equal(evaluate(one, jnp.array([-3.0, 2.0]), 0.5), [weight, weight])


@pytest.mark.parametrize("degree", [2, 5])
def test_stein_form(degree):
    """`D = y - sigma^2 sum_n E[h_n'] h_n`, E over the noisy exponential law by quadrature."""
    sigma = 0.7
    denoiser = polynomial.from_moments(jnp.array(MOMENTS["exponential"]), degree)
    projection = denoiser.at(sigma)
    x, x_weight = np.polynomial.laguerre.laggauss(12)
    e, e_weight = np.polynomial.hermite_e.hermegauss(12)
    nodes = jnp.asarray((x[:, None] + sigma * e[None]).ravel())
    weights = jnp.asarray((x_weight[:, None] * e_weight[None] / e_weight.sum()).ravel())
    basis = jax.jit(jax.vmap(lambda y: _expansion.noisy_basis(projection, y)))
    slope = jax.jit(jax.vmap(jax.jacfwd(lambda y: _expansion.noisy_basis(projection, y))))(nodes)
    gram = jnp.einsum("n,ni,nj->ij", weights, basis(nodes), basis(nodes))
    np.testing.assert_allclose(gram, np.eye(degree + 1), atol=1e-9)
    y = jnp.linspace(-2.0, 5.0, 9)
    stein = y - sigma**2 * basis(y) @ (weights @ slope)
    np.testing.assert_allclose(evaluate(denoiser, y, sigma), stein, atol=1e-9)
    coefficients = _expansion.monomials(projection)
    powers = ((y - projection.mean) / projection.noisy_scale)[:, None] ** jnp.arange(degree + 1)[None]
    np.testing.assert_allclose(projection.mean + projection.scale * (powers @ coefficients), stein, atol=1e-9)


def test_equals_least_squares_on_samples(key):
    """Regression on 10^6 noisy samples: fitted values within 4 standard errors (sandwich formula)."""
    sigma, degree, n = 0.6, 3, 10**6
    x_key, noise_key = jax.random.split(key)
    x = np.asarray(jax.random.exponential(x_key, (n,)))
    y = x + sigma * np.asarray(jax.random.normal(noise_key, (n,)))
    features = np.polynomial.polynomial.polyvander(y, degree)
    inverse = np.linalg.inv(features.T @ features)
    theta = inverse @ (features.T @ x)
    residual = x - features @ theta
    spread = inverse @ (features.T @ (features * residual[:, None] ** 2)) @ inverse
    points = np.linspace(-0.5, 4.0, 10)
    design = np.polynomial.polynomial.polyvander(points, degree)
    standard_error = np.sqrt(np.einsum("ni,ij,nj->n", design, spread, design))
    predicted = evaluate(polynomial.from_moments(MOMENTS["exponential"], degree), jnp.asarray(points), sigma)
    assert (np.abs(design @ theta - predicted) < 4 * standard_error).all()


@pytest.mark.parametrize(("basis", "structure", "options"), [
    ("pixel", "pixelwise", {}), ("pca", "full", {}), ("joint", "full", {}), ("patch", "local", {"kernel_size": 3}),
])  # fmt: skip
def test_degree_one_is_the_linear_theory(digits, key, basis, structure, options):
    x = jnp.asarray(digits)
    polynomials = polynomial.fit(x, 1, basis=basis, **options)
    lines = linear.fit(x, structure, **options)
    y = x[:3] + jax.random.normal(key, x[:3].shape)
    for sigma in (1e-2, 0.3, 2.0, 1e3):
        np.testing.assert_allclose(evaluate(polynomials, y, sigma), evaluate(lines, y, sigma), atol=1e-10)


@pytest.mark.parametrize("degree", [2, 3])
def test_joint_and_patch_equal_dense_least_squares(degree):
    """Against a weighted `lstsq` on a Gauss-Hermite product grid around every data point."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2)) @ np.array([[1.0, 0.5], [0.0, 0.3]]) + 0.2 * rng.normal(size=(30, 2)) ** 2
    sigma = 0.6
    e, weight = np.polynomial.hermite_e.hermegauss(degree + 2)
    noise = np.stack(np.meshgrid(e, e, indexing="ij"), axis=-1).reshape(-1, 2)
    root = np.repeat(np.sqrt(np.outer(weight, weight).ravel()), len(x))[:, None]
    y = np.concatenate([x + sigma * step for step in noise])

    def monomials(points):
        powers = [(a, b) for a in range(degree + 1) for b in range(degree + 1 - a)]
        return np.stack([points[:, 0] ** a * points[:, 1] ** b for a, b in powers], axis=1)

    theta = np.linalg.lstsq(monomials(y) * root, np.tile(x, (len(noise), 1)) * root, rcond=None)[0]
    points = rng.normal(size=(6, 2))
    expected = monomials(points) @ theta
    joint = polynomial.fit(jnp.asarray(x), degree, basis="joint")
    np.testing.assert_allclose(evaluate(joint, jnp.asarray(points), sigma), expected, atol=1e-10)
    # A 1 x 1 patch of two channels is the same regression about one mean per channel.
    patch = polynomial.fit(jnp.asarray(x.reshape(30, 1, 1, 2)), degree, basis="patch", kernel_size=1)
    got = evaluate(patch, jnp.asarray(points.reshape(6, 1, 1, 2)), sigma)
    np.testing.assert_allclose(got.reshape(6, 2), expected, atol=1e-10)


def test_patch_basis_commutes_with_circular_shifts(digits, key):
    denoiser = polynomial.fit(jnp.asarray(digits), 2, basis="patch", kernel_size=3, sigmas=GRID)
    y = jax.random.normal(key, digits.shape[1:])
    still, moved = evaluate(denoiser, jnp.stack([y, jnp.roll(y, (1, 2), (0, 1))]), 0.5)
    np.testing.assert_allclose(jnp.roll(still, (1, 2), (0, 1)), moved, atol=1e-9)


@pytest.mark.parametrize(("basis", "options"), [("pca", {}), ("patch", {"kernel_size": 3})])
def test_table_of_a_grid_gives_the_same_denoiser(digits, key, basis, options):
    x = jnp.asarray(digits)
    denoiser = polynomial.fit(x, 2, basis=basis, **options)
    table = polynomial.fit(x, 2, basis=basis, sigmas=GRID, **options)
    for level in (0, 7, -2):
        y = x[:1] + GRID[level] * jax.random.normal(key, x[:1].shape)
        np.testing.assert_allclose(evaluate(table, y, GRID[level]), evaluate(denoiser, y, GRID[level]), atol=1e-9)


def test_table_uses_the_nearest_level():
    denoiser, y = polynomial.from_moments(MOMENTS["exponential"], 3), jnp.linspace(-2.0, 4.0, 7)
    table = polynomial.tabulate(denoiser, GRID)
    for sigma, level in ((1.1 * GRID[5], 5), (0.9 * GRID[7], 7), (1e3, 0), (0.0, -2)):
        np.testing.assert_allclose(evaluate(table, y, sigma), evaluate(denoiser, y, GRID[level]), rtol=1e-12)


def test_pca_leaves_out_directions_of_rounding_size_only():
    """Standard deviations 1e-2, 2e-9 and 0 on oblique axes: the second is 2e-7 of the first, rounding 3e-8 of it."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    x = (rng.normal(size=(4096, 3)) * np.array([1e-2, 2e-9, 0.0])) @ axes.T
    target = polynomial.fit(jnp.asarray(x), 1, basis="pca").target
    assert target.constant.tolist() == [True, False, False]
    np.testing.assert_allclose(target.scale[1:], [2e-9, 1e-2], rtol=0.1)


def test_pca_of_data_far_from_zero_in_float32():
    """About 1e4, where float32 is spaced by 1e-3 and means of 2^16 examples lose more; against float64."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2**16, 2)) * np.array([0.1, 0.02]) @ np.array([[0.8, 0.6], [-0.6, 0.8]])
    x = jnp.asarray(1e4 + x, jnp.float32)
    y = x[:20]
    single, double = (polynomial.fit(x.astype(dtype), 1, basis="pca") for dtype in (jnp.float32, jnp.float64))
    got, expected = evaluate(single, y, 0.05), evaluate(double, y.astype(jnp.float64), 0.05)
    np.testing.assert_allclose(got.astype(jnp.float64), expected, atol=3e-3)


def test_same_moments_same_denoiser():
    """Two laws that agree up to order 2p cannot be told apart at degree p, and can at p + 1."""
    # Three atoms with the moments of the exponential law up to order 5 (Gauss-Laguerre nodes).
    nodes, weights = np.polynomial.laguerre.laggauss(3)
    atoms = [float((weights * nodes**k).sum()) for k in range(15)]
    y = jnp.linspace(-2, 4, 7)
    for degree, differs in ((1, False), (2, False), (3, True)):
        one = evaluate(polynomial.from_moments(atoms, degree), y, 0.5)
        two = evaluate(polynomial.from_moments(MOMENTS["exponential"], degree), y, 0.5)
        assert bool(jnp.abs(one - two).max() > (1e-2 if differs else 1e-12)) == differs


def test_constant_and_two_valued_pixels_are_finite_at_every_noise_level():
    x = jnp.stack([jnp.full((8,), 0.25), jnp.tile(jnp.array([-1.0, 1.0]), 4)], axis=1)
    for dtype in (jnp.float32, jnp.float64):
        denoiser = polynomial.fit(x.astype(dtype), 5, basis="pixel")
        for sigma in (1e-4, 1e-2, 1.0, 1e3):
            got = evaluate(denoiser, jnp.array([[0.25 + sigma, 1.0 + sigma], [0.3, -1.0]], dtype), sigma)
            assert bool(jnp.isfinite(got).all())
            np.testing.assert_allclose(got[:, 0], 0.25, atol=1e-5)
        np.testing.assert_allclose(evaluate(denoiser, jnp.array([[0.3, -1.0]], dtype), 1e-4)[0, 1], -1.0, atol=1e-3)


def test_infinite_input_stays_and_overflow_is_infinite():
    denoiser = polynomial.from_moments(MOMENTS["exponential"], 3)
    got = evaluate(denoiser, jnp.array([jnp.inf, -jnp.inf, 1e300, 0.0, jnp.nan]), 0.5)
    np.testing.assert_array_equal(got[:2], [jnp.inf, -jnp.inf])
    assert jnp.isinf(got[2])
    assert jnp.isfinite(got[3])
    assert jnp.isnan(got[4])


def test_one_diverged_component_makes_the_whole_example_infinite(digits):
    denoiser = polynomial.fit(jnp.asarray(digits), 3, basis="pca")
    y = jnp.stack([jnp.asarray(digits[0]), jnp.full(digits.shape[1:], 1e200)])
    got = evaluate(denoiser, y, 0.5)
    assert bool(jnp.isfinite(got[0]).all())
    assert bool(jnp.isinf(got[1]).all())


def test_one_infinite_entry_makes_all_infinite(digits):
    """Of an example, and of its coordinates."""
    denoiser = polynomial.fit(jnp.asarray(digits), 1, basis="pca")
    x = jnp.asarray(digits[0])
    one = jnp.zeros(x.size).at[3].set(jnp.inf)
    assert bool(jnp.isposinf(separable.to_coordinates(denoiser, one.reshape(x.shape))).all())
    assert bool(jnp.isposinf(separable.from_coordinates(denoiser, one)).all())
    back = separable.from_coordinates(denoiser, separable.to_coordinates(denoiser, x))
    np.testing.assert_allclose(back, x, atol=1e-12)


def test_law_far_from_zero_varies():
    """By two millionths of its mean, which rounding leaves three digits of."""
    target = polynomial.from_moments([1.0, 1e6, 1e12 + 4], 1).target
    np.testing.assert_allclose([target.mean, target.scale], [1e6, 2.0], rtol=1e-3)


def test_mean_of_many_float32_examples_is_right_to_its_last_place():
    """Of 2^16 + 1 numbers about 1e4, whose plain mean is off by twice that."""
    x = 1e4 + np.random.default_rng(0).exponential(size=(2**16 + 1, 3))
    offset = polynomial.fit(jnp.asarray(x, jnp.float32), 1, basis="pca").offset
    np.testing.assert_allclose(offset, np.asarray(x, np.float32).mean(axis=0, dtype=np.float64), rtol=0, atol=5e-4)


def test_density_of_degree_one_is_that_of_the_map():
    """Seeds of one Gaussian become another, as the sampler takes seed 1 to its standard deviation."""
    denoiser = polynomial.from_moments([1.0, 0.0, 2.0], 1)
    grid = schedules.grid(schedules.log_linear(0.02, 20.0), 4)
    std = float(sampling.sample(denoiser, jnp.array(1.0), grid))
    x = np.array([-1.5, 0.0, 0.7])
    np.testing.assert_allclose(
        polynomial.log_density(denoiser, jnp.asarray(x), grid), norm.logpdf(x, 0, std), rtol=1e-6
    )


@pytest.mark.parametrize("method", ["ddim", "heun"])
def test_diverging_trajectory_is_flagged_and_leaves_its_batch_alone(method):
    grid = schedules.grid(schedules.log_linear(0.02, 20.0), 40)
    z = jnp.array([0.5, 6.0, -6.0, -1.0])

    @jax.jit
    def run(moments, z):
        denoiser = polynomial.from_moments(moments, 3)
        x = jax.vmap(lambda z: sampling.sample(denoiser, z, grid, method=method))(z)
        return jnp.sum(jnp.where(jnp.isinf(x), 0.0, x) ** 2), x

    moments = jnp.array(MOMENTS["laplace"])
    _, x = run(moments, z)
    assert bool(jnp.isinf(x[1:3]).all())
    assert jax.vmap(sampling.diverged)(x).tolist() == [False, True, True, False]
    calm = run(moments, z.at[1:3].set(0.1))[1]
    np.testing.assert_array_equal(calm[jnp.array([0, 3])], x[jnp.array([0, 3])])
    if method == "ddim":
        assert bool(jnp.isfinite(jax.jit(jax.grad(lambda m: run(m, z)[0]))(moments)).all())


def test_any_denoiser_that_overflows_ends_infinite_not_nan():
    x = jax.jit(lambda z: sampling.sample(lambda y, s: y**3 - y**2, z, GRID))(jnp.array([1.0, 0.0]))
    assert bool(sampling.diverged(x))
    assert not bool(jnp.isnan(x).any())
    assert jnp.isfinite(x[1])


@pytest.mark.parametrize(("moments", "degree", "message"), [
    ([1.0, 0.0, 1.0], 2, "k = 0 ... 4"),
    ([1.0, 0.0, 1.0], 0, "degree"),
    ([1.0, 0.0, 1.0], -1, "degree"),
    ([0.9, 0.0, 1.0], 1, r"moments\[0\]"),
    ([1.0, 1.0, 0.5], 1, r"moments\[2\] is below moments\[1\]"),
    ([1.0, 0.0, -1.0], 1, r"moments\[2\] is below moments\[1\]"),
    ([1.0, 0.0, 1.0, 0.0, 0.5], 2, r"Hankel matrix of moments\[0 ... 4\]"),
    ([1.0, 0.0, 1.0, 0.0, 3.0, 0.0, 8.0], 3, r"Hankel matrix of moments\[0 ... 6\]"),
    ([1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 5.0], 3, r"belong to 2 atoms .*moments\[6\]"),
    ([1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.5], 3, r"belong to 2 atoms .*moments\[6\]"),
    ([1.0, 0.0, 1.0, 0.0, 1.0, 0.5, 1.0], 3, r"belong to 2 atoms .*moments\[5\]"),
    ([1.0, 0.0, np.nan, 0.0, 1.0], 2, "finite"),
])  # fmt: skip
def test_bad_moments(moments, degree, message):
    with pytest.raises(ValueError, match=message):
        polynomial.from_moments(moments, degree)


@pytest.mark.parametrize(("options", "message"), [
    ({"degree": 0, "basis": "pixel"}, "degree"),
    ({"degree": 2, "basis": "fourier"}, "basis"),
    ({"degree": 2, "basis": "patch"}, "kernel_size"),
    ({"degree": 2, "basis": "patch", "kernel_size": 4}, "odd"),
    ({"degree": 2, "basis": "patch", "kernel_size": 9}, "at most"),
    ({"degree": 2, "basis": "pixel", "kernel_size": 3}, "kernel_size goes with"),
    ({"degree": 3, "basis": "joint"}, r"47,905 features.*GiB"),
])  # fmt: skip
def test_bad_fits(digits, unchecked, options, message):
    options = dict(options)
    with pytest.raises(ValueError, match=message):
        polynomial.fit(jnp.asarray(digits), options.pop("degree"), **options)


def test_constant_coordinates_have_no_density():
    x = jnp.array([[0.0, 1.0, 0.5], [0.0, 2.0, 0.5], [0.0, 4.0, 0.5]])
    with pytest.raises(ValueError, match="2 of 3 coordinate"):
        polynomial.density(polynomial.fit(x, 1, basis="pixel"), x[:1], GRID)
