"""The flows of degrees 2 and 3 as maps of the seed, against SciPy's integration of least squares in plain NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from jaxcreativity.theory import polynomial

SIGMA_MAX, SIGMA_MIN = 3.0, 0.3


def flow(moments, degree, seeds, unit=1.0):
    """Where seeds end, by `dy/dt = y - D(y)` in `t = log sigma`; moments and result are in this unit."""
    gaussian = np.array([0.0 if k % 2 else math.prod(range(1, k, 2)) for k in range(2 * degree + 1)])
    powers = np.arange(degree + 1)

    def slope(t, y):
        sigma = math.exp(t)
        noisy = [  # E[x^i y^k], i = 0, 1, of y = x + sigma e
            [
                sum(math.comb(k, j) * moments[j + i] * gaussian[k - j] * sigma ** (k - j) for j in range(k + 1))
                for k in range(2 * degree + 1 - i)
            ]
            for i in (0, 1)
        ]
        gram = np.array(noisy[0])[powers[:, None] + powers]
        theta = np.linalg.solve(gram, noisy[1][: degree + 1])
        return y - np.polyval(theta[::-1], y)

    start, end = math.log(SIGMA_MAX), math.log(SIGMA_MIN)
    return solve_ivp(slope, (start, end), SIGMA_MAX * seeds, rtol=1e-8, atol=1e-10).y[:, -1] * unit


def test_moebius_map_is_the_flow_wherever_the_law_lies():
    """The exponential law; moved by -15 and -25, where the seed 0 is near the pole, and beyond it: A, B, C, D move."""
    z = np.linspace(-2.0, 2.0, 5)
    compute = jax.jit(lambda moments: polynomial.moebius_map(moments, SIGMA_MAX, SIGMA_MIN))
    exponential = np.array([float(math.factorial(k)) for k in range(5)])
    matrix = np.asarray(compute(exponential))
    (a, b), (c, d) = matrix
    assert d > 0
    np.testing.assert_allclose(a * d - b * c, 1.0, rtol=1e-7)
    x = (a * SIGMA_MAX * z + b) / (c * SIGMA_MAX * z + d)
    np.testing.assert_allclose(x, flow(exponential, 2, z), rtol=1e-6)
    for shift, sign in ((-15.0, 1.0), (-25.0, -1.0)):
        moved = [sum(math.comb(k, j) * exponential[j] * shift ** (k - j) for j in range(k + 1)) for k in range(5)]
        there, back = np.array([[1.0, shift], [0.0, 1.0]]), np.array([[1.0, -shift], [0.0, 1.0]])
        expected = sign * there @ matrix @ back
        assert expected[1, 1] > 0
        np.testing.assert_allclose(compute(jnp.array(moved)), expected, rtol=1e-5, atol=1e-5)


UNIT = 10.0
LAPLACE = np.array([0.0 if k % 2 else float(math.factorial(k)) for k in range(9)])
ROUNDING = 1e3 * np.finfo(float).eps * LAPLACE[6] / LAPLACE[2] ** 3  # of an odd moment, in standard deviations


def laplace_with(odd):
    """Moments of the Laplace law in units of 10, the odd ones of this size in standard deviations."""
    std = math.sqrt(LAPLACE[2])
    return [(m + o * std**k) * UNIT**k for k, (m, o) in enumerate(zip(LAPLACE, odd, strict=True))]


def test_bernoulli_map_is_the_flow():
    """Of moments that are symmetric to within rounding, and more than are needed."""
    alpha, beta = polynomial.bernoulli_map(laplace_with(np.arange(9) % 2 * ROUNDING / 3), 30.0, 3.0)
    z = np.linspace(-2.0, 2.0, 5)
    np.testing.assert_allclose(alpha * z / np.sqrt(1 + beta * z**2), flow(LAPLACE, 3, z, UNIT), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("order", [1, 3, 5])
def test_bernoulli_map_needs_symmetry(order):
    """Each odd moment on its own, a little beyond rounding."""
    with pytest.raises(ValueError, match="symmetric about 0"):
        polynomial.bernoulli_map(laplace_with((np.arange(9) == order) * -3 * ROUNDING), 30.0, 3.0)
