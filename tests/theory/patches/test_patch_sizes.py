"""Patch sizes: found against a network, predicted without one, and as a length fitted by gradient; and provenance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxcreativity import schedules
from jaxcreativity.theory.patches import (
    LocalDenoiser,
    SoftWindowDenoiser,
    by_level,
    calibrate,
    fit_lengths,
    predicted_patch_sizes,
    provenance,
)
from jaxcreativity.theory.patches.patch_sizes import response_energy, smallest_window
from tests.theory.patches import brute_patches

GRID = schedules.grid(schedules.log_linear(0.1, 4.0), 3)
LS = {"equivariant": False, "boundary": "zero"}
apply = jax.jit(lambda denoiser, y, sigma: denoiser(y, sigma))


def noisy(x, sigma):
    return x + sigma * np.random.default_rng(0).standard_normal(x.shape)


def test_by_level_uses_each_size_at_its_level(digits):
    x = digits[:12]
    denoiser = by_level(x, GRID, (5, 3, 3), **LS)
    assert [d.patch_size for d in denoiser.denoisers] == [5, 3]
    assert denoiser.edges.shape == (1,)
    for sigma, k in zip(np.asarray(GRID[:-1]), (5, 3, 3), strict=True):
        y = noisy(x[1], sigma)
        np.testing.assert_allclose(apply(denoiser, y, sigma), apply(LocalDenoiser(x, k, **LS), y, sigma), atol=1e-12)


def test_calibration_finds_the_sizes_of_a_patch_machine(digits):
    """A denoiser whose sizes are known takes the place of the network; the right index at every level."""
    x = digits[:12]
    truth = by_level(x, GRID, (5, 3, 1), **LS)
    z = jax.random.normal(jax.random.key(0), (2, *x.shape[1:]))
    calibration = calibrate(truth, x, GRID, (1, 3, 5), z, **LS)
    assert calibration.patch_sizes == (5, 3, 1)
    np.testing.assert_allclose(np.diag(np.asarray(calibration.errors)[:, ::-1]), 0, atol=1e-20)
    assert (np.sort(calibration.errors, axis=1)[:, 1] > 1e-6).all()


def test_window_that_holds_a_share_of_the_energy():
    energy = np.zeros((7, 9))
    energy[3, 4], energy[2, 4], energy[3, 7] = 0.6, 0.3, 0.1
    assert [smallest_window(energy, share) for share in (0.5, 0.6, 0.61, 0.9, 0.91)] == [1, 1, 3, 3, 7]
    assert smallest_window(np.zeros((3, 3)), 0.9) == 1


def test_receptive_field_of_a_patch_machine_is_its_window(digits):
    denoiser = LocalDenoiser(digits[:12], 5, **LS)
    energy = np.asarray(jax.jit(response_energy)(denoiser, noisy(digits[:2], 1.0), 1.0))
    assert np.array_equal(np.argwhere(energy).min(axis=0), [2, 2])
    assert np.array_equal(np.argwhere(energy).max(axis=0), [6, 6])
    zs = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))
    assert predicted_patch_sizes(denoiser, GRID, zs, share=0.999999)[0] == 5


def test_wiener_filter_of_known_reach():
    """Independent pixels need no neighbours; smooth ones, at infinite noise, those that they are correlated with."""
    rng = np.random.default_rng(0)
    white = rng.standard_normal((4000, 9, 9, 1))
    assert predicted_patch_sizes(white, GRID) == (1, 1, 1)
    smooth = white + np.roll(white, 1, axis=1) + np.roll(white, 1, axis=2) + np.roll(white, (1, 1), axis=(1, 2))
    sizes = predicted_patch_sizes(smooth, schedules.grid(schedules.log_linear(0.01, 10.0), 4))
    assert (sizes[0], sizes[-1]) == (3, 1)


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


@pytest.mark.parametrize("boundary", ["interior", "broken"])
def test_provenance_is_that_of_the_posterior(digits, boundary):
    x = digits[:12]
    denoiser = LocalDenoiser(x, 3, equivariant=True, boundary=boundary, chunk_size=5)
    sigma = 0.3
    y = noisy(x[1], sigma)
    found = jax.tree.map(np.asarray, provenance(denoiser, y, sigma))
    mode = "wrap" if boundary == "interior" else "zero"
    of_x = brute_patches.windows(x, 3, mode)[:, 1:-1, 1:-1]
    of_y = brute_patches.windows(y[None], 3, mode)[0]
    for i, j in ((1, 1), (4, 3), (6, 6), (2, 5)):
        energies = np.square(of_x - of_y[i, j]).sum(axis=-1)
        image, row, column = np.unravel_index(energies.argmin(), energies.shape)
        assert (found.image[i, j], found.row[i, j], found.column[i, j]) == (image, row + 1, column + 1)
        w = scipy.special.softmax(-energies.ravel() / (2 * sigma**2))
        entropy = -np.sum(w * np.log(np.maximum(w, 1e-300)))
        assert found.candidates[i, j] == pytest.approx(np.exp(entropy), rel=1e-8)
    assert (found.image[0, 0] == -1) == (boundary == "broken")


@pytest.mark.usefixtures("unchecked")
def test_bad_input(digits):
    x, z = digits[:4], np.zeros((1, 8, 8, 1))
    denoiser = LocalDenoiser(x, 3, equivariant=False, boundary="zero")
    for call, message in (
        (lambda: by_level(x, GRID, (3, 3), **LS), "one entry per positive noise level, 3, got 2"),
        (lambda: by_level(x, GRID, (3, 3, 4), **LS), "patch_sizes must be odd"),
        (lambda: calibrate(denoiser, x, GRID, (), z, **LS), "at least one"),
        (lambda: calibrate(denoiser, x, [1.0, 2.0, 0.0], (3,), z, **LS), "strictly decreasing"),
        (lambda: predicted_patch_sizes(denoiser, GRID), "pass zs"),
        (lambda: predicted_patch_sizes(x, GRID, z), "zs go with a denoiser"),
        (lambda: predicted_patch_sizes(x, GRID, share=1.0), r"share must lie strictly between 0 and 1"),
        (lambda: SoftWindowDenoiser(x, np.zeros(2), np.ones(1)), "one entry for each of sigmas"),
        (lambda: SoftWindowDenoiser(x, np.zeros(2), np.array([1.0, 2.0])), "strictly decreasing"),
        (lambda: fit_lengths(denoiser, x, GRID, z, start=0.0), "start must be positive"),
        (lambda: provenance(denoiser, x[0], 0.5), "denoiser must be equivariant"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
