"""Posterior means and their derivatives against a softmax of differences that JAX differentiates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxcreativity._numerics.posterior import posterior_mean

RNG = np.random.default_rng(0)
N, D = 50, 20
"""More points than have their energies computed by differences, of more coordinates."""


def plain(y, points, sigma, values, log_weights):
    energies = jnp.sum(jnp.square(y[None] - points), axis=1) / (2 * sigma**2)
    return jax.nn.softmax(log_weights - energies) @ values


def arguments(sigma, n=N, d=D):
    """Three y among points, of which the first are as near to each other as sigma."""
    points = RNG.uniform(-1, 1, (n, d))
    points[1:4] = points[0] + sigma * RNG.standard_normal((3, d))
    y = points[:3] + sigma * RNG.standard_normal((3, d))
    return y, points, np.float64(sigma), RNG.standard_normal((n, 4)), RNG.standard_normal(n)


# In float64 products are precise enough above about 2e-5; in few coordinates all energies are differences.
CASES = {
    "products": (0.5, D, None),
    "products in chunks": (0.5, D, 8),
    "differences": (3e-6, D, None),
    "few coordinates": (0.1, 2, None),
}


@pytest.mark.parametrize(("sigma", "d", "chunk_size"), CASES.values(), ids=CASES)
def test_means_and_derivatives_of_a_batch(sigma, d, chunk_size):
    """With respect to every argument, in reverse; and the second, along a direction."""
    args = arguments(sigma, d=d)
    weights = RNG.standard_normal((3, 4))
    directions = tuple(RNG.standard_normal(np.shape(x)) for x in args)
    # Changes as small as what they are added to.
    directions = tuple(sigma * x for x in directions[:3]) + directions[3:]

    def results(mean):
        loss = lambda *args: jnp.sum(weights * jax.vmap(mean, (0, None, None, None, None))(*args))  # noqa: E731
        gradient = jax.grad(loss, argnums=range(5))
        means = jax.vmap(mean, (0, None, None, None, None))
        return jax.jit(lambda *args: (means(*args), jax.jvp(gradient, args, directions)))(*args)

    ours = lambda y, x, s, v, w: posterior_mean(y, x, s, values=v, log_weights=w, chunk_size=chunk_size)  # noqa: E731
    got, truth = results(ours), results(plain)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(truth), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7 * np.abs(b).max())


@pytest.mark.parametrize(("sigma", "chunk_size"), [(0.5, None), (0.5, 8), (3e-6, None)])
def test_changes_of_single_arguments_add_up_to_that_of_all(sigma, chunk_size):
    """What stands still is left out of a derivative; with the data at rest it is taken chunk by chunk."""
    y, *args = arguments(sigma)
    args = tuple(map(jnp.asarray, (y[0], *args)))
    scales = [sigma] * 3 + [1] * 2
    directions = tuple(jnp.asarray(s * RNG.standard_normal(x.shape)) for x, s in zip(args, scales, strict=True))
    mean = lambda y, x, s, v, w: posterior_mean(  # noqa: E731
        y, x, s, values=v, log_weights=w, chunk_size=chunk_size
    )

    def along(directions):
        return jax.jvp(mean, args, directions)[1]

    def alone(i):
        f = lambda x: mean(*args[:i], x, *args[i + 1 :])  # noqa: E731
        return jax.jvp(f, (args[i],), (directions[i],))[1]

    np.testing.assert_allclose(sum(map(alone, range(5))), along(directions), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("chunk_size", [None, 5])
def test_values_of_any_shape_at_weighted_points(chunk_size):
    """What is averaged differs from what is compared, and some points count more than others."""
    rng, n, sigma = np.random.default_rng(1), 13, 0.8
    y, points, values = rng.standard_normal(3), rng.standard_normal((n, 3)), rng.standard_normal((n, 2, 5))
    weights = rng.uniform(0.1, 3.0, n)
    got = posterior_mean(
        jnp.asarray(y), jnp.asarray(points), sigma,
        values=jnp.asarray(values), log_weights=jnp.log(weights), chunk_size=chunk_size,
    )  # fmt: skip
    posterior = scipy.special.softmax(np.log(weights) - np.square(y - points).sum(axis=1) / (2 * sigma**2))
    np.testing.assert_allclose(got, np.tensordot(posterior, values, axes=1), atol=1e-13)


def test_memory_of_values_larger_than_points_is_bounded():
    """Temporary arrays stay below a GiB, where all values take 4."""
    y, points, values = (jax.ShapeDtypeStruct(s, jnp.float32) for s in ((64, 2), (2**18, 2), (2**18, 2**12)))
    mean = jax.vmap(lambda y, points, values: posterior_mean(y, points, 1.0, values=values), (0, None, None))
    assert jax.jit(mean).lower(y, points, values).compile().memory_analysis().temp_size_in_bytes < 2**30


@pytest.mark.parametrize("sigma", [0.5, 3e-6])
def test_the_mean_of_the_points_moves_with_them(sigma):
    """Each is compared, and is what the mean is taken of."""
    y, points, sigma = (jnp.asarray(x) for x in arguments(sigma)[:3])
    directions = sigma * RNG.standard_normal(points.shape), 0.1 * sigma
    truth = lambda points, sigma: plain(y[0], points, sigma, points, jnp.zeros(N))  # noqa: E731
    got, expected = (jax.jvp(f, (points, sigma), directions) for f in (functools.partial(posterior_mean, y[0]), truth))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7 * np.abs(b).max())


def test_float32_at_all_noise_levels():
    """Of as many coordinates as a small image; to 1e-4, as the weights of points far from each other are."""
    points = RNG.uniform(-1, 1, (400, 768)).astype(np.float32)
    means = jax.jit(jax.vmap(posterior_mean, (0, None, None)))
    for sigma in np.geomspace(1e-4, 1e3, 15).astype(np.float32):
        y = points[:8] + sigma * RNG.standard_normal((8, 768)).astype(np.float32)
        truth = jax.vmap(plain, (0, None, None, None, None))(
            *(np.asarray(x, np.float64) for x in (y, points, sigma, points, np.zeros(400)))
        )
        np.testing.assert_allclose(means(y, points, sigma), truth, atol=1e-4)


def test_no_noise_is_the_nearest_and_stands_still():
    """Values and derivatives, where weights underflow and inverse temperatures are largest."""
    y, points, _, values, log_weights = (np.asarray(x, np.float32) for x in arguments(0.1))
    loss = lambda y, x, s, v, w: jnp.sum(posterior_mean(y, x, s, values=v, log_weights=w))  # noqa: E731
    for few in (N, 5):
        args = y[0], points[:few], np.float32(0), values[:few], log_weights[:few]
        nearest = np.square(args[1] - y[0]).sum(axis=1).argmin()
        value, gradient = jax.value_and_grad(loss, argnums=range(5))(*args)
        np.testing.assert_allclose(value, values[nearest].sum(), rtol=1e-6)
        np.testing.assert_array_equal(gradient[3], np.repeat(np.arange(few)[:, None] == nearest, 4, axis=1))
        for part in (*gradient[:3], gradient[4]):
            np.testing.assert_array_equal(part, np.zeros_like(part))


@pytest.mark.parametrize("d", [D, 2])
def test_a_constant_common_to_all_log_weights_does_not_count(d):
    y, points, sigma, values, log_weights = (jnp.asarray(x) for x in arguments(3e-6, d=d))
    mean = functools.partial(posterior_mean, y[0], points, sigma, values=values)
    for constant in (-2000.0, 2000.0):
        np.testing.assert_allclose(mean(log_weights=log_weights + constant), mean(log_weights=log_weights), atol=1e-7)


def test_scale_of_points_is_not_that_of_the_first():
    """Whether products are precise enough, where the first point is zero."""
    points = 100 + RNG.standard_normal((N, D)).astype(np.float32)
    points[0] = 0
    points[2] = points[1] + 0.01 * RNG.standard_normal(D).astype(np.float32)
    y, sigma = points[1] + np.float32(0.3) * (points[2] - points[1]), np.float32(0.02)
    truth = plain(*(np.asarray(x, np.float64) for x in (y, points, sigma, points, np.zeros(N))))
    np.testing.assert_allclose(posterior_mean(jnp.asarray(y), jnp.asarray(points), sigma), truth, atol=5e-5)


def test_leading_points_are_the_nearest_not_the_longest():
    """One near y, and more further away in its direction than have their energies computed by differences."""
    y = np.concatenate([np.ones(D - 1), [0]])
    points = 1.5 * y + 0.01 * RNG.standard_normal((N, D))
    points[0] = y + 1e-6 * RNG.standard_normal(D)
    points[1] = y + 1e-6 * RNG.standard_normal(D)
    truth = plain(y, points, 1e-6, points, np.zeros(N))
    np.testing.assert_allclose(posterior_mean(jnp.asarray(y), jnp.asarray(points), 1e-6), truth, atol=1e-9)


def test_more_points_at_one_place_than_have_exact_energies_move():
    """Copies, told apart by their values: the mean moves with `(y - x_i).dx_i / sigma^2` of each, and not with y."""
    sigma = 3e-6
    y, points, _, values, _ = arguments(sigma)
    points, y = np.repeat(points[:1], N, axis=0), points[0] + sigma * RNG.standard_normal(D)
    direction = sigma * RNG.standard_normal(points.shape)
    mean = lambda y, points: posterior_mean(y, points, sigma, values=jnp.asarray(values))  # noqa: E731
    y, points = jnp.asarray(y), jnp.asarray(points)
    got = jax.jvp(functools.partial(mean, y), (points,), (jnp.asarray(direction),))[1]
    changes = (direction @ (y - points[0])) / sigma**2
    np.testing.assert_allclose(got, (changes - changes.mean()) @ values / N, rtol=1e-4, atol=1e-6)
    of_y = jax.jvp(lambda y: mean(y, points), (y,), (jnp.asarray(direction[0]),))[1]
    np.testing.assert_allclose(of_y, np.zeros(4), atol=1e-6)
