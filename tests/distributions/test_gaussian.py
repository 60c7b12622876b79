"""Gaussian laws against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from jaxcreativity.distributions import gaussian
from jaxcreativity.distributions.gaussian import Gaussian, wasserstein2

D = 4


def random_law(seed, rank=D):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((D, rank))
    return Gaussian(rng.standard_normal(D), root @ root.T)


def bures(p, q):
    """The formula with SciPy's matrix square roots."""
    root = scipy.linalg.sqrtm(np.asarray(p.covariance))
    cross = scipy.linalg.sqrtm(root @ q.covariance @ root)
    squared = np.sum((p.mean - q.mean) ** 2) + np.trace(p.covariance + q.covariance - 2 * np.real(cross))
    return np.sqrt(max(squared, 0.0))


jit_wasserstein2 = jax.jit(wasserstein2)
log_prob = jax.jit(lambda law, x: law.log_prob(x))


def test_fit_divides_by_n(digits):
    law = gaussian.fit(digits)
    flat = digits.reshape(len(digits), -1)
    np.testing.assert_allclose(law.mean, flat.mean(axis=0), atol=1e-14)
    np.testing.assert_allclose(law.covariance, np.cov(flat.T, bias=True), atol=1e-13)


def test_log_prob():
    law = random_law(0)
    reference = scipy.stats.multivariate_normal(law.mean, law.covariance)
    for x in np.random.default_rng(1).standard_normal((3, D)) * 3:
        assert log_prob(law, x) == pytest.approx(reference.logpdf(x), abs=1e-9)


def test_log_prob_of_a_singular_law():
    law = random_law(2, rank=2)
    inside = law.mean + law.covariance @ jnp.ones(D)
    assert log_prob(law, inside) == np.inf
    assert log_prob(law, inside + 0.1) == -np.inf


@pytest.mark.parametrize("rank", [2, D])
def test_sample_has_the_stated_moments(rank):
    """Within 4 standard errors, each of the 14 numbers; the seed is fixed."""
    law, n = random_law(3, rank), 20_000
    drawn = np.asarray(law.sample(jax.random.key(0), n))
    assert drawn.shape == (n, D)
    C = np.asarray(law.covariance)
    assert (np.abs(drawn.mean(axis=0) - law.mean) < 4 * np.sqrt(np.diag(C) / n)).all()
    error = np.sqrt((np.outer(np.diag(C), np.diag(C)) + C**2) / n)
    assert (np.abs(np.cov(drawn.T) - C) < 4 * error).all()
    if rank < D:
        null = scipy.linalg.null_space(C, rcond=1e-10)
        assert null.shape[1] == D - rank
        # The root of an eigenvalue that is rounding, 1e-15, is 3e-8.
        assert np.abs((drawn - np.asarray(law.mean)) @ null).max() < 1e-6


@pytest.mark.parametrize(("p", "q"), [(0, 1), (2, 5), (7, 3)])
def test_wasserstein_is_the_bures_formula(p, q):
    p, q = random_law(p), random_law(q)
    assert jit_wasserstein2(p, q) == pytest.approx(bures(p, q), abs=1e-9)
    assert jit_wasserstein2(q, p) == pytest.approx(bures(p, q), abs=1e-9)


def test_wasserstein_in_closed_form():
    # One dimension at a time: |m - m'|^2 + (s - s')^2; singular laws, too.
    p = Gaussian(np.array([0.0, 1.0, 0.0]), np.diag([4.0, 1.0, 0.0]))
    q = Gaussian(np.array([3.0, 1.0, 0.0]), np.diag([1.0, 9.0, 0.25]))
    assert jit_wasserstein2(p, q) == pytest.approx(np.sqrt(9 + 1 + 4 + 0.25), abs=1e-12)


def test_wasserstein_of_a_law_to_itself():
    law = random_law(0)
    # A difference of traces: zero to the root of rounding.
    assert jit_wasserstein2(law, law) < 1e-6
    law32 = Gaussian(law.mean.astype(jnp.float32), law.covariance.astype(jnp.float32))
    assert jit_wasserstein2(law32, law32) < 1e-3 * np.sqrt(np.trace(law.covariance))
    assert jit_wasserstein2(law32, law32).dtype == jnp.float32


def test_precise_wasserstein_of_float32_laws_is_that_of_float64():
    with jax.enable_x64(False):
        p = random_law(0)
        q = Gaussian(p.mean + np.float32(1e-4), p.covariance)
        found = wasserstein2(p, q, precise=True)
    assert (p.mean.dtype, found.dtype) == (jnp.float32, jnp.float64)
    assert found == pytest.approx(np.linalg.norm(np.asarray(p.mean, float) - np.asarray(q.mean, float)), rel=1e-3)
    with pytest.raises(ValueError, match="traced"):
        jax.jit(lambda p: wasserstein2(p, q, precise=True))(p)
    with pytest.raises(ValueError, match="same dimension, got 4 and 1"):
        wasserstein2(p, Gaussian(np.zeros(1), np.eye(1)))


def test_wasserstein_gradient_is_that_of_finite_differences():
    both = jax.jit(jax.value_and_grad(lambda pq: wasserstein2(*pq)))
    rng = np.random.default_rng(4)
    for p, q in [
        (random_law(0), random_law(1)),
        (Gaussian(np.ones(D), np.eye(D)), Gaussian(np.zeros(D), 2 * np.eye(D))),
    ]:
        gradient = both((p, q))[1]
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
        roots = [rng.standard_normal((D, D)) for _ in range(2)]
        directions = tuple(Gaussian(rng.standard_normal(D), root + root.T) for root in roots)
        h = 1e-5
        ends = [jax.tree.map(lambda a, b, s=s: a + s * b, (p, q), directions) for s in (h, -h)]
        high, low = (float(both(end)[0]) for end in ends)
        exact = sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), gradient, directions)))
        assert float(exact) == pytest.approx((high - low) / (2 * h), abs=1e-7)  # h**2, 1e-15 / h


def test_wasserstein_gradient_is_finite_for_equal_and_singular_laws():
    both = jax.jit(jax.value_and_grad(lambda pq: wasserstein2(*pq)))
    singular = random_law(2, rank=2)
    for pq in [(random_law(0), random_law(0)), (singular, random_law(1)), (singular, singular)]:
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(both(pq)))


@pytest.mark.usefixtures("unchecked")
def test_bad_input():
    for mean, covariance in [(np.zeros(3), np.eye(2)), (np.zeros((2, 2)), np.eye(4)), (np.zeros(2), np.zeros(2))]:
        with pytest.raises(ValueError, match=r"need mean \(d,\) and covariance \(d, d\)"):
            Gaussian(mean, covariance)
    for x, message in [
        (np.zeros((0, 3)), "x needs at least 1"),
        (np.full((2, 3), np.nan), "NaN or infinite"),
        (np.zeros((2, 3), int), "floating point"),
        (np.zeros(3), "add the axis of examples"),
    ]:
        with pytest.raises(ValueError, match=message):
            gaussian.fit(x)
