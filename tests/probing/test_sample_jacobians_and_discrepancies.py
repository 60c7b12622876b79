"""Derivatives through the whole sampler: sample Jacobian and discrepancy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity import networks, probing, sampling, schedules
from jaxcreativity.theory import linear
from jaxcreativity.theory.empirical import EmpiricalDenoiser

GRID = schedules.grid(schedules.log_linear(0.1, 10.0), 6)


@pytest.fixture(scope="module")
def x(digits):
    return jnp.asarray(digits[:60, 2:5, 2:6])


def test_linear_sample_jacobian_is_its_gain(x):
    """dx/dz = U diag(G sigma_max) U^T; the log-density is the Gaussian's."""
    z = jax.random.normal(jax.random.key(0), x.shape[1:])
    denoiser = linear.fit(x, "full")
    found = jax.jit(lambda z: probing.sample_jacobian(denoiser, z, GRID))(z)
    values, vectors = np.linalg.eigh(np.cov(np.asarray(x).reshape(len(x), -1).T, bias=True))
    gain = np.full_like(values, GRID[0])
    for sigma, after in zip(np.asarray(GRID[:-1]), np.asarray(GRID[1:]), strict=True):
        gain *= (1 - after / sigma) * values / (values + sigma**2) + after / sigma
    np.testing.assert_allclose(found.matrix, (vectors * gain) @ vectors.T, atol=1e-12)
    np.testing.assert_allclose(found.singular_values, np.sort(np.abs(gain))[::-1], atol=1e-12)
    np.testing.assert_allclose(found.log_prob, linear.generated(denoiser, GRID).log_prob(found.x.ravel()), rtol=1e-8)
    assert found.dimension(0.5) == (np.abs(gain) > 0.5 * np.abs(gain).max()).sum()
    np.testing.assert_allclose(found.x, jax.jit(lambda z: sampling.sample(denoiser, z, GRID))(z), atol=1e-12)


def test_low_rank_denoiser_generates_a_low_dimensional_manifold(x):
    denoiser = linear.fit(x, "low_rank", rank=3)
    found = jax.jit(lambda z: probing.sample_jacobian(denoiser, z, GRID))(jnp.ones(x.shape[1:]))
    assert found.dimension(1e-9) == 3


def test_discrepancy_gradients_match_finite_differences(x):
    """With respect to the noise, the theory's data, the other denoiser and the noise levels, in one traced program."""
    z = jax.random.normal(jax.random.key(1), (3, *x.shape[1:]))

    def value(data, gain, z, sigmas, measure):
        theory, other = EmpiricalDenoiser(data), lambda y, sigma: gain * y / (1 + sigma**2)
        return probing.discrepancy(theory, other, z, sigmas, measure)

    arguments = x[:20], jnp.asarray(0.8), z, GRID
    for measure in ("mean_square", "correlation"):
        gradient = jax.jit(jax.grad(value, argnums=(0, 1, 2, 3)), static_argnums=4)(*arguments, measure)
        call = jax.jit(value, static_argnums=4)
        for i, (argument, slope) in enumerate(zip(arguments, gradient, strict=True)):
            step = jax.random.normal(jax.random.key(i), argument.shape)
            if i == 3:
                step = step.at[-1].set(0) * GRID
            ends = [call(*arguments[:i], argument + e * step, *arguments[i + 1 :], measure) for e in (1e-5, -1e-5)]
            np.testing.assert_allclose(jnp.vdot(slope, step), (ends[0] - ends[1]) / 2e-5, rtol=1e-5, atol=1e-9)


def test_discrepancy_of_known_denoisers(x):
    z = jax.random.normal(jax.random.key(1), (4, *x.shape[1:]))
    denoiser = linear.fit(x, "full")
    assert probing.discrepancy(denoiser, denoiser, z, GRID) == 0
    shifted = lambda y, sigma: denoiser(y, sigma) + 0.0 * sigma  # noqa: E731
    np.testing.assert_allclose(probing.discrepancy(denoiser, shifted, z, GRID, "correlation"), 0.0, atol=1e-12)


@pytest.mark.slow
def test_memory_of_a_gradient_is_bounded_by_rematerialisation(digits):
    """Compiled temporary memory of the gradient through 100 steps against that through 10."""
    x = jnp.asarray(digits[:40], jnp.float32)
    z = jnp.ones((16, *x.shape[1:]), jnp.float32)
    module = networks.MLP(width=64, depth=2)
    network = networks.bind(module, jax.jit(module.init)(jax.random.key(0), x[0], jnp.ones(()))["params"])
    theory = EmpiricalDenoiser(x)

    def memory(num_steps, remat):
        grid = schedules.grid(schedules.log_linear(0.1, 10.0), num_steps).astype(jnp.float32)
        loss = lambda network, z: probing.discrepancy(theory, network, z, grid, remat=remat)  # noqa: E731
        compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(network, z).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert memory(100, True) < 3 * memory(10, True)
    assert memory(100, False) > 5 * memory(10, False)


def test_one_program_serves_all_seeds(x):
    """No callback to the host, and no recompilation when seeds or parameters change."""
    traces = []

    @jax.jit
    def loss(theory, gain, z):
        traces.append(None)
        return probing.discrepancy(theory, lambda y, sigma: gain * y, z, GRID)

    for seed in range(3):
        z = jax.random.normal(jax.random.key(seed), (2, *x.shape[1:]))
        loss(EmpiricalDenoiser(x[seed : seed + 20]), jnp.asarray(0.1 * seed), z)
    assert len(traces) == 1
    program = loss.lower(EmpiricalDenoiser(x[:20]), jnp.asarray(0.5), z).as_text()
    assert "callback" not in program


def test_bad_input(x, unchecked):
    z, denoiser = jnp.zeros((2, *x.shape[1:])), linear.fit(x, "full")
    with pytest.raises(ValueError, match="scalar"):
        probing.discrepancy(denoiser, denoiser, z, GRID, lambda a, b: a - b)
    with pytest.raises(ValueError, match="measure"):
        probing.discrepancy(denoiser, denoiser, z, GRID, "distance")
    with pytest.raises(ValueError, match="decreas"):
        probing.sample_jacobian(denoiser, z[0], GRID[::-1])
    with pytest.raises(ValueError, match="shape"):
        probing.discrepancy(denoiser, denoiser, z[:, :2], GRID)
