"""The convolution with a quick kernel gradient, against XLA's own and finite differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxcreativity.networks.conv2d import conv2d, conv_general_dilated
from jaxcreativity.networks.convolution import convolution

CASES = [
    # image, kernel, padding
    ((6, 5), (3, 3), ((1, 1), (1, 1))),
    ((7, 8), (5, 5), ((2, 2), (2, 2))),
    ((6, 5), (3, 3), ((0, 0), (0, 0))),
    ((4, 3), (1, 1), ((0, 0), (0, 0))),
    ((5, 6), (2, 3), ((0, 1), (2, 1))),
    ((5, 6), (3, 3), ((3, 4), (2, 5))),  # wider than the kernel
]


def lax_conv(x, kernel, padding):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def draw(image, kernel, n=3):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(n, *image, 2))), jnp.asarray(rng.normal(size=(*kernel, 2, 4)))


@pytest.mark.parametrize(("image", "kernel", "padding"), CASES)
def test_output_and_gradients_are_those_of_lax(image, kernel, padding):
    x, kernel = draw(image, kernel)
    expected, expected_pull = jax.vjp(partial(lax_conv, padding=padding), x, kernel)
    got, pull = jax.vjp(partial(conv2d, padding=padding), x, kernel)
    np.testing.assert_array_equal(got, expected)
    g = jnp.cos(jnp.arange(got.size, dtype=got.dtype)).reshape(got.shape)
    for a, b in zip(pull(g), expected_pull(g), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_differentiates_both_ways_and_twice():
    x, kernel = draw((4, 5), (3, 3), n=2)
    check_grads(lambda x, k: jnp.sin(conv2d(x, k, ((1, 1), (1, 1)))), (x, kernel), order=2, modes=("fwd", "rev"))


@pytest.mark.parametrize("axes", [(1, None), (None, 0), (0, 2)])
def test_maps_over_images_and_kernels(axes):
    x, kernel = draw((4, 5), (3, 3), n=6)
    x = x.reshape(3, 2, 4, 5, 2) if axes[0] == 0 else x.reshape(2, 3, 4, 5, 2) if axes[0] == 1 else x
    if axes[1] is not None:
        kernel = jnp.stack([kernel, 2 * kernel, -kernel], axis=axes[1])
    pads = ((1, 1), (1, 1))

    def loss(convolve, x, kernel):
        return jnp.sum(jnp.sin(jax.vmap(lambda x, k: convolve(x, k, pads), axes)(x, kernel)))

    got = jax.value_and_grad(partial(loss, conv2d), (0, 1))(x, kernel)
    expected = jax.value_and_grad(partial(loss, lax_conv), (0, 1))(x, kernel)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12), got, expected)


@pytest.mark.parametrize("padding", ["zero", "circular", "reflect"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_layer_is_flax_convolution(padding, strides):
    layer = convolution(4, 3, padding, strides=strides)
    x = draw((6, 8), (3, 3))[0]
    params = layer.init(jax.random.key(0), x)["params"]

    def loss(layer, params):
        return jnp.sum(jnp.sin(layer.apply({"params": params}, x)))

    got = jax.value_and_grad(partial(loss, layer))(params)
    expected = jax.value_and_grad(partial(loss, layer.copy(conv_general_dilated=None)))(params)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12), got, expected)


def test_other_convolutions_are_left_to_lax():
    x, kernel = draw((6, 5), (3, 3))
    numbers = ("NHWC", "HWIO", "NHWC")
    for options in ({"rhs_dilation": (2, 2)}, {"feature_group_count": 2}):
        groups = options.get("feature_group_count", 1)
        call = partial(
            conv_general_dilated, x, kernel[:, :, : 2 // groups], (1, 1), "SAME", dimension_numbers=numbers, **options
        )
        assert "conv_general_dilated_2d" not in str(jax.make_jaxpr(call)())
