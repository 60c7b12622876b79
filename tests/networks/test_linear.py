"""The linear modules compute the maps that they claim, level by level, and no others."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity import networks
from jaxcreativity.theory.linear import affine
from tests.registry import random_network

LEVELS = (10.0, 1.0, 0.1)
SHAPE = (5, 6, 2)


def random_params(module):
    return random_network(module, SHAPE, scale=1.0).params


@functools.partial(jax.jit, static_argnums=0)
def jacobian(module, params, sigma):
    return jax.jacfwd(lambda y: module.apply({"params": params}, y, sigma))(jnp.zeros(SHAPE))


def matrix(module, params, sigma):
    return np.asarray(jacobian(module, params, sigma)).reshape(60, 60)


MODULES = {
    "dense": networks.DenseLinear(LEVELS),
    "low rank": networks.LowRankLinear(LEVELS, rank=3),
    "pixelwise": networks.PixelwiseLinear(LEVELS),
    "convolution": networks.ConvLinear(LEVELS, kernel_size=3),
    "full-size convolution": networks.ConvLinear(LEVELS),
}


@pytest.mark.parametrize("name", MODULES)
def test_affine_with_its_own_weights_at_each_level(name):
    module = MODULES[name]
    params = random_params(module)
    denoiser = networks.bind(module, params)
    read = affine.from_denoiser(denoiser, jnp.array([*LEVELS, 0.0]), SHAPE)  # raises if not affine
    assert not np.allclose(read.matrices[0], read.matrices[1])
    # The nearest level in ratio: sqrt(10) divides 10 from 1.
    np.testing.assert_array_equal(matrix(module, params, 3.1), matrix(module, params, 1.0))
    np.testing.assert_array_equal(matrix(module, params, 3.2), matrix(module, params, 10.0))


def test_weights_start_at_zero_except_where_that_would_be_a_saddle():
    for name, module in MODULES.items():
        params = module.init(jax.random.key(0), jnp.zeros(SHAPE), jnp.ones(()))["params"]
        np.testing.assert_array_equal(matrix(module, params, 1.0), 0)
        if name == "low rank":
            assert np.any(params["encoder_kernel"] != 0)


def test_low_rank_has_that_rank():
    module = MODULES["low rank"]
    assert np.linalg.matrix_rank(matrix(module, random_params(module), 1.0)) == 3


def test_pixelwise_is_diagonal():
    module = MODULES["pixelwise"]
    A = matrix(module, random_params(module), 1.0)
    np.testing.assert_array_equal(A, np.diag(np.diag(A)))


@pytest.mark.parametrize("kernel_size", [1, 3, 5, None])
def test_convolution_equals_explicit_sums_over_shifted_copies(kernel_size):
    module = networks.ConvLinear(LEVELS, kernel_size=kernel_size)
    params = random_params(module)
    y = jax.random.normal(jax.random.key(3), SHAPE)
    kernel = np.asarray(params["kernel"][1])
    rows, columns = kernel.shape[:2]
    expected = np.zeros(SHAPE) + np.asarray(params["bias"][1])
    for i in range(rows):
        for j in range(columns):
            shifted = np.roll(y, (rows // 2 - i, columns // 2 - j), axis=(0, 1))
            expected += shifted @ kernel[i, j]
    np.testing.assert_allclose(module.apply({"params": params}, y, 1.0), expected, atol=1e-12)


def test_convolution_commutes_with_shifts_exactly_up_to_rounding():
    module = MODULES["convolution"]
    params = random_params(module)
    y = jax.random.normal(jax.random.key(4), SHAPE)
    shifted_after = jnp.roll(module.apply({"params": params}, y, 1.0), (2, -1), axis=(0, 1))
    shifted_before = module.apply({"params": params}, jnp.roll(y, (2, -1), axis=(0, 1)), 1.0)
    np.testing.assert_allclose(shifted_before, shifted_after, atol=1e-12)


def test_no_bias():
    module = networks.DenseLinear(LEVELS, use_bias=False)
    params = random_params(module)
    assert set(params) == {"kernel"}
    np.testing.assert_array_equal(module.apply({"params": params}, jnp.zeros(SHAPE), 1.0), 0)


@pytest.mark.parametrize("kernel_size", [2, 7])
def test_bad_kernel(kernel_size):
    with pytest.raises(ValueError, match="odd and at most 5"):
        networks.ConvLinear(LEVELS, kernel_size=kernel_size).init(jax.random.key(0), jnp.zeros(SHAPE), jnp.ones(()))
