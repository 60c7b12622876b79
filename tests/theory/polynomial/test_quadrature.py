"""Gauss nodes against NumPy's, and against the moments that they are to keep."""

import jax
import numpy as np
import pytest

from jaxcreativity.theory import polynomial


def test_nodes_of_the_uniform_law_are_those_of_legendre():
    with jax.enable_x64(True):
        moments = np.array([0.0 if k % 2 else 1 / (k + 1) for k in range(11)])
        nodes, weights = polynomial.gauss_nodes(moments, 5)
        expected = np.polynomial.legendre.leggauss(5)
        np.testing.assert_allclose(nodes, expected[0], atol=1e-9)
        np.testing.assert_allclose(weights, expected[1] / 2, rtol=1e-8)


def test_atoms_keep_the_moments_of_an_offset_skew_law():
    """The exponential law on a scale of 3, shifted by 2: moments up to 2 count - 1, and not the next one."""
    x, w = np.polynomial.laguerre.laggauss(20)
    moments = np.array([np.sum(w * (3 * x + 2) ** k) for k in range(7)])
    with jax.enable_x64(True):
        nodes, weights = map(np.asarray, polynomial.gauss_nodes(moments, 3))
    found = np.array([np.sum(weights * nodes**k) for k in range(7)])
    np.testing.assert_allclose(found[:6], moments[:6], rtol=1e-9)
    assert abs(found[6] / moments[6] - 1) > 0.01


def test_too_few_moments_or_atoms():
    with pytest.raises(ValueError, match="count must be an integer of at least 1"):
        polynomial.gauss_nodes(np.ones(3), 0)
    with pytest.raises(ValueError, match="moments must hold"):
        polynomial.gauss_nodes(np.array([1.0, 0.0, 1.0]), 2)
