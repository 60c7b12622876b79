import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity import networks
from jaxcreativity.networks.binding import preconditioning


class Identity(nn.Module):
    """Returns its scaled input, times one parameter."""

    @nn.compact
    def __call__(self, y, sigma):
        return y * self.param("scale", nn.initializers.ones_init(), ()).astype(y.dtype)


class Unhashable(nn.Module):
    sizes: list

    @nn.compact
    def __call__(self, y, sigma):
        return y


PARAMS = {"scale": jnp.array(2.0)}


@pytest.mark.parametrize("prediction", ["x", "noise", "v"])
def test_targets_of_each_prediction_type_reconstruct_the_clean_example(prediction):
    x, noise = jax.random.normal(jax.random.key(0), (2, 5))
    sigma, sigma_data = 0.7, 0.4
    y = x + sigma * noise
    c_skip, c_out, c_in = preconditioning(prediction, sigma, sigma_data)
    root = np.sqrt(sigma**2 + sigma_data**2)
    target = {"x": x, "noise": noise, "v": (sigma_data * noise - sigma * x / sigma_data) / root}[prediction]
    np.testing.assert_allclose(c_skip * y + c_out * target, x, atol=1e-14)
    np.testing.assert_allclose(c_in, 1 / root, rtol=1e-14)


def test_v_prediction_has_unit_variance_targets_whatever_the_noise_level():
    # The point of the parametrisation: with data of root mean square sigma_data its targets have variance 1.
    key = jax.random.key(1)
    for sigma in (1e-2, 0.5, 30.0):
        c_skip, c_out, _ = preconditioning("v", sigma, 0.5)
        x, noise = 0.5 * jax.random.normal(key, (100_000,)), jax.random.normal(jax.random.fold_in(key, 1), (100_000,))
        target = (x - c_skip * (x + sigma * noise)) / c_out
        np.testing.assert_allclose(jnp.var(target), 1.0, atol=4 * np.sqrt(2 / 100_000))


def test_input_is_scaled_inside():
    y = jnp.array([3.0, -1.0])
    denoiser = networks.bind(Identity(), PARAMS, sigma_data=0.5)
    np.testing.assert_allclose(denoiser(y, 1.2), 2 * y / 1.3, rtol=1e-14)


@pytest.mark.parametrize("prediction", ["x", "noise", "v"])
def test_without_preconditioning_the_module_sees_y_itself(prediction):
    y, sigma, sigma_data = jnp.array([3.0, -1.0]), 1.2, 0.5
    with_it, without = (
        networks.bind(Identity(), PARAMS, prediction=prediction, sigma_data=sigma_data, scale_input=scale)(y, sigma)
        for scale in (True, False)
    )
    c_skip = {"x": 0.0, "noise": 1.0, "v": 0.25 / 1.69}[prediction]
    np.testing.assert_allclose(without - c_skip * y, 1.3 * (with_it - c_skip * y), rtol=1e-13)
    expected = {"x": 2 * y, "noise": y - 1.2 * 2 * y, "v": c_skip * y - 1.2 * 0.5 / 1.3 * 2 * y}[prediction]
    np.testing.assert_allclose(without, expected, rtol=1e-13)


def test_params_are_leaves_and_the_module_is_structure():
    denoiser = networks.bind(Identity(), PARAMS)
    assert len(jax.tree.leaves(denoiser)) == 1
    gradient = jax.grad(lambda d: d(jnp.ones(3), 1.0).sum())(denoiser)
    np.testing.assert_allclose(gradient.params["scale"], 3 / np.sqrt(2))


def test_bad_input(unchecked):
    with pytest.raises(ValueError, match="prediction must be one of"):
        networks.bind(Identity(), PARAMS, prediction="score")
    with pytest.raises(ValueError, match="sigma_data must be positive"):
        networks.bind(Identity(), PARAMS, sigma_data=0.0)
    with pytest.raises(ValueError, match="hashable"):
        networks.bind(Unhashable([1]), {})
    with pytest.raises(ValueError, match="floating point"):
        networks.bind(Identity(), PARAMS)(jnp.arange(3), 1.0)


def test_a_module_of_another_output_shape_is_named():
    class Flat(nn.Module):
        @nn.compact
        def __call__(self, y, sigma):
            return y.ravel()

    with pytest.raises(ValueError, match="Flat must return its input's shape"):
        networks.bind(Flat(), {})(jnp.ones((2, 2)), 1.0)


class Statistics(nn.Module):
    @nn.compact
    def __call__(self, y, sigma):
        return nn.BatchNorm(use_running_average=False)(y)


def test_modules_are_checked_by_their_shapes():
    networks.check_module(Identity(), (4, 4, 1))
    with pytest.raises(ValueError, match=r"Dense is not called as module\(y_scaled, sigma\)"):
        networks.check_module(nn.Dense(1), (4, 4, 1))
    with pytest.raises(ValueError, match=r"Statistics must return the shape \(4, 4, 1\) and have parameters only"):
        networks.check_module(Statistics(), (4, 4, 1))
