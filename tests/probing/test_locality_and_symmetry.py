"""Receptive fields and symmetries of denoisers whose window and symmetry are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity import probing
from jaxcreativity.theory import linear
from jaxcreativity.theory.empirical import EmpiricalDenoiser

SIGMA = 0.5


@pytest.fixture(scope="module")
def images():
    """Two correlated channels, not square."""
    x = jax.random.normal(jax.random.key(0), (80, 6, 7, 2))
    return x + 0.6 * jnp.roll(x, 1, axis=1) + 0.4 * jnp.roll(x, 1, axis=2) + 0.5 * x[..., ::-1]


def test_receptive_field_is_the_row_of_the_jacobian(images):
    denoiser = EmpiricalDenoiser(images)
    y, pixel = images[0] + SIGMA, (2, 5)
    field = jax.jit(lambda y: probing.receptive_field(denoiser, y, SIGMA, pixel))(y)
    dense = jax.jit(lambda o: o.dense())(probing.jacobian(denoiser, y, SIGMA)).reshape(6, 7, 2, 6, 7, 2)
    np.testing.assert_allclose(field, jnp.sqrt((dense[pixel] ** 2).sum((0, 3))), atol=1e-12)


def test_a_local_filter_has_nothing_outside_its_window(images):
    y = images[0]
    local = linear.fit(images, "local", kernel_size=3)
    for pixel in ((0, 0), (3, 4)):
        field = jax.jit(lambda y, p=pixel: probing.receptive_field(local, y, SIGMA, p))(y)
        np.testing.assert_allclose(probing.mass_outside(field, pixel, 3, circular=True), 0.0, atol=1e-20)
        assert probing.mass_outside(field, pixel, 1, circular=True) > 1e-3
        assert probing.radius(field, pixel, circular=True) <= np.sqrt(2)
    pixelwise = linear.fit(images, "pixelwise")
    field = jax.jit(lambda y: probing.receptive_field(pixelwise, y, SIGMA, (0, 0)))(y)
    assert probing.radius(field, (0, 0)) == 0


def test_radius_of_a_uniform_window():
    field = jnp.zeros((9, 11)).at[2:7, 3:8].set(0.3)
    np.testing.assert_allclose(probing.radius(field, (4, 5)), np.sqrt((25 - 1) / 6), rtol=1e-12)
    turned = jnp.roll(field, (-4, -5), (0, 1))
    np.testing.assert_allclose(probing.radius(turned, (0, 0), circular=True), np.sqrt(4.0), rtol=1e-12)
    np.testing.assert_allclose(probing.mass_outside(field, (4, 5), 3), 16 / 25, rtol=1e-12)


def test_symmetries(images):
    y = images[1]
    stationary, full = linear.fit(images, "stationary"), linear.fit(images, "full")
    error = jax.jit(probing.equivariance_error, static_argnums=3)
    for shift in ("shift down", "shift right"):
        assert error(stationary, y, SIGMA, shift) < 1e-12
        assert error(full, y, SIGMA, shift) > 0.05
    both = jnp.concatenate([images, images[:, :, ::-1]])
    assert error(EmpiricalDenoiser(both), y, SIGMA, "flip horizontal") < 1e-10
    assert error(EmpiricalDenoiser(images), y, SIGMA, "flip horizontal") > 0.1
    square = images[:, :, :6]
    turns = jnp.concatenate([jnp.rot90(square, k, (1, 2)) for k in range(4)])
    assert error(EmpiricalDenoiser(turns), square[0], SIGMA, "rotate") < 1e-10


def test_bad_input(images, unchecked):
    denoiser, field = linear.fit(images, "pixelwise"), jnp.ones((4, 4))
    with pytest.raises(ValueError, match="inside"):
        probing.receptive_field(denoiser, images[0], SIGMA, (6, 0))
    with pytest.raises(ValueError, match="image"):
        probing.receptive_field(lambda y, _: y, jnp.zeros(4), SIGMA, (0, 0))
    with pytest.raises(ValueError, match="odd"):
        probing.mass_outside(field, (0, 0), 2)
    with pytest.raises(ValueError, match="transform"):
        probing.equivariance_error(denoiser, images[0], SIGMA, "mirror")
    with pytest.raises(ValueError, match="squares"):
        probing.equivariance_error(denoiser, images[0], SIGMA, "rotate")
