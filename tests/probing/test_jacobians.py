"""Jacobians against finite differences and the closed form of the linear theory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity import networks, probing
from jaxcreativity.theory import linear
from jaxcreativity.theory.empirical import EmpiricalDenoiser
from tests.registry import random_network

SIGMA = 0.4


@pytest.fixture(scope="module")
def x(digits):
    return jnp.asarray(digits[:120, 1:6, 2:6])  # neither square nor constant


@pytest.fixture(scope="module")
def network(x):
    return random_network(networks.MLP(width=12, depth=1), x.shape[1:], scale=0.3)


def test_products_match_finite_differences(x, network):
    y, v, u = jax.random.normal(jax.random.key(2), (3, *x.shape[1:]))
    for denoiser in (network, EmpiricalDenoiser(x)):
        operator = probing.jacobian(denoiser, y, SIGMA)
        call = jax.jit(lambda y, d=denoiser: d(y, SIGMA))
        difference = (call(y + 1e-5 * v) - call(y - 1e-5 * v)) / 2e-5
        forward = jax.jit(lambda v, o=operator: o.matvec(v))(v)
        np.testing.assert_allclose(forward, difference, rtol=1e-5, atol=1e-7)
        backward = jax.jit(lambda u, o=operator: o.rmatvec(u))(u)
        np.testing.assert_allclose(jnp.vdot(u, forward), jnp.vdot(backward, v), rtol=1e-10)


def test_linear_theory_in_closed_form(x):
    """The Jacobian is U diag(lambda / (lambda + sigma^2)) U^T: spectrum, trace and symmetry follow."""
    flat = np.asarray(x).reshape(len(x), -1)
    values, vectors = np.linalg.eigh(np.cov(flat.T, bias=True))
    gains = (values / (values + SIGMA**2))[::-1]
    operator = probing.jacobian(linear.fit(x, "full"), x[0], SIGMA)
    dense = jax.jit(lambda o: o.dense())(operator)
    np.testing.assert_allclose(dense, (vectors[:, ::-1] * gains) @ vectors[:, ::-1].T, atol=1e-9)
    np.testing.assert_allclose(jax.jit(probing.trace)(operator), gains.sum(), rtol=1e-9)
    assert jax.jit(probing.asymmetry)(operator) < 1e-12
    for part in ("singular", "symmetric"):
        for k in (3, 20):  # iterative, dense
            found = jax.jit(lambda o, k=k, part=part: probing.spectrum(o, k, part=part))(operator)
            np.testing.assert_allclose(found.values, gains[:k], atol=1e-6 if k == 3 else 1e-9)
            np.testing.assert_allclose(jnp.abs(found.inputs.reshape(k, -1)[:3] @ vectors[:, ::-1][:, :3]), np.eye(3),
                                       atol=1e-4)  # fmt: skip
            moved = jax.vmap(operator.matvec)(found.inputs[:3])
            scale = found.values[:3].reshape(-1, 1, 1, 1)
            np.testing.assert_allclose(moved, scale * found.outputs[:3], atol=1e-4)


def test_posterior_mean_has_the_posterior_covariance(x):
    """Second-order Tweedie: J = Cov[x | y] / sigma^2 for the empirical denoiser, by brute force."""
    y = x[3] + SIGMA * jax.random.normal(jax.random.key(0), x.shape[1:])
    flat, v = np.asarray(x).reshape(len(x), -1), np.asarray(y).ravel()
    weights = np.exp(-((flat - v) ** 2).sum(1) / (2 * SIGMA**2))
    weights /= weights.sum()
    centred = flat - weights @ flat
    covariance = (centred * weights[:, None]).T @ centred
    dense = jax.jit(lambda o: o.dense(batch_size=7))(probing.jacobian(EmpiricalDenoiser(x), y, SIGMA))
    np.testing.assert_allclose(dense, covariance / SIGMA**2, atol=1e-10)


def test_asymmetry_and_effective_rank_of_known_matrices():
    matrix = jnp.array([[0.0, 1.0], [0.0, 0.0]])
    operator = probing.jacobian(lambda y, _: matrix @ y, jnp.zeros(2), 1.0)
    np.testing.assert_allclose(probing.asymmetry(operator), np.sqrt(2))
    np.testing.assert_allclose(probing.effective_rank(jnp.array([2.0, 2.0, 2.0, 0.0])), 3.0)
    assert probing.effective_rank(jnp.array([1.0, 1e-6])) < 1.001


def test_bad_input(x, unchecked):
    operator = probing.jacobian(linear.fit(x, "full"), x[0], SIGMA)
    with pytest.raises(ValueError, match="k must be at most"):
        probing.spectrum(operator, 21)
    with pytest.raises(ValueError, match="part"):
        probing.spectrum(operator, 2, part="left")
    with pytest.raises(ValueError, match="floating point"):
        probing.jacobian(linear.fit(x, "full"), jnp.zeros((5, 4, 1), int), SIGMA)
    with pytest.raises(ValueError, match="shape"):
        probing.jacobian(lambda y, _: y.ravel(), x[0], SIGMA)

    def opaque(y, _):
        return jax.pure_callback(lambda v: v, jax.ShapeDtypeStruct(y.shape, y.dtype), y)

    with pytest.raises(ValueError, match="function cannot be differentiated"):
        probing.jacobian(opaque, x[0], SIGMA)
