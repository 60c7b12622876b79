"""Windows that fade: their definition, written out, and lengths fitted by gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxcreativity import schedules
from jaxcreativity.theory.patches import LocalDenoiser, SoftWindowDenoiser, fit_lengths

GRID = schedules.grid(schedules.log_linear(0.1, 4.0), 3)
apply = jax.jit(lambda denoiser, y, sigma: denoiser(y, sigma))


def noisy(x, sigma):
    return x + sigma * np.random.default_rng(0).standard_normal(x.shape)


def soft_by_hand(x, y, sigma, length, pixel, equivariant):
    """Weights on offsets; wrapping and all positions if equivariant, else cut and the same position only."""
    height, width, _ = y.shape
    energies, values = [], []
    everywhere = [(i, j) for i in range(height) for j in range(width)]
    for i, j in everywhere if equivariant else [pixel]:
        energy = 0.0
        for a in range(height):
            for b in range(width):
                if equivariant:  # every pixel once, the nearest way round
                    a_off, b_off = a - (height - 1) // 2, b - (width - 1) // 2
                    of_y = y[(pixel[0] + a_off) % height, (pixel[1] + b_off) % width]
                    of_x = x[:, (i + a_off) % height, (j + b_off) % width]
                else:
                    a_off, b_off = a - pixel[0], b - pixel[1]
                    of_y, of_x = y[a, b], x[:, a, b]
                weight = np.exp(-(a_off**2 + b_off**2) / (2 * length**2))
                energy = energy + weight * np.square(of_x - of_y).sum(axis=1)
        energies.append(energy)
        values.append(x[:, i, j])
    weights = scipy.special.softmax(-np.concatenate(energies) / (2 * sigma**2))
    return weights @ np.concatenate(values)


@pytest.mark.parametrize("equivariant", [True, False])
def test_soft_window_is_its_definition(digits, equivariant):
    x = digits[:8, 1:7, 2:7]
    denoiser = SoftWindowDenoiser(x, np.log([2.0, 1.0]), np.array([1.0, 0.1]), equivariant, chunk_size=3)
    for sigma, length in ((0.1, 1.0), (1.0, 2.0), (10.0, 2.0), (np.sqrt(0.1), np.sqrt(2.0))):
        y = noisy(x[1], sigma)
        got = np.asarray(apply(denoiser, y, sigma))
        for pixel in ((0, 0), (3, 2), (5, 4)):
            expected = soft_by_hand(x, y, sigma, length, pixel, equivariant)
            np.testing.assert_allclose(got[pixel], expected, atol=1e-10)


def test_lengths_are_found_again_by_gradient(digits):
    x = digits[:8]
    truth = SoftWindowDenoiser(x, np.log([1.6, 1.1, 0.8]), GRID[:-1], equivariant=False)
    z = jax.random.normal(jax.random.key(0), (2, *x.shape[1:]))
    fitted, losses = fit_lengths(truth, x, GRID, z, start=1.3, num_steps=60, learning_rate=0.1, equivariant=False)
    np.testing.assert_allclose(jnp.exp(fitted.log_lengths), [1.6, 1.1, 0.8], rtol=0.03)
    assert (losses < 1e-4).all()


def test_gradient_of_a_short_window_is_finite_in_float32(digits):
    """Weights far from the middle underflow there."""
    x = jnp.asarray(digits[:4], jnp.float32)
    y = noisy(digits[0], 0.1).astype(np.float32)

    @jax.jit
    @jax.grad
    def slope(log_length):
        denoiser = SoftWindowDenoiser(x, log_length[None], jnp.ones(1, jnp.float32))
        return jnp.sum(jnp.square(denoiser(y, 0.1) - x[1]))

    assert np.isfinite(slope(jnp.log(jnp.float32(0.3))))


@pytest.mark.usefixtures("unchecked")
def test_bad_input(digits):
    x, z = digits[:4], np.zeros((1, 8, 8, 1))
    denoiser = LocalDenoiser(x, 3, equivariant=False, boundary="zero")
    for call, message in (
        (lambda: SoftWindowDenoiser(x, np.zeros(2), np.ones(1)), "one entry for each of sigmas"),
        (lambda: SoftWindowDenoiser(x, np.zeros(2), np.array([1.0, 2.0])), "strictly decreasing"),
        (lambda: fit_lengths(denoiser, x, GRID, z, start=0.0), "start must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
