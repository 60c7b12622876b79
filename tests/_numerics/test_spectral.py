"""Functions of a matrix against SciPy, and their derivatives against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxcreativity._numerics import spectral

RNG = np.random.default_rng(0)


def root_plus(values, shift):
    """A smooth function with a parameter, on values of at least 0."""
    return jnp.sqrt(values + shift)


def scipy_root_plus(matrix, shift):
    return scipy.linalg.sqrtm(matrix + shift * np.eye(len(matrix)))


def positive(*shape, complex_=False):
    """Positive definite blocks."""
    root = RNG.standard_normal(shape) + (1j * RNG.standard_normal(shape) if complex_ else 0)
    return root @ root.conj().swapaxes(-1, -2)


def with_eigenvalues(values):
    vectors = np.linalg.qr(RNG.standard_normal((len(values),) * 2))[0]
    return (vectors * values) @ vectors.T


@pytest.mark.parametrize("complex_", [False, True])
def test_apply_is_the_function_of_the_matrix(complex_):
    blocks = positive(3, 4, 4, complex_=complex_)
    spectrum = spectral.decompose(jnp.asarray(blocks))
    vector, columns = jnp.asarray(blocks[:, 0]), jnp.asarray(blocks[:, :, :2])
    dense = np.stack([scipy_root_plus(block, 0.3) for block in blocks])
    np.testing.assert_allclose(
        spectral.apply(root_plus, spectrum, (0.3,), vector), np.einsum("nij,nj->ni", dense, vector), atol=1e-12
    )
    np.testing.assert_allclose(spectral.apply(root_plus, spectrum, (0.3,), columns), dense @ columns, atol=1e-12)


def test_decompose_cuts_rounding_below_zero():
    rank_one = np.outer(np.arange(1.0, 6.0), np.arange(1.0, 6.0))[None]
    values = np.asarray(spectral.decompose(jnp.asarray(rank_one)).values)[0]
    assert (values >= 0).all()
    assert (np.diff(values) >= 0).all()
    assert values[-1] == pytest.approx(55)


SPECTRA = {
    "distinct": [0.1, 0.5, 1.2, 3.0],
    "repeated": [0.5, 0.5, 0.5, 2.0],
    "all equal": [1.0, 1.0, 1.0, 1.0],
    "singular": [0.0, 0.0, 0.7, 2.0],
    "gap of rounding size": [1.0, 1.0 + 1e-15, 1.0 + 1e-14, 2.0],
    "gaps about the switch": [1.0, 1.0 + 1e-7, 1.0 + 1e-5, 1.0 + 2e-5],
}


@jax.jit
def loss_and_gradient(matrix, shift, u):
    def loss(matrix, shift, u):
        spectrum = spectral.decompose(0.5 * (matrix + matrix.T)[None])
        return jnp.sum(jnp.sin(spectral.apply(root_plus, spectrum, (shift,), u[None])))

    return jax.value_and_grad(loss, argnums=(0, 1, 2))(matrix, shift, u)


@pytest.mark.parametrize("values", SPECTRA.values(), ids=SPECTRA.keys())
def test_derivative_is_that_of_finite_differences(values):
    at = (with_eigenvalues(np.asarray(values)), np.float64(0.4), RNG.standard_normal((4, 2)))
    gradient = loss_and_gradient(*at)[1]
    h = 1e-4
    for i, part in enumerate(at):
        direction = RNG.standard_normal(np.shape(part))
        ends = []
        for k in (-2, -1, 1, 2):
            moved = [a + k * h * direction if j == i else a for j, a in enumerate(at)]
            matrix = 0.5 * (moved[0] + moved[0].T)
            # By SciPy: a singular matrix that moves has eigenvalues below 0, which `decompose` would cut.
            ends.append(np.sin(scipy_root_plus(matrix, moved[1]) @ moved[2]).sum())
        numeric = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * h)
        # Differences: h**4, 1e-15 / h; where gaps are small the mean slope is off by gap**2, below eps**(2/3).
        assert np.sum(gradient[i] * direction) == pytest.approx(numeric, abs=1e-9)


def test_forward_and_reverse_mode_agree_for_hermitian_blocks():
    blocks, direction = positive(2, 3, 3, complex_=True), positive(2, 3, 3, complex_=True)
    u = jnp.asarray(RNG.standard_normal((2, 3)) + 0j)

    def loss(t):
        spectrum = spectral.decompose(jnp.asarray(blocks + t * direction))
        return jnp.sum(jnp.abs(spectral.apply(root_plus, spectrum, (0.3,), u)) ** 2)

    h = 1e-5
    numeric = float((loss(h) - loss(-h)) / (2 * h))
    for derivative in (jax.jacfwd, jax.grad):
        assert float(jax.jit(derivative(loss))(0.0)) == pytest.approx(numeric, abs=1e-8)


def test_derivative_with_respect_to_eigenvalues_at_fixed_vectors():
    matrix = positive(1, 3, 3)
    spectrum = spectral.decompose(jnp.asarray(matrix))
    u = jnp.asarray(RNG.standard_normal((1, 3)))

    def loss(values):
        moved = spectral.Eigendecomposition(spectrum.matrix, values, spectrum.vectors)
        return jnp.sum(spectral.apply(root_plus, moved, (0.3,), u))

    projected = np.asarray(spectrum.vectors[0]).T @ u[0]
    expected = np.asarray(spectrum.vectors[0]).sum(axis=0) * projected / (2 * np.sqrt(spectrum.values[0] + 0.3))
    np.testing.assert_allclose(jax.grad(loss)(spectrum.values)[0], expected, atol=1e-12)


def test_second_derivatives():
    matrix, u = jnp.asarray(positive(1, 3, 3)), jnp.asarray(RNG.standard_normal((1, 3)))

    def loss(matrix, u, shift=0.3):
        return jnp.sum(jnp.square(spectral.apply(root_plus, spectral.decompose(matrix), (shift,), u)))

    message = "second derivatives with respect to the covariance"
    for outer in (jax.grad, jax.jacfwd):
        with pytest.raises(NotImplementedError, match=message):
            outer(lambda m: jnp.sum(jax.grad(loss)(m, u)))(matrix)
    # With respect to u and the parameter they are exact: |f(M) u|^2 has the Hessian 2 f(M)^2 = 2 (M + shift).
    hessian = jax.jit(jax.hessian(loss, argnums=1))(matrix, u)[0, :, 0, :]
    np.testing.assert_allclose(hessian, 2 * (matrix[0] + 0.3 * np.eye(3)), atol=1e-12)
    mixed = jax.jit(jax.jacfwd(jax.grad(loss, argnums=1), argnums=2))(matrix, u, 0.3)
    np.testing.assert_allclose(mixed, 2 * u, atol=1e-12)
    # The derivative with respect to the matrix may still be differentiated along u.
    cross = jax.jit(jax.jacfwd(lambda u: jax.grad(loss)(matrix, u)))(u)
    assert np.isfinite(cross).all()


def test_batches():
    """vmap over vectors, with one matrix."""
    spectrum = spectral.decompose(jnp.asarray(positive(1, 3, 3)))
    u = jnp.asarray(RNG.standard_normal((5, 1, 3)))
    batched = jax.jit(jax.vmap(lambda u: spectral.apply(root_plus, spectrum, (0.3,), u)))(u)
    columns = spectral.apply(root_plus, spectrum, (0.3,), u[:, 0].T[None])
    np.testing.assert_allclose(batched[:, 0].T, columns[0], atol=1e-13)
