"""Synthetic targets against SciPy, quadrature in float64, and Monte Carlo with stated standard errors."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from jaxcreativity import _checks, distributions, sampling, schedules

SIGMAS = (1e-4, 1e-2, 0.1, 0.7, 3.0, 40.0, 1e3)


def _covariances(dtype=np.float64):
    return np.array([[[0.5, 0.2], [0.2, 0.3]], [[0.1, -0.05], [-0.05, 0.4]]], dtype)


TARGETS = {
    "laplace": lambda t: distributions.Laplace(t(0.7), t(0.4)),
    "exponential": lambda t: distributions.Exponential(t(1.6)),
    "uniform": lambda t: distributions.Uniform(t(-0.5), t(2.0)),
    "mixture_1d": lambda t: distributions.GaussianMixture(
        np.array([0.3, 0.7], t), np.array([[-1.0], [0.8]], t), np.array([[[0.2]], [[0.5]]], t)
    ),
    "atoms_1d": lambda t: distributions.Atoms(np.array([[-1.0], [0.5]], t), np.array([0.25, 0.75], t)),
    "mixture_2d": lambda t: distributions.GaussianMixture(
        np.array([0.4, 0.6], t), np.array([[1.0, 0.0], [-0.5, 0.7]], t), _covariances(t)
    ),
    "atoms_image": lambda t: distributions.Atoms(np.linspace(-1, 1, 3 * 2 * 2).reshape(3, 2, 2, 1).astype(t)),
    "ring": lambda t: distributions.Ring(t(1.3), t(0.2)),
    "texture": lambda t: distributions.Texture.power_law(4, 5, t(1.5), t(0.8)),
}
ONE_DIMENSIONAL = [name for name in TARGETS if name in ("laplace", "exponential", "uniform") or name.endswith("1d")]
WITH_DENSITY = [name for name in TARGETS if not name.startswith("atoms")]

every_target = pytest.mark.parametrize("name", TARGETS)
one_dimensional = pytest.mark.parametrize("name", ONE_DIMENSIONAL)


def make(name, dtype=np.float64):
    return TARGETS[name](dtype)


@jax.jit
def denoise(denoiser, y, sigma):
    return denoiser(y, sigma)


@partial(jax.jit, static_argnums=2)
def draw(target, key, n):
    return target.sample(key, n)


@jax.jit
def log_prob(target, x):
    return target.log_prob(x)


log_prob_batch = jax.jit(jax.vmap(log_prob, in_axes=(None, 0)))
denoise_batch = jax.jit(jax.vmap(denoise, in_axes=(None, 0, None)))


# --- sampler, moments ---------------------------------------------------------------------------------------------


@every_target
def test_sampler_has_the_exact_mean_and_covariance(name, key):
    target, n = make(name), 20_000
    x = np.asarray(draw(target, key, n))
    assert x.shape == (n, *target.shape)
    u = x.reshape(n, -1) - np.asarray(target.mean)
    # Four standard errors, each estimated from the sample.
    assert (np.abs(u.mean(0)) <= 4 * u.std(0) / n**0.5 + 1e-12).all()
    products, squared_products = u.T @ u / n, np.square(u).T @ np.square(u) / n
    error = np.abs(products - np.asarray(target.covariance))
    assert (error <= 4 * np.sqrt(squared_products - products**2) / n**0.5 + 1e-12).all()


@one_dimensional
def test_moments_are_those_of_the_samples(name, key):
    target, n = make(name), 50_000
    x = np.asarray(draw(target, key, n))[:, 0]
    moments = np.asarray(target.moments(4))
    assert moments.shape == (5,)
    for k in range(5):
        assert abs((x**k).mean() - moments[k]) <= 4 * (x**k).std() / n**0.5 + 1e-12
    np.testing.assert_allclose(moments[1], target.mean[0], rtol=1e-12)
    np.testing.assert_allclose(moments[2] - moments[1] ** 2, target.covariance[0, 0], rtol=1e-12)
    assert target.moments(0).shape == (1,)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("laplace", scipy.stats.laplace(0.4, 0.7)),
        ("exponential", scipy.stats.expon(scale=1 / 1.6)),
        ("uniform", scipy.stats.uniform(-0.5, 2.5)),
    ],
)
def test_one_dimensional_targets_are_scipys(name, reference):
    target = make(name)
    x = np.linspace(-2, 3, 41)
    ours = log_prob_batch(target, jnp.asarray(x)[:, None])
    np.testing.assert_allclose(ours, reference.logpdf(x), rtol=1e-12, atol=1e-12)
    for k, moment in enumerate(target.moments(7)):
        np.testing.assert_allclose(moment, reference.moment(k), rtol=1e-7)  # SciPy integrates some of them


@pytest.mark.parametrize("name", [name for name in ONE_DIMENSIONAL if name in WITH_DENSITY])
def test_samples_follow_the_distribution_function(name, key):
    target = make(name)
    x = np.sort(np.asarray(draw(target, key, 4000))[:, 0])
    grid = np.linspace(x[0] - 3, x[-1] + 3, 20_001)
    density = np.exp(np.asarray(log_prob_batch(target, grid[:, None])))
    cdf = scipy.integrate.cumulative_trapezoid(density, grid, initial=0)
    statistic = np.abs(np.interp(x, grid, cdf) - (np.arange(4000) + 0.5) / 4000).max()
    assert statistic < 1.95 / 4000**0.5  # exceeded with probability 0.001


# --- densities ----------------------------------------------------------------------------------------------------


@one_dimensional
def test_density_integrates_to_one(name):
    target = make(name)
    if name == "atoms_1d":
        total = sum(np.exp(float(target.log_prob(point))) for point in target.points)
        assert float(target.log_prob(jnp.array([0.1]))) == -np.inf
    else:
        density = lambda x: np.exp(float(log_prob(target, np.array([x]))))  # noqa: E731
        cuts = [-30.0, -3.0, -0.5, 0.0, 0.4, 2.0, 5.0, 40.0]
        total = sum(scipy.integrate.quad(density, a, b, epsabs=1e-10)[0] for a, b in itertools.pairwise(cuts))
    assert abs(total - 1) < 1e-8


@pytest.mark.parametrize("name", ["ring", "mixture_2d"])
def test_density_in_the_plane_has_mass_one_and_the_exact_covariance(name):
    target = make(name)
    axis = np.linspace(-6, 6, 401)
    x = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    # The trapezoidal rule is spectrally accurate for a smooth density that vanishes at the ends.
    weights = np.exp(np.asarray(log_prob_batch(target, x))) * (axis[1] - axis[0]) ** 2
    u = x - np.asarray(target.mean)
    np.testing.assert_allclose(weights.sum(), 1, atol=1e-9)
    np.testing.assert_allclose((weights[:, None] * u).sum(0), 0, atol=1e-9)
    np.testing.assert_allclose((weights[:, None] * u).T @ u, target.covariance, atol=1e-9)


def test_log_prob_of_mixture_and_texture_is_scipys(key):
    mixture, texture = make("mixture_2d"), make("texture")
    x = draw(mixture, key, 20)
    parts = [
        np.log(w) + scipy.stats.multivariate_normal(m, c).logpdf(x)
        for w, m, c in zip(*(np.asarray(leaf) for leaf in jax.tree.leaves(mixture)), strict=True)
    ]
    np.testing.assert_allclose(log_prob_batch(mixture, x), np.logaddexp(*parts), rtol=1e-10)
    images = draw(texture, key, 20)
    normal = scipy.stats.multivariate_normal(np.zeros(20), np.asarray(texture.covariance))
    np.testing.assert_allclose(log_prob_batch(texture, images), normal.logpdf(images.reshape(20, -1)), rtol=1e-10)


def test_texture_without_power_at_a_frequency_has_no_density(key):
    power = np.ones((4, 4))
    power[0, 0] = 0
    texture = distributions.Texture(power)
    x = draw(texture, key, 1)[0]
    assert float(texture.log_prob(x)) == np.inf
    assert float(texture.log_prob(x + 0.5)) == -np.inf


# --- denoisers ----------------------------------------------------------------------------------------------------


PRIORS = {
    "laplace": lambda x: -np.abs(x - 0.4) / 0.7,
    "exponential": lambda x: -1.6 * x,
    "uniform": lambda x: 0 * x,
    "mixture_1d": lambda x: np.logaddexp(
        np.log(0.3 / 0.2**0.5) - (x + 1) ** 2 / 0.4, np.log(0.7 / 0.5**0.5) - (x - 0.8) ** 2
    ),
}
"""Log-densities up to a constant, inside the support."""


NODES, WEIGHTS = np.polynomial.legendre.leggauss(400)


def _gauss_legendre(edges):
    """Nodes and weights of integrals over the union of the pieces between `edges`."""
    pieces = list(itertools.pairwise(edges))
    x = np.concatenate([a + (b - a) * (NODES + 1) / 2 for a, b in pieces])
    return x, np.concatenate([(b - a) / 2 * WEIGHTS for a, b in pieces])


def _posterior_mean_by_quadrature(name, target, y, sigma):
    """E[x | y] in one dimension: a ratio of two integrals, by 400 Gauss-Legendre nodes on each smooth piece."""
    if name == "atoms_1d":
        x, log_prior = np.asarray(target.points)[:, 0], np.log(np.asarray(target.weights))
        log_w = log_prior - (x - y) ** 2 / (2 * sigma**2)
        w = np.exp(log_w - log_w.max())
        return (w * x).sum() / w.sum()
    kinks = {"laplace": [0.4], "exponential": [0.0], "uniform": [-0.5, 2.0], "mixture_1d": [0.0]}[name]
    low = {"exponential": 0.0, "uniform": -0.5}.get(name, -60.0)
    high = {"uniform": 2.0}.get(name, 60.0)

    def energy(x):
        return PRIORS[name](x) - (x - y) ** 2 / (2 * sigma**2)

    # Find where the posterior is above e^-50 of its peak on ever finer grids, then integrate there.
    for _ in range(14):
        grid = np.unique(np.concatenate([np.linspace(low, high, 801), [k for k in kinks if low <= k <= high]]))
        values = energy(grid)
        above = np.flatnonzero(values > values.max() - 50)
        low, high = grid[max(above[0] - 1, 0)], grid[min(above[-1] + 1, grid.size - 1)]
    edges = sorted({low, high, *(k for k in kinks if low < k < high)})
    x, w = _gauss_legendre(edges)
    values = energy(x)
    density = w * np.exp(values - values.max())
    return low + (density * (x - low)).sum() / density.sum()


@one_dimensional
def test_denoiser_is_the_posterior_mean_by_quadrature(name):
    target = make(name)
    denoiser = target.denoiser()
    spread = float(target.covariance[0, 0]) ** 0.5
    single = make(name, np.float32).denoiser()
    for sigma in SIGMAS:
        for x, noise in ((0.4, 0.3), (0.4, -2.5), (1.9, 1.5), (0.0, 0.0), (-0.5, -6.0)):
            y = x + sigma * noise
            expected = _posterior_mean_by_quadrature(name, target, y, sigma)
            posterior_scale = min(spread, sigma)
            got = float(denoise(denoiser, jnp.array([y]), sigma)[0])
            assert abs(got - expected) <= 1e-9 * posterior_scale + 4e-15 * abs(y), (sigma, y, got, expected)
            # float32: y itself is rounded, and the prior matters where the posterior does not resolve it.
            y32 = np.float32(y)
            expected = _posterior_mean_by_quadrature(name, target, float(y32), float(np.float32(sigma)))
            got = float(denoise(single, jnp.array([y32]), np.float32(sigma))[0])
            rounding = 3e-7  # of numbers near 1, such as the ends and the kink
            assert abs(got - expected) <= 2e-5 * posterior_scale + rounding, (sigma, y, got, expected)


def test_uniform_denoiser_is_scipys_truncated_normal():
    denoiser = distributions.Uniform(-0.5, 2.0).denoiser()
    for sigma in (0.3, 1.0, 2.0):
        for y in (-1.0, 0.3, 2.5):
            reference = scipy.stats.truncnorm((-0.5 - y) / sigma, (2.0 - y) / sigma, y, sigma).mean()
            np.testing.assert_allclose(denoise(denoiser, jnp.array([y]), sigma)[0], reference, rtol=1e-10)


@pytest.mark.parametrize("name", ["ring", "mixture_2d"])
def test_denoiser_in_the_plane_is_the_posterior_mean(name):
    target = make(name)
    axis = np.linspace(-6, 6, 601)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    prior = np.asarray(log_prob_batch(target, grid))
    denoiser = target.denoiser()
    for sigma in (0.1, 0.6, 4.0):
        for y in ([0.0, 0.0], [1.0, -0.4], [-1.6, 0.9]):
            log_w = prior - ((grid - y) ** 2).sum(1) / (2 * sigma**2)
            w = np.exp(log_w - log_w.max())
            np.testing.assert_allclose(denoise(denoiser, jnp.array(y), sigma), w @ grid / w.sum(), atol=1e-8)


def test_texture_denoiser_is_the_wiener_filter(key):
    texture = make("texture")
    y, sigma = jax.random.normal(key, texture.shape), 0.6
    covariance = np.asarray(texture.covariance)
    expected = covariance @ np.linalg.solve(covariance + sigma**2 * np.eye(20), np.asarray(y).ravel())
    np.testing.assert_allclose(np.ravel(texture.denoiser()(y, sigma)), expected, atol=1e-12)


@pytest.mark.parametrize("name", WITH_DENSITY)
def test_tweedie_denoiser_is_the_score_of_the_noisy_density(name, key):
    """The score of the noisy law, from the target with `sigma` added where the family has it, else by Monte Carlo."""
    target, sigma = make(name), 0.5
    y = draw(target, key, 1)[0] + 0.1
    if name == "ring":
        noisy = distributions.Ring(1.3, (0.2**2 + sigma**2) ** 0.5).log_prob
    elif name == "texture":
        noisy = distributions.Texture(target.power_spectrum + sigma**2).log_prob
    elif name.startswith("mixture"):
        noisy = lambda v: target.denoiser().log_prob(v, sigma)  # noqa: E731
    else:
        x, w = _gauss_legendre([-0.5, 2] if name == "uniform" else [-20, 0, 0.4, 20])
        prior = log_prob_batch(target, x[:, None]) + jnp.log(w)
        noisy = lambda v: jax.nn.logsumexp(prior - (v[0] - x) ** 2 / (2 * sigma**2))  # noqa: E731
    np.testing.assert_allclose(target.denoiser()(y, sigma), y + sigma**2 * jax.grad(noisy)(y), atol=1e-9)


@every_target
def test_denoiser_in_float32_is_finite_and_bounded_at_any_noise(name, key):
    target = make(name, np.float32)
    denoiser = target.denoiser()
    x = np.concatenate([draw(target, key, 30), np.zeros((1, *target.shape), np.float32)])
    bound = 5 + np.abs(x).max()
    for sigma in (*SIGMAS, 3e-4, 30.0):
        noise = np.asarray(jax.random.normal(key, x.shape, jnp.float32))
        for y in (x, x + np.float32(sigma) * noise, 1e4 + x, -1e4 + 0 * x):
            x_hat = denoise_batch(denoiser, y.astype(np.float32), np.float32(sigma))
            assert x_hat.dtype == jnp.float32
            assert x_hat.shape == x.shape
            assert np.isfinite(x_hat).all(), sigma
            if y is x and name.split("_")[0] not in ("mixture", "texture", "ring"):
                assert np.abs(x_hat).max() <= bound
    # sigma -> 0: the example itself; sigma -> infinity: the mean.
    np.testing.assert_allclose(denoise_batch(denoiser, x[:30], np.float32(1e-4)), x[:30], atol=2e-3)
    large = np.asarray(denoise_batch(denoiser, np.zeros_like(x), np.float32(1e3)))
    np.testing.assert_allclose(large.reshape(31, -1), np.tile(np.asarray(target.mean), (31, 1)), atol=1e-4)


def test_denoiser_at_no_noise_keeps_points_of_the_support():
    for target, y in (
        (distributions.Uniform(0.0, 1.0), 0.3),
        (distributions.Exponential(2.0), 0.3),
        (distributions.Laplace(1.0), 0.3),
    ):
        np.testing.assert_allclose(target.denoiser()(jnp.array([y]), 1e-30), [y])


@pytest.mark.parametrize("name", ["laplace", "exponential", "uniform"])
def test_denoiser_far_outside_the_target_in_float32(name):
    """The posterior is then so narrow that the squares of its widths underflow."""
    denoiser = make(name, np.float32).denoiser()
    # An unbounded target follows y, less the pull of its tail; a bounded one ends at its end.
    above = {"uniform": 2.0}.get(name, 1e15)
    below = {"uniform": -0.5, "exponential": 1e-8 / 1e15}.get(name, -1e15)  # sigma^2 / |y| from the end at 0
    for y, expected in ((1e15, above), (-1e15, below)):
        got = denoise(denoiser, np.array([y], np.float32), np.float32(1e-4))
        np.testing.assert_allclose(got, [expected], rtol=1e-6)


def test_ring_denoiser_is_smooth_at_the_origin():
    """D(y) = (radius^2 / (2 s^2) (1 - width^2 / s^2) + width^2 / s^2) y + O(y^3), s^2 = width^2 + sigma^2."""
    ring, sigma = distributions.Ring(1.3, 0.2), 0.7
    total = 0.2**2 + sigma**2
    slope = 1.3**2 / (2 * total) * (1 - 0.2**2 / total) + 0.2**2 / total
    jacobian = jax.jit(jax.jacfwd(lambda y: ring.denoiser()(y, sigma)))
    for size in (0.0, 1e-12, 1e-9, 1e-5):
        np.testing.assert_allclose(jacobian(np.array([size, -size])), slope * np.eye(2), atol=1e-8)


def test_atoms_denoiser_resolves_near_ties_in_float32():
    """Squared distances near 1 differ by less than their rounding, and sigma**2 is smaller still."""
    atoms = distributions.Atoms(np.array([[-1.0], [1.0]], np.float32))
    y, sigma = np.float32(2e-8), np.float32(2e-4)
    expected = np.tanh(float(y) / float(sigma) ** 2)
    np.testing.assert_allclose(denoise(atoms.denoiser(), jnp.array([y]), sigma)[0], expected, rtol=1e-4)


def test_singular_covariance_is_denoised_onto_its_support(key):
    target = distributions.GaussianMixture(
        np.ones(1, np.float32), np.zeros((1, 2), np.float32), np.array([[[1, 1], [1, 1]]], np.float32)
    )
    y = jnp.array([1.0, -0.5], jnp.float32)
    for sigma in (1e-4, 1.0):
        x_hat = denoise(target.denoiser(), y, np.float32(sigma))
        np.testing.assert_allclose(x_hat, 0.25 * 2 / (2 + sigma**2) * np.ones(2), atol=1e-5)
    x = np.asarray(draw(target, key, 50))
    np.testing.assert_allclose(x[:, 0], x[:, 1], atol=1e-5)


# --- JAX ----------------------------------------------------------------------------------------------------------


@every_target
def test_denoiser_gradients_are_finite_differences(name):
    """With respect to the noisy example and to every parameter."""
    target = make(name)
    y = jnp.linspace(0.2, 0.6, int(np.prod(target.shape))).reshape(target.shape)

    @jax.jit
    def loss(leaves, v):
        # Covariances are kept symmetric and probabilities normalised when a parameter is moved.
        rebuilt = jax.tree.unflatten(jax.tree.structure(target), leaves)
        return jnp.sum(jnp.sin(rebuilt.denoiser()(v, 0.5)))

    leaves = jax.tree.leaves(target)
    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(leaves, y)
    rng = np.random.default_rng(0)
    for which, leaf in enumerate([*leaves, y]):
        direction = rng.normal(size=leaf.shape)
        if leaf.ndim == 3 and name.startswith("mixture"):
            direction = direction + direction.swapaxes(1, 2)
        if name == "texture" and which == 0:
            direction = direction + np.roll(direction[::-1, ::-1], (1, 1), axis=(0, 1))
        step = 1e-5
        at = lambda s, which=which, direction=direction: loss(  # noqa: E731
            [leaf + s * direction if i == which else leaf for i, leaf in enumerate(leaves)],
            y + s * direction if which == len(leaves) else y,
        )
        slope = (at(step) - at(-step)) / (2 * step)
        got = jnp.sum(jax.tree.leaves(gradients)[which] * direction)
        np.testing.assert_allclose(got, slope, rtol=1e-6, atol=1e-8)


@every_target
def test_denoiser_gradients_are_finite_in_float32(name):
    target = make(name, np.float32)
    gradient = jax.jit(jax.grad(lambda t, y, s: jnp.sum(t.denoiser()(y, s)), argnums=(0, 1), allow_int=True))
    for sigma in (1e-4, 1e-2, 1.0, 1e3):
        for value in (0.0, 0.4, 50.0):
            tree = gradient(target, jnp.full(target.shape, value, jnp.float32), np.float32(sigma))
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)), (sigma, value)


@pytest.mark.parametrize("name", ["laplace", "uniform", "mixture_2d", "ring", "texture"])
def test_sample_and_log_prob_are_differentiable_in_the_parameters(name, key):
    target = make(name)
    x = draw(target, key, 1)[0]
    for function in (lambda t: jnp.sum(t.sample(key, 3)), lambda t: t.log_prob(x)):
        tree = jax.jit(jax.grad(function))(target)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))
        assert any(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(tree))


@every_target
def test_results_have_the_dtype_of_the_parameters(name, key):
    target = make(name, np.float32)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(target))

    def results(t):
        moments = [t.moments(3)] if name in ONE_DIMENSIONAL else []
        return [t.mean, t.covariance, t.sample(key, 2), *moments]

    assert {str(result.dtype) for result in jax.eval_shape(results, target)} == {"float32"}
    # The density and the denoiser follow their argument.
    for dtype in (np.float32, np.float64):
        x = np.zeros(target.shape, dtype)
        follow = jax.eval_shape(lambda t, v: [t.log_prob(v), t.denoiser()(v, 0.3)], target, x)
        assert {str(result.dtype) for result in follow} == {np.dtype(dtype).name}


def test_reverse_diffusion_with_the_bayes_denoiser_generates_the_target():
    """The flow ends at the target's own quantiles, up to the step size: it keeps order in one dimension."""
    target = distributions.Laplace(0.5)
    sigmas = schedules.grid(schedules.log_linear(1e-3, 50.0), 400)
    z = jnp.asarray(scipy.stats.norm.ppf([0.1, 0.3, 0.5, 0.8, 0.95]))[:, None]
    x = jax.jit(jax.vmap(lambda v: sampling.sample(target.denoiser(), v, sigmas, method="heun")))(z)
    np.testing.assert_allclose(x[:, 0], scipy.stats.laplace(scale=0.5).ppf([0.1, 0.3, 0.5, 0.8, 0.95]), atol=0.02)


def test_power_law_has_its_variance_and_slope():
    power = np.asarray(distributions.Texture.power_law(32, 32, 2.0, 0.25).power_spectrum)
    np.testing.assert_allclose(power.mean(), 0.25)
    np.testing.assert_allclose(power[0, 2] / power[0, 8], 16.0)
    assert power[0, 0] == power[0, 1] == power.max()
    assert np.isfinite(distributions.Texture.power_law(1, 1).power_spectrum).all()


# --- bad input ----------------------------------------------------------------------------------------------------

ONE = np.ones(1)
BAD = {
    "laplace scale": (lambda: distributions.Laplace(0.0), "scale must be a positive"),
    "laplace loc": (lambda: distributions.Laplace(1.0, np.nan), "loc must be a finite scalar"),
    "laplace array": (lambda: distributions.Laplace(np.ones(2)), "scale must be a positive, finite scalar"),
    "exponential": (lambda: distributions.Exponential(-1.0), "rate must be a positive"),
    "uniform": (lambda: distributions.Uniform(1.0, 1.0), "low must be below high"),
    "uniform infinite": (lambda: distributions.Uniform(0.0, np.inf), "high must be a finite scalar"),
    "ring radius": (lambda: distributions.Ring(0.0, 1.0), "radius must be a positive"),
    "ring width": (lambda: distributions.Ring(1.0, -1.0), "width must be a positive"),
    "weights sum": (lambda: distributions.Atoms(np.ones((2, 1)), np.array([0.5, 0.6])), "sum to one"),
    "weights sign": (lambda: distributions.Atoms(np.ones((2, 1)), np.array([-0.5, 1.5])), "weights must be positive"),
    "weights count": (lambda: distributions.Atoms(np.ones((2, 1)), ONE), "weights"),
    "weights nan": (lambda: distributions.Atoms(np.ones((1, 1)), np.array([np.nan])), "weights must be finite"),
    "points rank": (lambda: distributions.Atoms(np.ones(3)), r"\(n, \*example_shape\)"),
    "points nan": (lambda: distributions.Atoms(np.full((2, 1), np.nan)), "NaN"),
    "means rank": (lambda: distributions.GaussianMixture(ONE, ONE, np.ones((1, 1, 1))), r"\(k, 1\) in one dimension"),
    "covariance shape": (
        lambda: distributions.GaussianMixture(ONE, np.ones((1, 2)), np.ones((1, 1, 1))),
        "covariances must",
    ),
    "covariance negative": (
        lambda: distributions.GaussianMixture(ONE, np.ones((1, 2)), np.array([[[1.0, 2], [2, 1]]])),
        "positive semi-definite",
    ),
    "covariance lopsided": (
        lambda: distributions.GaussianMixture(ONE, np.ones((1, 2)), np.array([[[1.0, 0.5], [0, 1]]])),
        "symmetric",
    ),
    "covariance nan": (
        lambda: distributions.GaussianMixture(ONE, np.ones((1, 1)), np.full((1, 1, 1), np.nan)),
        "finite",
    ),
    "spectrum negative": (lambda: distributions.Texture(-np.ones((2, 2))), "non-negative"),
    "spectrum odd": (lambda: distributions.Texture(np.arange(9.0).reshape(3, 3)), "must be even"),
    "spectrum rank": (lambda: distributions.Texture(np.ones(4)), r"\(height, width\)"),
    "power law size": (lambda: distributions.Texture.power_law(0, 4), "height"),
    "power law variance": (lambda: distributions.Texture.power_law(4, 4, 2.0, 0.0), "variance must be positive"),
    "order": (lambda: distributions.Laplace(1.0).moments(-1), "order must be a non-negative integer"),
    "moments in 2d": (lambda: make("mixture_2d").moments(2), "one-dimensional"),
    "shape of y": (lambda: distributions.Laplace(1.0).denoiser()(jnp.ones(2), 1.0), r"y must have shape \(1,\)"),
    "shape of x": (lambda: distributions.Ring(1.0, 0.1).log_prob(jnp.ones(3)), r"x must have shape \(2,\)"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.usefixtures("unchecked")
def test_bad_parameters_are_refused(case):
    build, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        build()


def test_traced_parameters_are_not_checked():
    log_prob = jax.jit(lambda scale: distributions.Laplace(scale).log_prob(jnp.array([0.3])))
    assert not np.isfinite(log_prob(-1.0))
    assert _checks.is_concrete(distributions.Laplace(1.0).scale)
