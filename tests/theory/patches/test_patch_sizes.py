"""Patch sizes: one for each level, found against a network, and predicted without one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity import schedules
from jaxcreativity.theory.patches import LocalDenoiser, by_level, calibrate, predicted_patch_sizes
from jaxcreativity.theory.patches.patch_sizes import response_energy, smallest_window
from tests.theory.patches.brute_patches import posterior_means

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


def test_calibration_measures_errors_on_the_networks_own_states(digits):
    """A network that is no patch machine, so that no error is zero: states and errors by the definition, in NumPy."""
    x, pixels = digits[:12], [(i, j) for i in range(8) for j in range(8)]
    network = lambda y, sigma: (y + 0.3 * jnp.roll(y, 1, axis=0)) / (1.3 + sigma**2)  # noqa: E731
    zs = np.random.default_rng(1).standard_normal((2, *x.shape[1:]))
    expected = np.zeros((3, 2))
    for z in zs:
        levels = np.asarray(GRID)
        y = levels[0] * z
        for level, (sigma, following) in enumerate(itertools.pairwise(levels)):
            estimate = (y + 0.3 * np.roll(y, 1, axis=0)) / (1.3 + sigma**2)
            for candidate, k in enumerate((1, 5)):
                patch_machine = posterior_means(x, y, k, sigma, pixels, **LS).reshape(y.shape)
                expected[level, candidate] += np.square(patch_machine - estimate).mean() / len(zs)
            y = estimate + following / sigma * (y - estimate)
    found = calibrate(network, x, GRID, (1, 5), jnp.asarray(zs), batch_size=1, **LS)
    np.testing.assert_allclose(found.errors, expected, rtol=1e-8)
    assert found.patch_sizes == tuple((1, 5)[i] for i in expected.argmin(axis=1))


def test_plain_functions_take_a_networks_place(digits):
    x = digits[:6]
    truth = by_level(x, GRID, (3, 3, 1), **LS)
    z = jax.random.normal(jax.random.key(0), (1, *x.shape[1:]))
    function = lambda y, sigma: truth(y, sigma)  # noqa: E731
    calibrations = [calibrate(network, x, GRID, (1, 3), z, **LS) for network in (function, truth)]
    np.testing.assert_allclose(*(c.errors for c in calibrations), atol=1e-20)
    assert predicted_patch_sizes(function, GRID, z) == predicted_patch_sizes(truth, GRID, z)


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


def test_nearest_candidates(digits):
    sizes = predicted_patch_sizes(digits, GRID)
    assert predicted_patch_sizes(digits, GRID, candidates=range(1, 17, 2)) == sizes
    found = predicted_patch_sizes(digits, GRID, candidates=(3, 9))
    assert found == tuple(3 if k <= 6 else 9 for k in sizes)
    with pytest.raises(ValueError, match="patch_sizes"):
        predicted_patch_sizes(digits, GRID, candidates=(2,))


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
    ):
        with pytest.raises(ValueError, match=message):
            call()
