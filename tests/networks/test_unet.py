"""The UNet's fields: what class of functions each choice gives, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity import networks
from tests.networks import brute_unet
from tests.networks.test_convolutional import random_network

apply = jax.jit(lambda network, y, sigma: network(y, sigma))
apply_all = jax.jit(jax.vmap(lambda network, y: network(y, 0.5), (None, 0)))
SMALL = networks.UNet((4, 6), embedding_features=8)
LINEAR = SMALL.clone(activation="identity", padding="circular")


def in_float64(network):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), network)


def along_a_line(network, num_nodes, reach):
    """Chebyshev coefficients, relative to the largest, of the outputs along a line through image space."""
    directions = jax.random.normal(jax.random.key(3), (2, 4, 4, 1), jnp.float64)
    nodes = np.cos(np.pi * (np.arange(num_nodes) + 0.5) / num_nodes)
    y = directions[:1] + reach * nodes[:, None, None, None] * directions[1:]
    values = np.asarray(apply_all(in_float64(network), y)).reshape(num_nodes, -1)
    coefficients = np.abs(np.polynomial.chebyshev.chebfit(nodes, values, num_nodes - 1)).max(axis=1)
    return coefficients / coefficients.max()


@pytest.mark.parametrize(
    "fields",
    [
        {"normalisation": "group", "groups": 2, "attention": "lowest", "bottleneck": 3, "num_classes": 3},
        {"widths": (4, 6, 4), "padding": "circular", "downsampling": "max", "skips": (1,), "normalisation": "layer"},
        {"padding": "reflect", "downsampling": "strided", "skips": "none", "coordinates": True, "attention": "all"},
        {"activation": "quadratic", "bias": False, "bottleneck": 2, "kernel_size": 5, "normalisation": "group"},
        {"activation": "relu", "time_conditioning": False, "attention": "lowest", "bias": False},
    ],
    ids=lambda fields: "-".join(map(str, fields.values())),
)
def test_is_its_definition_in_numpy(fields):
    """With random parameters in all places: as it begins, a network's last convolution is zero."""
    module = networks.UNet((4, 6), embedding_features=8).clone(**{"groups": 2} | fields)
    shape, label = (8, 12, 2), 2 if module.num_classes else None
    rng = np.random.default_rng(0)
    begun = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, float), 0.7, label)
    parameters = jax.tree.map(lambda leaf: 0.4 * rng.standard_normal(leaf.shape), begun)
    y = rng.standard_normal(shape)
    for sigma in (0.7, 3.0):
        expected = brute_unet.unet(module, parameters["params"], y, sigma, label)
        got = jax.jit(module.apply)(parameters, y, sigma, label)
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())


def test_quadratic_units_make_a_polynomial_of_the_stated_degree():
    module = networks.UNet((3,), activation="quadratic", embedding_features=4)
    assert module.degree == 32
    coefficients = along_a_line(random_network(module, (4, 4, 1)), 40, reach=20.0)
    # The leading term is that of t^32, about 2^-31 of the largest; beyond it there is rounding alone.
    assert coefficients[32] > 1e-11
    assert coefficients[33:].max() < 1e-13


def test_degree_is_known_for_affine_and_unknown_for_other_networks():
    assert LINEAR.degree == 1
    assert networks.UNet((4, 4), activation="quadratic").degree == 512
    assert networks.UNet((4,), activation="identity", downsampling="max").degree == 1
    for change in (
        {"activation": "silu"}, {"normalisation": "layer"}, {"attention": "all"}, {"downsampling": "max"},
    ):  # fmt: skip
        assert LINEAR.clone(**change).degree is None


def test_identity_activation_without_normalisation_is_affine():
    network = in_float64(random_network(LINEAR.clone(downsampling="strided"), (4, 4, 2)))
    a, b = jax.random.normal(jax.random.key(4), (2, 4, 4, 2), jnp.float64)
    outputs = [apply(network, y, 0.5) for y in (a, b, 0.3 * a + 0.7 * b)]
    np.testing.assert_allclose(outputs[2], 0.3 * outputs[0] + 0.7 * outputs[1], atol=1e-12 * np.abs(outputs[0]).max())
    # Its matrix depends on the noise level, as the best one does: FiLM, not a shift alone.
    other = apply(network, a, 2.0) - apply(network, jnp.zeros_like(a), 2.0)
    assert np.abs(other / (outputs[0] - apply(network, jnp.zeros_like(a), 0.5))).std() > 0.01


@pytest.mark.parametrize("change", [{"normalisation": "group", "groups": 2}, {"activation": "relu"}])
def test_it_is_not_affine_otherwise(change):
    network = in_float64(random_network(LINEAR.clone(**change), (4, 4, 2)))
    a, b = jax.random.normal(jax.random.key(4), (2, 4, 4, 2), jnp.float64)
    outputs = apply_all(network, jnp.stack([a, b, 0.5 * (a + b)]))
    assert np.abs(outputs[2] - 0.5 * (outputs[0] + outputs[1])).max() > 1e-3


def test_without_bias_it_is_homogeneous():
    module = SMALL.clone(activation="relu", bias=False, downsampling="strided", bottleneck=3)
    network = in_float64(random_network(module, (4, 4, 1)))
    y = jax.random.normal(jax.random.key(5), (4, 4, 1), jnp.float64)
    np.testing.assert_allclose(apply(network, 3.0 * y, 0.5), 3.0 * apply(network, y, 0.5), rtol=1e-11)
    assert not np.any(apply(network, jnp.zeros_like(y), 0.5))


def test_the_bottleneck_bounds_the_rank():
    network = in_float64(random_network(SMALL.clone(bottleneck=2, skips="none"), (4, 4, 1)))
    y = jax.random.normal(jax.random.key(6), (4, 4, 1), jnp.float64)
    jacobian = jax.jit(jax.jacfwd(lambda y: network(y, 0.5)))(y).reshape(16, 16)
    values = np.linalg.svd(jacobian, compute_uv=False)
    assert values[1] > 1e-6 * values[0]
    assert values[2] < 1e-12 * values[0]


def shapes(module, shape=(8, 8, 1)):
    y = jax.ShapeDtypeStruct(shape, jnp.float32)
    found = jax.eval_shape(lambda y: module.init(jax.random.key(0), y, jnp.ones(())), y)["params"]
    return {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(found)}


def test_every_field_does_what_it_says_to_the_parameters():
    base = networks.UNet((4, 8, 8), embedding_features=8)
    count = lambda module: sum(np.prod(shape, dtype=int) for shape in shapes(module).values())  # noqa: E731
    kernels = lambda module: {shape[:2] for shape in shapes(module).values() if len(shape) == 4}  # noqa: E731
    assert kernels(base) == {(3, 3)}
    assert kernels(base.clone(kernel_size=5)) == {(5, 5)}
    assert kernels(base.clone(downsampling="strided")) == {(3, 3), (2, 2)}
    # Skips of the scales 0 and 1 add 4 and 8 channels to the first convolution and the shortcut on the way up; at
    # scale 1 a shortcut of 8 channels needs no weights.
    without = count(base.clone(skips="none"))
    assert count(base.clone(skips=(0,))) - without == 4 * 4 * 10
    assert count(base.clone(skips=(1,))) - without == 8 * 8 * 9 + 16 * 8 + 8
    assert count(base) == count(base.clone(skips=(0, 1)))
    assert count(base.clone(coordinates=True)) - count(base) == 2 * 4 * 9
    assert count(base.clone(bottleneck=3)) - count(base) == 2 * 32 * 3 + 3 + 32
    assert sum("SelfAttention" in name for name in shapes(base.clone(attention="all"))) == 6 * 8
    assert sum("SelfAttention" in name for name in shapes(base.clone(attention="lowest"))) == 8
    assert not any("NoiseEmbedding" in name for name in shapes(base.clone(time_conditioning=False)))
    unbiased = [name for name in shapes(base.clone(bias=False, skips="none")) if "bias" in name]
    assert all("Embedding" in name or ("ResidualBlock" in name and "Dense_0" in name) for name in unbiased)  # of sigma
    for normalisation, name in (("group", "GroupNorm"), ("layer", "LayerNorm")):
        assert any(name in path for path in shapes(base.clone(normalisation=normalisation)))


def test_sides_need_be_halved_once_for_every_scale_but_one():
    assert [networks.UNet((4,) * scales).factor for scales in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert shapes(networks.UNet((4,)), (5, 7, 1))
    assert shapes(networks.UNet((4, 4, 4)), (4, 12, 1))


def test_upsampling_and_pooling_undo_each_other():
    from jaxcreativity.networks.unet import _upsample

    h = jax.random.normal(jax.random.key(0), (3, 5, 2))
    assert np.array_equal(_upsample(h), np.repeat(np.repeat(h, 2, axis=0), 2, axis=1))
    for downsampling in ("average", "max"):
        np.testing.assert_allclose(SMALL.clone(downsampling=downsampling)._downsample(_upsample(h)), h, rtol=1e-14)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((6, 8, 1), "4x8 or 8x12"), ((8, 6, 1), "8x4 or 12x8"), ((7, 9, 1), "4x8 or 8x12"), ((2, 2, 1), "4x4 or 8x8"),
    ],
)  # fmt: skip
def test_sides_that_cannot_be_halved_are_refused_with_those_near(shape, advice):
    with pytest.raises(ValueError, match=f"multiples of 4.*{advice} would do"):
        shapes(networks.UNet((4, 4, 4)), shape)


@pytest.mark.usefixtures("unchecked")
def test_reflect_padding_looks_at_the_shorter_side():
    module = networks.UNet((4, 4), padding="reflect", kernel_size=5)
    assert shapes(module, (6, 12, 1))
    for shape in ((4, 12, 1), (12, 4, 1)):
        with pytest.raises(ValueError, match="needs more than 2 pixels a side at the lowest scale, got 2"):
            shapes(module, shape)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": (4, 4, 4, 4)}, r"multiples of 8, got \(12, 12, 1\); 8x8 or 16x16 would do"),
        ({"widths": (4, 4, 4, 4, 4)}, "1 to 4 scales"),
        ({"skips": (1,)}, r"some of the scales \(0,\), got \(1,\)"),
        ({"skips": "some"}, "skips must be 'all', 'none' or some"),
        ({"padding": "reflect", "kernel_size": 5, "widths": (4, 4, 4)}, None),
        (
            {"padding": "reflect", "kernel_size": 7, "widths": (4, 4, 4)},
            "needs more than 3 pixels a side at the lowest",
        ),
        ({"normalisation": "group", "groups": 3}, r"groups = 3 must divide every width, got \(4, 6\)"),
        ({"normalisation": "batch"}, "normalisation must be one of 'none', 'group', 'layer'"),
        ({"activation": "tanh"}, "activation must be one of"),
        ({"attention": True}, "attention must be one of"),
        ({"bottleneck": 0}, "bottleneck must be an integer of at least 1"),
        ({"num_classes": 2, "time_conditioning": False}, "needs time_conditioning"),
        ({"kernel_size": 2}, "kernel_size must be odd"),
    ],
)
def test_bad_fields_are_refused_at_init(change, message):
    module = SMALL.clone(**change)
    init = lambda: jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((12, 12, 1)), jnp.ones(()))  # noqa: E731
    if message is None:
        init()
    else:
        with pytest.raises(ValueError, match=message):
            init()
