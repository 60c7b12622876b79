"""Where pixels come from, against the posterior over patches in float64 NumPy."""

import jax
import numpy as np
import pytest
import scipy.special

from jaxcreativity.theory.patches import LocalDenoiser, provenance
from tests.theory.patches import brute_patches


def noisy(x, sigma):
    return x + sigma * np.random.default_rng(0).standard_normal(x.shape)


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
    denoiser = LocalDenoiser(digits[:4], 3, equivariant=False, boundary="zero")
    with pytest.raises(ValueError, match="denoiser must be equivariant"):
        provenance(denoiser, digits[0], 0.5)


def test_patches_that_all_reach_over_the_border_have_no_source(digits):
    x = digits[:4, :3, :3]
    traced = provenance(LocalDenoiser(x, 5, equivariant=True, boundary="broken"), x[0], 0.1)
    for sources in (traced.image, traced.row, traced.column):
        np.testing.assert_array_equal(sources, np.full((3, 3), -1))
    assert np.isnan(traced.candidates).all()
