"""Masks from the covariance, patch composites and the smoothed empirical denoiser, against float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from sklearn.datasets import load_digits

from jaxcreativity.theory.empirical import EmpiricalDenoiser, smoothed
from jaxcreativity.theory.patches import composite, masked

apply = jax.jit(lambda denoiser, y, sigma: denoiser(y, sigma))


@pytest.fixture(scope="module")
def images(digits):
    return digits[:30, 1:7, 1:6]


def noisy(x, sigma):
    return x + sigma * np.random.default_rng(0).standard_normal(x.shape)


def closeness(x, sigma, relative_to):
    """Entry (m, n): |W_mn|, or |M_mn|, as a share of the largest, in float64."""
    flat = np.asarray(x, np.float64).reshape(len(x), -1)
    S = np.cov(flat.T, bias=True)
    W = np.abs(S @ np.linalg.inv(S + sigma**2 * np.eye(len(S))))
    W[np.diag(S) <= 1e-6 * np.diag(S).max()] = 0
    if relative_to == "all":
        M = W / np.where(W.any(axis=1), np.diag(W), 1)[:, None]
        return M / M.max()
    return W / np.where(W.any(axis=1), W.max(axis=1), 1)[:, None]


def masked_by_hand(x, y, sigma, threshold, runs, relative_to="row"):
    flat, target = x.reshape(len(x), -1), y.ravel()
    windows = (closeness(x, sigma, relative_to) >= threshold) | np.eye(target.size, dtype=bool)
    out = np.zeros(target.size)
    for m, window in enumerate(windows):
        means = []
        for run in np.split(flat, runs):
            energies = np.square(run[:, window] - target[window]).sum(axis=1)
            means.append(scipy.special.softmax(-energies / (2 * sigma**2)) @ run[:, m])
        out[m] = np.mean(means)
    return out.reshape(y.shape)


@pytest.mark.parametrize(
    ("chunk_size", "relative_to"), [(None, "row"), (7, "row"), (10, "row"), (100, "row"), (None, "all")]
)
def test_masked_is_its_definition(images, chunk_size, relative_to):
    denoiser = masked.fit(images, 0.05, chunk_size=chunk_size, relative_to=relative_to)
    for sigma in (0.05, 0.5, 3.0):
        y = noisy(images[2], sigma)
        expected = masked_by_hand(images, y, sigma, 0.05, 1, relative_to)
        np.testing.assert_allclose(apply(denoiser, y, sigma), expected, atol=1e-10)
    sizes = [int(denoiser.masks(sigma).sum()) for sigma in (0.05, 0.5, 3.0)]
    assert sizes[0] < sizes[1] < sizes[2]  # the window grows with the noise


def test_an_entry_of_little_variance_spoils_no_other_window():
    rng = np.random.default_rng(0)
    common = rng.standard_normal((200, 1))
    x = common + 0.3 * rng.standard_normal((200, 3))
    faint = 2e-3 * common + 1e-4 * rng.standard_normal((200, 1))
    sizes = lambda x, **options: masked.fit(x, 0.05, **options).masks(0.5).sum(axis=1).tolist()  # noqa: E731
    assert sizes(x) == [3, 3, 3]
    assert sizes(np.concatenate([x, faint], axis=1)) == [3, 3, 3, 4]
    assert sizes(np.concatenate([x, faint], axis=1), relative_to="all") == [1, 1, 1, 4]


@pytest.mark.parametrize("relative_to", ["row", "all"])
@pytest.mark.parametrize("n", [64, 1797])
def test_masks_of_float32_data_are_exact_at_every_noise_level(n, relative_to):
    """More images than entries, and as many, whose covariance is singular; constant and nearly constant pixels."""
    x = np.asarray(load_digits().images[:n, :, :, None] / 8.0 - 1.0, np.float32)
    denoiser = masked.fit(x, 0.02, relative_to=relative_to)
    for sigma in (1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0):
        share = closeness(x, sigma, relative_to)
        expected = (share >= 0.02) | np.eye(64, dtype=bool)
        resolved = np.abs(share / 0.02 - 1) > 1e-3
        assert np.mean(resolved) > 0.99
        np.testing.assert_array_equal(denoiser.masks(sigma)[resolved], expected[resolved], str(sigma))


def test_masked_as_published_depends_on_batches(images):
    y = noisy(images[2], 0.5)
    denoiser = masked.fit(images, 0.05, normalisation="per_batch", batch_size=10)
    expected = masked_by_hand(images, y, 0.5, 0.05, [10, 20])
    np.testing.assert_allclose(apply(denoiser, y, 0.5), expected, atol=1e-10)
    assert np.abs(expected - masked_by_hand(images, y, 0.5, 0.05, 1)).max() > 0.01


def test_constant_pixels_do_not_spoil_the_masks(images):
    x = images.copy()
    x[:, 0, 0] = -1.0
    x[:, 0, 1] = -1.0
    x[3, 0, 1] = -1.0 + 1e-7
    y = noisy(x[2], 0.5)
    got = apply(masked.fit(x.astype(np.float32), 0.05), y.astype(np.float32), np.float32(0.5))
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, masked_by_hand(x, y, 0.5, 0.05, 1), atol=1e-3)


@pytest.mark.parametrize("chunk_size", [None, 7])
@pytest.mark.parametrize("k", [1, 3, 4])
def test_composite_is_its_definition(images, k, chunk_size):
    denoiser = composite.CompositeDenoiser(images, k, chunk_size)
    for sigma in (0.05, 0.5, 3.0):
        y = noisy(images[2], sigma)
        total, number = np.zeros(y.shape), np.zeros(y.shape)
        for i in range(6 - k + 1):
            for j in range(5 - k + 1):
                at = np.s_[i : i + k, j : j + k]
                patches = images[:, i : i + k, j : j + k]
                energies = np.square(patches - y[at]).reshape(len(images), -1).sum(axis=1)
                total[at] += np.tensordot(scipy.special.softmax(-energies / (2 * sigma**2)), patches, 1)
                number[at] += 1
        np.testing.assert_allclose(apply(denoiser, y, sigma), total / number, atol=1e-10)


def test_composite_of_the_whole_image_is_the_empirical_denoiser(images):
    y = noisy(images[2], 0.7)
    got = apply(composite.CompositeDenoiser(images, 6), y, 0.7)
    np.testing.assert_allclose(got, apply(EmpiricalDenoiser(images), y, 0.7), atol=1e-12)


def test_smoothed_is_the_mean_over_perturbations(images):
    denoiser = smoothed.fit(images, 0.4, key=jax.random.key(0), num_pairs=3, chunk_size=7)
    y = noisy(images[2], 0.3)
    flat = images.reshape(30, -1)
    means = []
    for shift in np.asarray(denoiser.perturbations):
        energies = np.square(flat - (y + 0.4 * shift).ravel()).sum(axis=1)
        means.append(scipy.special.softmax(-energies / (2 * 0.3**2)) @ flat)
    np.testing.assert_allclose(apply(denoiser, y, 0.3), np.mean(means, axis=0).reshape(y.shape), atol=1e-12)
    np.testing.assert_allclose(denoiser.perturbations.sum(axis=0), 0, atol=1e-14)
    unperturbed = apply(smoothed.fit(images, 0.0, key=jax.random.key(0)), y, 0.3)
    np.testing.assert_allclose(unperturbed, apply(EmpiricalDenoiser(images), y, 0.3), atol=1e-12)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: masked.fit(x, 0.0), r"threshold must lie in \(0, 1\]"),
        (lambda x: masked.fit(x, relative_to="column"), "relative_to must be one of 'row', 'all'"),
        (lambda x: masked.fit(x, normalisation="per_batch"), "batch_size goes with normalisation 'per_batch'"),
        (lambda x: masked.fit(x, batch_size=3), "batch_size goes with normalisation 'per_batch'"),
        (lambda x: masked.fit(x, chunk_size=0), "chunk_size must be an integer of at least 1"),
        (lambda x: masked.fit(x[:1]), "at least 2"),
        (lambda x: composite.CompositeDenoiser(x, 7), "patch_size must be at most the larger image side 6, got 7"),
        (lambda x: composite.CompositeDenoiser(x, 0), "patch_size must be an integer of at least 1"),
        (lambda x: composite.CompositeDenoiser(x[0], 1), r"data must have shape \(n, height, width, channels\)"),
        (lambda x: smoothed.fit(x, -1.0, key=jax.random.key(0)), "scale must be finite and not negative"),
        (lambda x: smoothed.fit(x, 1.0, key=jax.random.key(0), num_pairs=0), "num_pairs must be an integer"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make(jnp.zeros((4, 6, 5, 1)))
