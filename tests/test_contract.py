"""The contract of `denoiser.py`, held by every denoiser of `registry.py`.

Compiling takes nearly all of the time, so the tests share four programs a denoiser: one example and a batch in float32,
a batch and a gradient in float64. Every batch has `BATCH` examples.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import golden
from tests.registry import CASES

# Without jit each of their many steps is a program to compile.
SLOW_WITHOUT_JIT = {
    "polynomial-pixel", "polynomial-patch", "polynomial-pca", "polynomial-joint", "soft-window-ELS", "ELS-broken",
}  # fmt: skip
assert {case.name for case in CASES} > SLOW_WITHOUT_JIT


def pytest_generate_tests(metafunc):
    slow = SLOW_WITHOUT_JIT if metafunc.function is test_jit_agrees_with_eager else {}
    metafunc.parametrize(
        "case",
        [pytest.param(case, marks=[pytest.mark.slow] if case.name in slow else [], id=str(case)) for case in CASES],
    )


SIGMAS = np.geomspace(1e-4, 1e3, 8)
BATCH = len(SIGMAS) ** 2


@jax.jit
def apply(denoiser, y, sigma):
    return denoiser(y, sigma)


@jax.jit
def apply_batch(denoiser, y, sigma):
    return jax.vmap(denoiser)(y, sigma)


@jax.jit
def leaf_gradient(denoiser, y, sigma):
    loss = lambda d: jnp.sum(jnp.square(jax.vmap(d)(y, sigma)))  # noqa: E731
    return jax.grad(loss, allow_int=True)(denoiser)


def noisy(case, sigmas, dtype, *, true_sigmas=None):
    """A batch of examples in noise: `(y, sigmas)`, one level for all or one each."""
    rng = np.random.default_rng(1)
    sigmas = np.broadcast_to(sigmas, BATCH)
    x = case.data[rng.integers(len(case.data), size=BATCH)]
    scale = np.reshape(sigmas if true_sigmas is None else true_sigmas, (BATCH, *[1] * len(case.shape)))
    return jnp.asarray(x + scale * rng.standard_normal(x.shape), dtype), jnp.asarray(sigmas, dtype)


def apply_to_golden(case):
    """What the numbers on file are of: noisy examples of many levels, in float64."""
    return apply_batch(case.denoiser(jnp.float64), *noisy(case, np.geomspace(0.02, 4.0, BATCH), jnp.float64))


def floating(tree):
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]


# Two orders of the same sums differ by a few hundred roundings of numbers of size 1.
ROUNDING = 300 * float(np.finfo(np.float32).eps)


def test_numbers_are_those_on_file(case):
    golden.check(str(case), apply_to_golden(case))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64], ids=["float32", "float64"])
def test_shape_and_dtype_follow_y(case, dtype):
    out = apply_batch(case.denoiser(dtype), *noisy(case, 0.3, dtype))
    assert (out.shape, out.dtype) == ((BATCH, *case.shape), dtype)
    # The denoiser's own dtype does not matter (traced only).
    other = case.denoiser(jnp.float64 if dtype == jnp.float32 else jnp.float32)
    got = jax.eval_shape(lambda y: other(y, 0.3), jax.ShapeDtypeStruct(case.shape, dtype))
    assert (got.shape, got.dtype) == (case.shape, dtype)


def test_takes_any_kind_of_number_as_sigma(case):
    denoiser, y = case.denoiser(jnp.float32), jax.ShapeDtypeStruct(case.shape, jnp.float32)
    for sigma in (0.3, 1, np.float64(0.3), np.asarray(0.3), jnp.asarray(0.3)):
        got = jax.eval_shape(lambda y, sigma=sigma: denoiser(y, sigma), y)
        assert (got.shape, got.dtype) == (case.shape, jnp.float32)


def test_jit_agrees_with_eager(case):
    denoiser = case.denoiser(jnp.float32)
    y, sigmas = noisy(case, 0.3, jnp.float32)
    np.testing.assert_allclose(apply(denoiser, y[0], sigmas[0]), denoiser(y[0], sigmas[0]), atol=ROUNDING)


def test_vmap_agrees_with_a_loop(case):
    denoiser = case.denoiser(jnp.float32)
    y, sigmas = noisy(case, np.geomspace(0.02, 4.0, BATCH), jnp.float32)
    picked = range(0, BATCH, 9)
    looped = jnp.stack([apply(denoiser, y[i], sigmas[i]) for i in picked])
    np.testing.assert_allclose(apply_batch(denoiser, y, sigmas)[::9], looped, atol=ROUNDING)


def test_finite_at_every_noise_level_in_float32(case):
    # Every level of noise in y with every sigma: noise of the size that sigma says, and of any other.
    true_sigmas = np.repeat(SIGMAS, len(SIGMAS))
    y, sigmas = noisy(case, np.tile(SIGMAS, len(SIGMAS)), jnp.float32, true_sigmas=true_sigmas)
    chex.assert_tree_all_finite(apply_batch(case.denoiser(jnp.float32), y, sigmas))


def test_no_noise_at_all_is_the_limit_of_little(case):
    """At 0, and where the square underflows in float32; also for y that is no datum."""
    denoiser, none = case.denoiser(jnp.float32), np.array([0.0, 1e-25] * (BATCH // 2))
    y, sigmas = noisy(case, none, jnp.float32, true_sigmas=np.repeat([0.0, 0.1], BATCH // 2))
    out = apply_batch(denoiser, y, sigmas)
    chex.assert_tree_all_finite(out)
    if case.sigma_to_zero is not None:
        near = (
            np.square(np.asarray(y)[:, None] - case.data).reshape(BATCH, len(case.data), -1).sum(axis=2).argmin(axis=1)
        )
        data = slice(None) if case.sigma_to_zero == "nearest" else slice(BATCH // 2)
        np.testing.assert_allclose(out[data], case.data[near][data], atol=ROUNDING)
    # Derivatives, too, with respect to what is fitted.
    y, sigmas = noisy(case, [0.0, 1e-170] * (BATCH // 2), jnp.float64, true_sigmas=np.full(BATCH, 0.1))
    chex.assert_tree_all_finite(floating(leaf_gradient(case.denoiser(jnp.float64), y[:2], sigmas[:2])))


@pytest.mark.usefixtures("unchecked")
def test_refuses_what_is_no_noise_level(case):
    denoiser, y = case.denoiser(jnp.float32), jnp.zeros(case.shape, jnp.float32)
    for sigma in (-0.5, np.float32(-1e-9), jnp.asarray(-1.0), float("nan")):
        with pytest.raises(ValueError, match="sigma must be at least 0"):
            denoiser(y, sigma)


def test_no_recompilation_for_other_values(case):
    denoiser = case.denoiser(jnp.float32)
    y, sigmas = noisy(case, [0.5, 2.0] * (BATCH // 2), jnp.float32)
    apply(denoiser, y[0], sigmas[0])
    programs = apply._cache_size()
    # Another denoiser of the same make, too: its arrays are arguments of the program, not constants in it.
    scale = lambda leaf: leaf * 2 if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf  # noqa: E731
    apply(jax.tree.map(scale, denoiser), y[1], sigmas[1])
    assert apply._cache_size() == programs


def test_limit_of_no_noise(case):
    if case.sigma_to_zero is None:
        pytest.skip("has no limit of this kind")
    sigma = 1e-6
    # The nearest datum also to a y that is far from all data in units of sigma.
    true_sigma = 0.1 if case.sigma_to_zero == "nearest" else sigma
    y, sigmas = noisy(case, sigma, jnp.float64, true_sigmas=np.full(BATCH, true_sigma))
    distances = np.square(np.asarray(y)[:, None] - case.data).reshape(BATCH, len(case.data), -1).sum(axis=2)
    expected = case.data[distances.argmin(axis=1)]
    # Identity: off by the noise, five standard deviations of it, and by sigma**2 / (smallest variance).
    np.testing.assert_allclose(apply_batch(case.denoiser(jnp.float64), y, sigmas), expected, atol=6 * sigma)


def test_limit_of_infinite_noise(case):
    if case.sigma_to_infinity is None:
        pytest.skip("has no limit of this kind")
    out = apply_batch(case.denoiser(jnp.float64), *noisy(case, 1e6, jnp.float64))
    # The gain is (variance) / sigma**2, below 10 / sigma**2, on noise of a few sigma.
    np.testing.assert_allclose(out, np.broadcast_to(case.sigma_to_infinity, out.shape), atol=5e-5)


def assert_hashable(treedef):
    """Static fields are keys of the cache of compiled programs: an array among them is compared by value, or raises."""
    kind_and_static = treedef.node_data()
    if kind_and_static is not None and kind_and_static[0] is not dict:
        hash(kind_and_static[1])
    for child in treedef.children():
        assert_hashable(child)


def test_pytree_round_trip(case):
    denoiser = case.denoiser(jnp.float32)
    leaves, treedef = jax.tree.flatten(denoiser)
    rebuilt = jax.tree.unflatten(treedef, leaves)
    assert type(rebuilt) is type(denoiser)
    assert jax.tree.structure(rebuilt) == treedef
    chex.assert_trees_all_equal(rebuilt, denoiser, strict=True)
    assert all(a is b for a, b in zip(jax.tree.leaves(rebuilt), leaves, strict=True))
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    assert_hashable(treedef)
    # JAX rebuilds pytrees around anything: no constructor may object.
    jax.tree.unflatten(treedef, [None] * len(leaves))
    y, sigmas = noisy(case, 0.3, jnp.float32)
    assert np.array_equal(apply(rebuilt, y[0], sigmas[0]), apply(denoiser, y[0], sigmas[0]))


def test_gradient_with_respect_to_leaves_is_finite(case):
    y, sigmas = noisy(case, [0.5, 1e-3] * (BATCH // 2), jnp.float64)
    gradient = floating(leaf_gradient(case.denoiser(jnp.float64), y[:2], sigmas[:2]))
    assert any(np.any(leaf) for leaf in gradient)
    chex.assert_tree_all_finite(gradient)
