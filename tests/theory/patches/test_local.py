"""Local and equivariant denoisers against the definition in float64 NumPy, on real images."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxcreativity import data
from jaxcreativity.theory.empirical import EmpiricalDenoiser
from jaxcreativity.theory.patches import LocalDenoiser, _blocks, _posterior
from tests.theory.patches import brute_patches
from tests.theory.patches.brute_patches import posterior_means

MODES = {
    "LS-zero": {"equivariant": False, "boundary": "zero"},
    "LS-circular": {"equivariant": False, "boundary": "circular"},
    "ELS-circular": {"equivariant": True, "boundary": "circular"},
    "ELS-interior": {"equivariant": True, "boundary": "interior"},
    "ELS-broken": {"equivariant": True, "boundary": "broken"},
}
all_modes = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
apply = jax.jit(lambda denoiser, y, sigma: denoiser(y, sigma))
slow = pytest.mark.slow


@functools.cache
def real_images(name, count, height, width):
    """Not square: the middle of real images."""
    images = np.asarray(data.load(name, num_images=count).train, np.float64)
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    return images[:, top : top + height, left : left + width]


def noisy(x, sigma, seed=0):
    return x + sigma * np.random.default_rng(seed).standard_normal(x.shape)


def some_pixels(shape, k):
    """Corners, edges, both sides of where the border ends, the middle, and others."""
    height, width = shape
    r = min(k // 2, height // 2, width // 2)
    chosen = {(0, 0), (height - 1, width - 1), (0, width // 2), (height // 2, 0), (r, r), (max(r - 1, 0), r)}
    chosen |= {(height - 1 - r, width - 1), (height // 2, width // 2), (height // 2, width // 2 + 1)}
    rng = np.random.default_rng(0)
    return sorted(chosen | {(int(rng.integers(height)), int(rng.integers(width))) for _ in range(6)})


@all_modes
@pytest.mark.parametrize(
    ("name", "k", "chunk_size"),
    [
        ("mnist", 7, 4),
        pytest.param("cifar10", 3, None, marks=slow),
        pytest.param("mnist", 1, 3, marks=slow),
        pytest.param("mnist", 17, 12, marks=slow),
        pytest.param("cifar10", 1, 5, marks=slow),
        pytest.param("cifar10", 7, 6, marks=slow),
        pytest.param("cifar10", 17, 5, marks=slow),
        pytest.param("cifar10", 27, 12, marks=slow),
    ],
)
def test_is_the_definition_on_real_images(real_dataset, mode, name, k, chunk_size):
    real_dataset(name)
    shape = {"mnist": (17, 22), "cifar10": (20, 18)}[name]
    if k > min(shape) and mode["boundary"] in ("interior", "circular"):
        pytest.skip("the window is larger than the image")
    x = real_images(name, 12, *shape)
    denoiser = LocalDenoiser(x, k, chunk_size=chunk_size, **mode)
    pixels = some_pixels(x.shape[1:3], k)
    for sigma in (1e-3, 0.02, 0.3, 2.0, 100.0):
        # Between two images, so that at small sigma more than one key counts.
        y = noisy(x[3] if sigma > 0.1 else 0.5 * (x[3] + x[4]), sigma)
        got = np.asarray(apply(denoiser, y, sigma))[tuple(np.transpose(pixels))]
        np.testing.assert_allclose(got, posterior_means(x, y, k, sigma, pixels, **mode), atol=1e-10)


@pytest.mark.parametrize("chunk_size", [5, *(pytest.param(c, marks=slow) for c in (1, 12, 100))])
@pytest.mark.parametrize("mode", [MODES["ELS-broken"], pytest.param(MODES["LS-zero"], marks=slow)], ids=str)
def test_does_not_depend_on_chunks(digits, mode, chunk_size):
    x = digits[:12, :, 1:]
    y = noisy(x[0], 0.4)
    expected = apply(LocalDenoiser(x, 5, **mode), y, 0.4)
    np.testing.assert_allclose(apply(LocalDenoiser(x, 5, chunk_size=chunk_size, **mode), y, 0.4), expected, atol=1e-12)


@pytest.mark.parametrize("group_size", [1, pytest.param(2, marks=slow)])
def test_batches_are_examples_one_by_one(digits, monkeypatch, group_size):
    """Values and gradients, where examples are computed alone and where in groups; sigma is batched as well."""
    monkeypatch.setattr("jaxcreativity.theory.patches.local.examples_at_once", lambda *_: group_size)
    denoiser = LocalDenoiser(digits[:10], 3, **MODES["ELS-interior"])
    sigmas = np.array([1e-3, 0.3, 1.0, 5.0])
    ys = np.stack([noisy(digits[i], sigma, i) for i, sigma in enumerate(sigmas)])
    loss = lambda y, sigma: jnp.sum(denoiser(y, sigma) ** 3)  # noqa: E731
    for function in (denoiser, jax.grad(loss)):
        got = jax.jit(jax.vmap(function))(ys, sigmas)
        expected = [jax.jit(function)(y, sigma) for y, sigma in zip(ys, sigmas, strict=True)]
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("num", [1, 2, 15, 16, 31, 33, 64, 65, 100, 484, 900])
def test_minimum_over_keys_misses_none(num):
    energies = np.abs(np.subtract.outer(np.arange(num), np.arange(num))) - 1.0  # the smallest is another key each time
    energies = jnp.asarray(np.stack([energies, energies[:, ::-1]]))
    np.testing.assert_array_equal(_blocks.min_over_keys(energies), -1)


def posteriors(x, k):
    """Of an image less the mean of x: the quick posterior and whether it is right, one of all keys, the one chosen."""
    denoiser = LocalDenoiser(x, k, **MODES["ELS-interior"])
    at = {
        "queries": (windows := denoiser.queries_and_keys())[0],
        "keys": windows[1],
        "source": denoiser.source(x.dtype),
    }
    quick = jax.jit(lambda y, t: _posterior.quick_posterior(y, temperature=t, **at))
    exact = jax.jit(lambda y, t: _posterior.coarse_posterior(y, temperature=t, **at))
    chosen = jax.jit(lambda y, t: _posterior.posterior(y, temperature=t, is_cold=False, **at))
    return at["source"].centred, quick, exact, chosen


def test_quick_means_fall_back_where_weights_overflow(digits):
    """The first image is far from `y`, another near: relative to the first its weights are beyond float32."""
    x = np.concatenate([np.full((1, 8, 8, 1), 4.0), digits[:5]]).astype(np.float32)
    centred, quick, exact, chosen = posteriors(x, 3)
    u = centred(jnp.asarray(x[2]))
    for temperature, expected in ((np.float32(1.0), False), (np.float32(30.0), True)):  # exponents up to 225 and 8
        found, is_right = quick(u, temperature)
        assert bool(is_right) == expected
        assert (chosen(u, temperature).kept >= 0).any() != expected
        wanted = exact(u, temperature)
        np.testing.assert_allclose(chosen(u, temperature).mean, wanted.mean, atol=1e-5)
        if expected:
            np.testing.assert_allclose(found.free_energy, wanted.free_energy, atol=1e-4)


def test_quick_means_fall_back_where_weights_underflow(digits):
    """All near `y` is an image of hardly any weight: 2^-126, the least that the quick exponential gives, is no less."""
    x = np.concatenate([digits[:1], digits[1:6] + 8.0]).astype(np.float32)
    some = LocalDenoiser(x, 3, weights=np.float32([1e-36, 1, 1, 1, 1, 1]), **MODES["ELS-interior"])
    y, sigma = x[0], np.float32(np.sqrt(0.5))  # energies of 0 and of more than 324 at a temperature of 1
    np.testing.assert_allclose(
        apply(some, y, sigma), apply(LocalDenoiser(x[:1], 3, **MODES["ELS-interior"]), y, sigma), atol=1e-4
    )


@pytest.mark.parametrize("k", [7, pytest.param(17, marks=slow)])
@pytest.mark.parametrize("refined", [True, pytest.param(False, marks=slow)])
def test_float32_at_small_sigma(real_dataset, monkeypatch, k, refined):
    """Below 1e-4 between two images of nearly equal distance, where expanded squares alone are off by more."""
    real_dataset("cifar10")
    mode, sigma = MODES["ELS-interior"], np.float32(0.02)
    x = real_images("cifar10", 20, 26, 26).astype(np.float32)
    x[1::2] = 0.8 * x[::2] + 0.2 * x[[2, 4, 6, 8, 10, 12, 14, 16, 18, 0]]  # two of a kind
    if not refined:
        coarse = lambda *args, is_cold, precision: _posterior.coarse_posterior(*args)  # noqa: E731
        monkeypatch.setattr("jaxcreativity.theory.patches.local.posterior", coarse)
    compute = jax.jit(lambda y: LocalDenoiser(x, k, **mode)(y, sigma))
    pixels = [(i, j) for i in range(9, 17, 2) for j in range(9, 17, 2)]
    errors = []
    for a, b in ((0, 1), (8, 9), (14, 15)):
        gap = np.square(x[b] - x[a]).sum() * (k / 26) ** 2  # of two patches
        y = x[a] + np.float32(0.5 - sigma**2 / gap) * (x[b] - x[a])  # log-odds of about 1
        got = np.asarray(compute(y))[tuple(np.transpose(pixels))]
        errors.append(np.abs(got - posterior_means(x, y, k, float(sigma), pixels, **mode)).max())
    assert (max(errors) < 1e-4) == refined, errors


def test_float32_is_refined_before_rounding_shows(digits):
    """At `2 sigma^2` of 3e-4 of a patch's square: refined, the largest error is 1e-5; by expanded squares 1.6e-4."""
    x = digits[:40].astype(np.float32)
    x[1::2] = 0.8 * x[::2] + 0.2 * np.roll(x[::2], 1, axis=0)  # two of a kind
    denoiser = LocalDenoiser(x, 3, **MODES["ELS-interior"])
    sigma = np.float32(np.sqrt(3e-4 * 9 * np.square(x - x.mean()).mean() / 2))
    pixels = [(i, j) for i in range(8) for j in range(8)]
    for a in range(0, 20, 4):
        y = 0.5 * (x[a] + x[a + 1])
        expected = posterior_means(x, y, 3, float(sigma), pixels, **MODES["ELS-interior"])
        np.testing.assert_allclose(apply(denoiser, y, sigma).reshape(-1, 1), expected, atol=4e-5)


def test_rounding_is_compared_with_the_square_of_a_patch():
    """`|v|^2` of the average patch, of colours about their own means."""
    x = np.random.default_rng(0).normal(size=(4, 5, 6, 3)) + np.linspace(-2, 3, 18).reshape(6, 3)
    squares = np.square(brute_patches.windows(x - x.mean(axis=(0, 1, 2)), 3, "wrap")).sum(axis=-1)
    assert LocalDenoiser(x, 3, **MODES["ELS-interior"])._spread(np.float64) == pytest.approx(squares.mean(), rel=1e-12)


@pytest.mark.parametrize(("precision", "bits"), [("tensorfloat32", 10), ("bfloat16", 7)])
def test_rounded_products(digits, precision, bits):
    """Products of rounded entries and nothing else is rounded; leading distances are still exact at small sigma."""
    x, k, mode = digits[:30].astype(np.float32), 5, MODES["ELS-interior"]
    denoiser = LocalDenoiser(x, k, precision=precision, **mode)
    sigma = np.float32(2)
    y = noisy(x[0], sigma).astype(np.float32)
    mean = x.mean(dtype=np.float64)
    queries = brute_patches.windows((y - mean)[None], k, "wrap").reshape(-1, k * k)
    keys = brute_patches.windows(x - mean, k, "zero")[:, 2:-2, 2:-2].reshape(-1, k * k)

    def rounded(entries):
        mantissa, exponent = np.frexp(entries)
        return np.ldexp(np.round(np.ldexp(mantissa, bits + 1)), exponent - bits - 1)

    energies = np.square(keys).sum(axis=1) - 2 * rounded(queries) @ rounded(keys).T
    expected = scipy.special.softmax(-energies / (2 * sigma**2), axis=1) @ x[:, 2:-2, 2:-2].ravel()
    unrounded = apply(dataclasses.replace(denoiser, precision=None), y, sigma).ravel()
    got = apply(denoiser, y, sigma).ravel()
    eps = np.finfo(np.float32).eps
    np.testing.assert_allclose(got, expected, atol=20 * eps)
    assert np.abs(got - unrounded).max() > 100 * eps
    # Where rounding of squares in float32 does not show, too: without the leading distances, errors are above 2e-3.
    for sigma in np.float32([0.05, 0.4]):
        y = noisy(x[0], sigma).astype(np.float32)
        exact = apply(dataclasses.replace(denoiser, precision=None), y, sigma)
        np.testing.assert_allclose(apply(denoiser, y, sigma), exact, atol=5e-4)


@all_modes
def test_patch_that_covers_the_image_is_the_empirical_denoiser(digits, mode):
    x = np.concatenate([digits[:20, 1:, 1:], digits[20:40, 1:, 1:] ** 3], axis=-1)  # odd sides, two colours
    if mode["boundary"] == "interior":
        # One key an image, its whole; the query wraps around its pixel, so only the middle one sees the image.
        k, seen = 7, np.s_[3, 3]
    elif mode["boundary"] == "circular":
        k, seen = 7, np.s_[:, :]
    else:
        k, seen = 13, np.s_[:, :]
    for sigma in (0.05, 1.0):
        y = noisy(x[2], sigma)
        got = np.asarray(apply(LocalDenoiser(x, k, **mode), y, sigma))
        if mode == MODES["ELS-circular"]:
            shifts = [np.roll(x, (a, b), axis=(1, 2)) for a in range(7) for b in range(7)]
            expected = apply(EmpiricalDenoiser(np.concatenate(shifts)), y, sigma)
        else:
            expected = apply(EmpiricalDenoiser(x), y, sigma)
        np.testing.assert_allclose(got[seen], np.asarray(expected)[seen], atol=1e-12)


def test_patches_of_one_pixel(digits):
    """Also where leading distances are recomputed: less than two rows to sum over."""
    x, pixels = digits[:5, 2:5, 1:5], [(i, j) for i in range(3) for j in range(4)]
    denoiser = LocalDenoiser(x, 1, **MODES["ELS-circular"])
    for sigma in (0.5, 1e-3):
        y = noisy(x[1], sigma)
        expected = posterior_means(x, y, 1, sigma, pixels, **MODES["ELS-circular"])
        np.testing.assert_allclose(apply(denoiser, y, sigma).reshape(-1, 1), expected, atol=1e-12)


def test_batch_of_wide_images_that_a_window_covers(digits):
    """As high as the image and as wide: the posterior over all training images, shifted in every way."""
    x = digits[:4, 2:5, 1:6]
    shifts = [np.roll(x, (a, b), axis=(1, 2)) for a in range(3) for b in range(5)]
    ys = np.stack([noisy(x[i], 1.0, i) for i in range(2)])
    batched = jax.jit(jax.vmap(lambda denoiser, y: denoiser(y, 1.0), (None, 0)))
    expected = batched(EmpiricalDenoiser(np.concatenate(shifts)), ys)
    np.testing.assert_allclose(batched(LocalDenoiser(x, 5, **MODES["ELS-circular"]), ys), expected, atol=1e-12)


def test_patches_that_all_reach_over_two_borders(digits):
    """Lower than a window, wider than one: all pixels are border."""
    x, pixels = digits[:6, :3], [(i, j) for i in range(3) for j in range(8)]
    y = noisy(x[1], 0.5)
    expected = posterior_means(x, y, 5, 0.5, pixels, **MODES["ELS-broken"])
    got = apply(LocalDenoiser(x, 5, **MODES["ELS-broken"]), y, 0.5)
    np.testing.assert_allclose(got.reshape(-1, 1), expected, atol=1e-12)


def test_is_equivariant_to_circular_shifts(digits):
    denoiser = LocalDenoiser(digits[:16], 5, **MODES["ELS-circular"])
    y = noisy(digits[1], 0.5)
    shifted = apply(denoiser, np.roll(y, (3, -2), axis=(0, 1)), 0.5)
    np.testing.assert_allclose(shifted, np.roll(apply(denoiser, y, 0.5), (3, -2), axis=(0, 1)), atol=1e-13)


@pytest.mark.parametrize("mode", ["LS-zero", "ELS-circular", pytest.param("ELS-broken", marks=slow)])
def test_gradient_is_exactly_zero_outside_the_patch(digits, mode):
    wraps = mode == "ELS-circular"
    denoiser = LocalDenoiser(digits[:16], 3, chunk_size=7, **MODES[mode])
    jacobian = jax.jit(jax.jacrev(lambda y: denoiser(y, 0.6)[..., 0]))(noisy(digits[1], 0.6))[..., 0]
    offset = np.abs(np.arange(8)[:, None] - np.arange(8)[None, :])
    near = (np.minimum(offset, 8 - offset) if wraps else offset) <= 1
    seen = near[:, None, :, None] & near[None, :, None, :]
    assert np.array_equal(np.asarray(jacobian) != 0, seen & (np.asarray(jacobian) != 0))
    assert (np.asarray(jacobian)[seen] != 0).mean() > 0.5


@slow
def test_gradient_is_that_of_finite_differences(digits):
    """With and without blocks of keys kept apart."""
    rng = np.random.default_rng(0)
    weights, direction = rng.standard_normal((2, 8, 7, 1))
    denoiser = LocalDenoiser(digits[:10, :, 1:], 3, chunk_size=4, **MODES["ELS-broken"])
    loss = jax.jit(jax.value_and_grad(lambda y, sigma: jnp.sum(weights * denoiser(y, sigma))))
    for sigma, h in ((0.7, 1e-5), (2e-3, 1e-7)):
        y = 0.5 * (digits[1, :, 1:] + np.roll(digits[1, :, 1:], 1, axis=0)) + 0.3 * sigma * direction
        high, low = (float(loss(y + s * h * direction, sigma)[0]) for s in (1, -1))
        expected = (high - low) / (2 * h)
        assert np.sum(loss(y, sigma)[1] * direction) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@all_modes
def test_label_and_leave_one_out(digits, mode):
    x = digits[:20, :, 1:]
    labels = np.arange(20) % 3
    y = noisy(x[4], 0.5)
    denoiser = LocalDenoiser(x, 3, chunk_size=6, labels=labels, label=1, **mode)
    compute = jax.jit(lambda label, left_out, y: denoiser.for_label(label).without(left_out)(y, 0.5))
    for label, left_out in ((1, -1), (1, 4), (2, 5)):
        some = x[(labels == label) & (np.arange(20) != left_out)]
        pixels = some_pixels((8, 7), 3)
        expected = posterior_means(some, y, 3, 0.5, pixels, **mode)
        got = np.asarray(compute(label, left_out, y))[tuple(np.transpose(pixels))]
        np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize("name", [name if name == "ELS-broken" else pytest.param(name, marks=slow) for name in MODES])
def test_weights_count_images_more_than_once(digits, name):
    """Also where leading distances are recomputed: half-way between two images at small sigma."""
    x, weights = digits[:6, :6, 1:6], np.array([2, 1, 1, 0, 1, 3])
    weighted = LocalDenoiser(x, 3, weights=weights.astype(float), chunk_size=4, **MODES[name])
    repeated = LocalDenoiser(np.repeat(x, weights, axis=0), 3, **MODES[name])
    for sigma in (0.5, 0.02):
        y = 0.5 * (x[0] + x[5]) + sigma * np.random.default_rng(0).standard_normal(x[0].shape)
        expected = apply(repeated, y, sigma)
        np.testing.assert_allclose(apply(weighted, y, sigma), expected, atol=1e-12)
        assert np.abs(apply(LocalDenoiser(x, 3, **MODES[name]), y, sigma) - expected).max() > 1e-6


def test_weights_count_where_leading_distances_are_recomputed(digits):
    """In float32, half-way between two images, at a sigma so small that no other patch counts."""
    x, weights = digits[:2].astype(np.float32), np.array([1, 3])
    y, sigma = 0.5 * (x[0] + x[1]), np.float32(0.02)
    mode = MODES["ELS-interior"]
    pixels = [(i, j) for i in range(8) for j in range(8)]
    expected = posterior_means(np.repeat(x, weights, axis=0), y, 3, float(sigma), pixels, **mode)
    found = apply(LocalDenoiser(x, 3, weights=weights.astype(np.float32) / 2, **mode), y, sigma)
    np.testing.assert_allclose(found.reshape(-1, 1), expected, atol=1e-4)


def test_gradient_of_a_batch_where_quick_weights_overflow(digits):
    """Against finite differences; relative to the first image, far from all of `ys`, no weight is finite."""
    mode, pixels = MODES["ELS-interior"], [(i, j) for i in range(5) for j in range(5)]
    x = np.concatenate([np.full((1, 5, 5, 1), 40.0), digits[:5, 2:7, 2:7]])
    denoiser, ys = LocalDenoiser(x.astype(np.float32), 3, **mode), x[1:3]
    gradient = jax.jit(jax.grad(lambda ys: jnp.sum(jax.vmap(denoiser, (0, None))(ys, 3.0) ** 3)))
    direction, h = np.random.default_rng(0).standard_normal(ys.shape), 1e-4
    loss = lambda ys: sum((posterior_means(x, y, 3, 3.0, pixels, **mode) ** 3).sum() for y in ys)  # noqa: E731
    expected = (loss(ys + h * direction) - loss(ys - h * direction)) / (2 * h)
    assert np.sum(gradient(ys.astype(np.float32)) * direction) == pytest.approx(expected, abs=1e-5)


def test_quick_means_of_colours():
    x = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype(np.float32)
    centred, quick, exact, _ = posteriors(x, 3)
    u, temperature = centred(jnp.asarray(x[0])), jnp.float32(30.0)
    found, is_right = quick(u, temperature)
    assert is_right
    np.testing.assert_allclose(found.mean, exact(u, temperature).mean, atol=1e-5)


def test_masked_images_do_not_count_at_small_sigma(digits):
    """Fewer blocks than are kept, and a last chunk that overlaps the one before it."""
    x = digits[:5, :4, :3]
    labels = np.array([0, 1, 1, 1, 1])
    for label in (0, 1):
        denoiser = LocalDenoiser(x, 3, equivariant=True, boundary="interior", chunk_size=3, labels=labels, label=label)
        y = noisy(0.5 * (x[0] + x[1]), 1e-4)
        pixels = [(i, j) for i in range(4) for j in range(3)]
        expected = posterior_means(x[labels == label], y, 3, 1e-4, pixels, equivariant=True, boundary="interior")
        np.testing.assert_allclose(np.asarray(apply(denoiser, y, 1e-4)).reshape(12, 1), expected, atol=1e-10)


def test_fewer_blocks_than_are_kept_at_small_sigma(digits):
    """Half-way between two images of one key each: places of kept blocks that stay empty do not count."""
    x = digits[:2, 2:5, 2:5]
    y = 0.5 * (x[0] + x[1])
    assert abs(x[0] - x[1])[1, 1] > 0.1
    got = apply(LocalDenoiser(x, 3, **MODES["ELS-interior"]), y, 1e-4)
    np.testing.assert_allclose(got[1, 1], y[1, 1], atol=1e-12)


def test_never_nan_even_if_no_image_is_left(digits):
    denoiser = LocalDenoiser(digits[:6], 3, labels=np.zeros(6, int), label=0, **MODES["ELS-broken"])
    compute = jax.jit(lambda label, sigma: denoiser.for_label(label)(digits[0], sigma))
    assert all(np.isfinite(compute(7, sigma)).all() for sigma in (1e-4, 1.0, 1e3))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("k", "options", "message"),
    [
        (4, {}, "patch_size must be odd"),
        (0, {}, "patch_size must be an integer of at least 1"),
        (3.0, {}, "patch_size must be an integer of at least 1"),
        (9, {}, "patch_size must be at most 7 .* 'interior', got 9"),
        (17, MODES["LS-zero"], "patch_size must be at most 15"),
        (3, MODES["LS-zero"] | {"boundary": "broken"}, "boundary of a non-equivariant denoiser must be one of 'zero'"),
        (3, {"boundary": "zero"}, "boundary of an equivariant denoiser must be one of"),
        (3, {"boundary": "mirror"}, "boundary must be one of"),
        (3, {"precision": "float8"}, "precision must be one of 'tensorfloat32', 'bfloat16'"),
        (3, {"chunk_size": 0}, "chunk_size must be an integer of at least 1"),
        (3, {"labels": np.zeros(4, int)}, "go together"),
        (3, {"weights": np.ones(5)}, "one entry for each of the 6 images"),
        (3, {"weights": np.arange(6.0) - 1}, "at least 0"),
        (3, {"label": 1}, "go together"),
        (
            3,
            {"labels": np.zeros(4, int), "label": 0},
            r"labels must have one entry per image, shape \(6,\), got \(4,\)",
        ),
        (3, {"labels": np.zeros(6), "label": 0}, "labels must be integer"),
        (3, {"labels": np.arange(6), "label": 9}, r"label 9 has no image; labels are \[0, 1, 2, 3, 4, 5\]"),
        (3, {"labels": np.arange(6), "label": 2, "excluded": 2}, "image 2 is the only one that counts"),
        (3, {"excluded": 6}, "excluded must be the index of one of 6 images"),
        (3, {"excluded": np.arange(2)}, "excluded must be one integer"),
    ],
)
def test_bad_input(k, options, message):
    with pytest.raises(ValueError, match=message):
        LocalDenoiser(np.zeros((6, 8, 7, 1)), k, **(MODES["ELS-interior"] | options))


@pytest.mark.usefixtures("unchecked")
def test_bad_data_and_query():
    with pytest.raises(ValueError, match=r"data must have shape \(n, height, width, channels\)"):
        LocalDenoiser(np.zeros((6, 8, 7)), 3, **MODES["LS-zero"])
    denoiser = LocalDenoiser(np.zeros((6, 8, 7, 1)), 3, **MODES["LS-zero"])
    with pytest.raises(ValueError, match=r"y must have shape \(8, 7, 1\), got \(8, 8, 1\)"):
        denoiser(np.zeros((8, 8, 1)), 0.5)


@pytest.mark.parametrize("mode", [MODES["ELS-broken"], pytest.param(MODES["ELS-circular"], marks=slow)], ids=str)
@pytest.mark.parametrize("size", [700, pytest.param(1, marks=slow)])
def test_does_not_depend_on_tiles(digits, monkeypatch, mode, size):
    """Of several columns, not a divisor of their number, and of one; coarse and refined.

    The last test here: it throws away the compiled programs that the others share.
    """
    x = digits[:6, :, 1:]
    y = noisy(x[0], 0.4)
    results = lambda: [apply(LocalDenoiser(x, 3, **mode), y, sigma) for sigma in (1.0, 1e-3)]  # noqa: E731
    expected = results()
    for name in ("_posterior.SMALL", "_posterior.LARGE", "_changes.SMALL"):
        monkeypatch.setattr(f"jaxcreativity.theory.patches.{name}", size)
    jax.clear_caches()
    np.testing.assert_allclose(results(), expected, atol=1e-12)
