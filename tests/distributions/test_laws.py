"""Laws as pytrees: derivatives, dtypes, the chain that generates them, and bad parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from jaxcreativity import _checks, distributions, generate, schedules
from tests.distributions.laws import (
    ONE_DIMENSIONAL,
    draw,
    every_target,
    make,
)

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
    x = generate(target.denoiser(), z, sigmas, method="heun")
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
