"""The empirical denoiser over an index against the exact one, with error bars."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity.theory import empirical

RNG = np.random.default_rng(0)
IMAGES = 5.0 + RNG.normal(size=(400, 5, 4, 2)).cumsum(axis=1)
NOISE = RNG.normal(size=(3, 5, 4, 2))


def index(**options):
    return empirical.build_index(jnp.asarray(IMAGES), num_cells=16, key=jax.random.key(0), **options)


def indexed(num_head, num_tail, key=1):
    return empirical.IndexedEmpiricalDenoiser(index(), num_head=num_head, num_tail=num_tail, key=jax.random.key(key))


def test_with_all_images_in_the_head_it_is_exact():
    """Values and gradients, at each noise level of a batch; the errors are 0."""
    of, exact = indexed(400, 10), empirical.EmpiricalDenoiser(jnp.asarray(IMAGES))
    sigmas = jnp.array([1e-3, 0.5, 4.0])
    y = IMAGES[:3] + sigmas[:, None, None, None] * NOISE
    got, error = jax.jit(jax.vmap(of.estimate))(y, sigmas)
    np.testing.assert_allclose(got, jax.jit(jax.vmap(exact))(y, sigmas), atol=1e-9)
    np.testing.assert_array_equal(error, np.zeros_like(y))
    gradients = (jax.jit(jax.grad(lambda y, d=d: jnp.sum(NOISE[0] * d(y, 0.5)))) for d in (of, exact))
    np.testing.assert_allclose(*(gradient(y[1]) for gradient in gradients), atol=1e-9)


@pytest.mark.parametrize(("num_head", "num_tail", "sigma"), [(1, 30, 6.0), (50, 20, 8.0)])
def test_errors_are_those_of_the_draws(num_head, num_tail, sigma):
    """Over 40 sets of draws: unbiased to three standard errors, off by twice the error or less for 90 to 99 %."""
    y, exact = jnp.asarray(IMAGES[1] + sigma * NOISE[1]), empirical.EmpiricalDenoiser(jnp.asarray(IMAGES))
    estimate = jax.jit(empirical.IndexedEmpiricalDenoiser.estimate)
    draws = [estimate(indexed(num_head, num_tail, key), y, sigma) for key in range(40)]
    found, errors = (np.stack(x) for x in zip(*draws, strict=True))
    off = found - np.asarray(exact(y, sigma))[None]
    assert 0.9 <= np.mean(np.abs(off) < 2 * errors) <= 0.995
    assert 0.6 < np.sqrt(np.mean(off**2) / np.mean(errors**2)) < 1.1
    bias = off.mean(axis=0) / np.sqrt(np.mean(errors**2, axis=0) / len(off))
    assert np.mean(np.abs(bias) < 3) > 0.95


def test_an_index_is_kept(tmp_path):
    first = index(cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    modified = path.stat().st_mtime_ns
    again = index(cache_dir=tmp_path)
    assert path.stat().st_mtime_ns == modified
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    # That of other data is another one.
    empirical.build_index(jnp.asarray(IMAGES[::-1].copy()), num_cells=16, key=jax.random.key(0), cache_dir=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert first.num_bytes < 10 * IMAGES.nbytes


def test_bad_input(unchecked):
    of = index()
    for wrong, message in (
        ({"num_head": 401}, "num_head must be at most the number of images, 400"),
        ({"num_tail": 2}, "num_tail must be at least 3"),
        ({"index": jnp.asarray(IMAGES)}, "build_index"),
    ):
        options = {"index": of, "num_head": 10, "num_tail": 10, "key": jax.random.key(0)} | wrong
        with pytest.raises(ValueError, match=message):
            empirical.IndexedEmpiricalDenoiser(**options)
    denoiser = empirical.IndexedEmpiricalDenoiser(of, num_head=10, num_tail=10, key=jax.random.key(0))
    with pytest.raises(ValueError, match="shape"):
        denoiser(jnp.zeros((5, 4)), 1.0)
    with pytest.raises(ValueError, match="no cell without keys"):
        empirical.build_index(jnp.asarray(IMAGES), num_cells=512, key=jax.random.key(0))
