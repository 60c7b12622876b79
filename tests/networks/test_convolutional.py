"""Convolutional networks: locality, equivariance, conditioning."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity import networks
from tests import registry

apply = jax.jit(lambda network, y: network(y, 0.5))


random_network = functools.partial(registry.random_network, scale=0.2, dtype=jnp.float32)


@pytest.mark.parametrize("padding", ["zero", "circular"])
def test_resnet_sees_exactly_its_receptive_field(padding):
    module = networks.MinimalResNet(depth=2, width=8, padding=padding)
    assert module.receptive_field == 9
    network = random_network(module, (11, 13, 2))
    y = jax.random.normal(jax.random.key(2), (11, 13, 2), jnp.float32)
    gradient = jax.jit(jax.grad(lambda y, net: jnp.sum(jnp.sin(net(y, 0.5)[1, 6]))))(y, network)
    offset = np.abs(np.arange(11) - 1)
    rows = np.minimum(offset, 11 - offset) <= 4 if padding == "circular" else offset <= 4
    columns = np.abs(np.arange(13) - 6) <= 4
    assert np.array_equal(np.asarray(gradient != 0).any(axis=2), rows[:, None] & columns[None, :])


@pytest.mark.parametrize(
    ("module", "step"),
    [
        (networks.MinimalResNet(depth=2, width=8, padding="circular"), 1),
        (networks.UNet((4, 8), padding="circular"), 2),
        (networks.UNet((4, 8), padding="circular", attention="lowest"), 2),
    ],
    ids=["resnet", "unet", "unet-attention"],
)
def test_circular_padding_commutes_with_shifts(module, step):
    """A UNet with shifts by multiples of its coarsest pixel only."""
    network = random_network(module, (8, 6, 1), prediction="v")
    y = jax.random.normal(jax.random.key(2), (8, 6, 1), jnp.float32)
    compute = lambda y: apply(network, y)  # noqa: E731
    shift = lambda x: jnp.roll(x, (step, 2 * step), axis=(0, 1))  # noqa: E731
    np.testing.assert_allclose(compute(shift(y)), shift(compute(y)), atol=1e-4)
    assert not np.allclose(compute(jnp.roll(y, 1, axis=0)), jnp.roll(compute(y), 1, axis=0)) or step == 1


def test_zero_padding_tells_the_border():
    network = random_network(networks.MinimalResNet(depth=1, width=8), (9, 9, 1))
    out = apply(network, jnp.full((9, 9, 1), 0.3, jnp.float32))[..., 0]
    # Of a constant image, all pixels further than 3 from the border look alike, and no others.
    alike = np.isclose(out, out[4, 4], rtol=1e-5)
    assert np.array_equal(np.argwhere(alike), [[i, j] for i in (3, 4, 5) for j in (3, 4, 5)])


def test_unet_sees_the_whole_image_only_with_attention():
    seen = {}
    for attention in ("none", "lowest"):
        module = networks.UNet((4, 4), attention=attention)
        network = random_network(module, (32, 32, 1))
        y = jax.random.normal(jax.random.key(2), (32, 32, 1), jnp.float32)
        seen[attention] = np.asarray(jax.jit(jax.grad(lambda y, net: net(y, 0.5)[0, 0, 0]))(y, network)) != 0
    assert seen["lowest"].all()
    assert not seen["none"][-1].any()


@pytest.mark.parametrize("module", [networks.MinimalResNet(1, 8, num_classes=3), networks.UNet((4,), num_classes=3)])
def test_label_is_a_leaf(module):
    network = random_network(module, (6, 6, 1), label=1)
    y = jnp.ones((6, 6, 1), jnp.float32)
    outputs = [apply(networks.bind(module, network.params, label=label), y) for label in range(3)]
    np.testing.assert_allclose(outputs[1], apply(network, y), atol=1e-6)
    assert len({float(jnp.sum(out)) for out in outputs}) == 3


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("module", "label", "message"),
    [
        (lambda: networks.MinimalResNet(kernel_size=4), None, "kernel_size must be odd, got 4"),
        (lambda: networks.MinimalResNet(padding="mirror"), None, "padding must be one of"),
        (lambda: networks.MinimalResNet(depth=0), None, "depth must be an integer of at least 1"),
        (lambda: networks.MinimalResNet(num_classes=3), None, "a network of 3 classes was called with label None"),
        (lambda: networks.MinimalResNet(), 1, "a network of 0 classes was called with label"),
        (lambda: networks.UNet((4, 4, 4)), None, "multiples of 4, got"),
        (lambda: networks.UNet(()), None, "1 to 4 scales"),
        (lambda: networks.UNet((0,)), None, "widths must be an integer of at least 1"),
    ],
)
def test_bad_input(module, label, message):
    condition = () if label is None else (label,)
    with pytest.raises(ValueError, match=message):
        module().init(jax.random.key(0), jnp.zeros((6, 6, 1)), jnp.ones(()), *condition)
