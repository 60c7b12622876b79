import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxcreativity import Denoiser, Piecewise, predicted_noise, score
from jaxcreativity.theory import linear


def scaled(factor):
    """A denoiser that multiplies by a number, which tells which one was run."""
    return jax.tree_util.Partial(lambda f, y, sigma: (f * y).astype(y.dtype), jnp.asarray(factor))


BANDS = Piecewise([2.0, 0.5], [scaled(1.0), scaled(10.0), scaled(100.0)])


def test_score_is_the_gradient_of_the_noisy_log_density():
    """Gaussian target: the noisy density is N(mean, C + sigma^2 I)."""
    x = np.random.default_rng(0).standard_normal((50, 4)) * [2.0, 1.0, 0.5, 0.1] + 0.3
    y, sigma = np.array([0.4, -1.0, 0.2, 0.6]), 0.7
    law = scipy.stats.multivariate_normal(x.mean(axis=0), np.cov(x.T, bias=True) + sigma**2 * np.eye(4))
    h = 1e-5
    expected = [(law.logpdf(y + h * e) - law.logpdf(y - h * e)) / (2 * h) for e in np.eye(4)]
    got = score(linear.fit(x, "full"), y, sigma)
    np.testing.assert_allclose(got, expected, atol=1e-8)  # differences: h**2 and 1e-16 / h


def test_predicted_noise_rebuilds_y():
    denoiser, y, sigma = scaled(0.25), jnp.asarray([1.0, -2.0]), 0.5
    noise = predicted_noise(denoiser, y, sigma)
    np.testing.assert_allclose(denoiser(y, sigma) + sigma * noise, y)
    np.testing.assert_allclose(noise, [1.5, -3.0])
    np.testing.assert_allclose(score(denoiser, y, sigma), -noise / sigma)


def test_dtype_and_numpy_inputs():
    y = np.ones(2, np.float32)
    assert score(scaled(0.5), y, 0.5).dtype == predicted_noise(scaled(0.5), y, 0.5).dtype == jnp.float32


def test_protocol():
    assert isinstance(BANDS, Denoiser)
    assert not isinstance(3, Denoiser)


@pytest.mark.parametrize(
    ("sigma", "factor"), [(1e3, 1.0), (2.0, 1.0), (1.999, 10.0), (0.5, 10.0), (0.499, 100.0), (1e-4, 100.0)]
)
def test_piecewise_serves_each_band(sigma, factor):
    """Lower edges belong to their band: `edges[i] <= sigma < edges[i - 1]`."""
    y = jnp.ones(3)
    assert np.all(BANDS(y, sigma) == factor)


def test_piecewise_of_batched_noise_levels():
    out = jax.jit(jax.vmap(BANDS, (None, 0)))(jnp.ones(2), jnp.asarray([5.0, 0.5, 0.1]))
    np.testing.assert_array_equal(out, [[1.0, 1.0], [10.0, 10.0], [100.0, 100.0]])


def test_piecewise_of_one_denoiser():
    assert np.all(Piecewise(np.zeros(0), [scaled(3.0)])(jnp.ones(2), 0.1) == 3)


def test_piecewise_gradient_reaches_the_band_in_use_only():
    gradient = jax.grad(lambda bands: jnp.sum(bands(jnp.ones(3), 1.0)))(BANDS)
    assert [float(leaf) for leaf in jax.tree.leaves(gradient.denoisers)] == [0.0, 3.0, 0.0]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("edges", "count", "message"),
    [
        ([1.0], 1, "one entry fewer"),
        ([1.0], 3, "one entry fewer"),
        ([], 0, "one entry fewer"),
        ([[1.0]], 2, "one entry fewer"),
        ([0.5, 2.0], 3, "strictly decreasing"),
        ([1.0, 1.0], 3, "strictly decreasing"),
        ([1.0, 0.0], 3, "positive"),
        ([np.inf], 2, "positive and strictly decreasing"),
        ([np.nan], 2, "positive and strictly decreasing"),
    ],
)
def test_piecewise_bad_input(edges, count, message):
    with pytest.raises(ValueError, match=message):
        Piecewise(edges, [scaled(1.0)] * count)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("function", [score, predicted_noise])
def test_score_refuses_what_is_no_noise_level(function):
    for sigma in (-1, np.float64(-0.1), jnp.asarray(jnp.nan)):
        with pytest.raises(ValueError, match="sigma must be at least 0"):
            function(lambda y, sigma: y, jnp.ones(2), sigma)
    assert jax.jit(lambda sigma: function(scaled(0.5), jnp.ones(2), sigma))(-1.0).shape == (2,)  # not looked at
