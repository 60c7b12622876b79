"""Projected denoisers against quadrature in float64, and what they generate against theory section 4 (b)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxcreativity import generate, schedules
from jaxcreativity.distributions import GaussianMixture
from jaxcreativity.theory import bottleneck

apply = jax.jit(jax.vmap(lambda denoiser, y, sigma: denoiser(y, sigma), (None, 0, None)))


def random_projection(rank, d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((d, rank)))[0].T


def log_grid(sigma_min, sigma_max, steps):
    return schedules.grid(schedules.log_linear(sigma_min, sigma_max), steps)


# Three bent, overlapping components in the plane, seen along an oblique direction.
WEIGHTS = np.array([0.5, 0.2, 0.3])
MEANS = np.array([[-1.2, 0.4], [0.3, -1.0], [1.4, 0.8]])
COVARIANCES = np.array([[[0.20, 0.10], [0.10, 0.15]], [[0.10, 0.0], [0.0, 0.3]], [[0.15, -0.1], [-0.1, 0.2]]])
DIRECTION = np.array([[0.8, 0.6]])


def density(x):
    laws = [scipy.stats.multivariate_normal(m, c) for m, c in zip(MEANS, COVARIANCES, strict=True)]
    return sum(w * law.pdf(x) for w, law in zip(WEIGHTS, laws, strict=True))


def code_cdf(z):
    scales = np.sqrt(np.einsum("rd,kde,re->k", DIRECTION, COVARIANCES, DIRECTION))
    return (WEIGHTS * scipy.stats.norm.cdf(np.asarray(z)[:, None], MEANS @ DIRECTION[0], scales)).sum(axis=1)


def mixture(dtype=np.float64):
    parts = (np.asarray(a, dtype) for a in (WEIGHTS, MEANS, COVARIANCES, DIRECTION))
    return bottleneck.MixtureProjectedDenoiser(*parts)


@pytest.mark.parametrize("chunk_size", [None, 7])
@pytest.mark.parametrize("rank", [1, 3])
def test_projected_is_the_posterior_mean_given_the_code(digits, rank, chunk_size):
    W = random_projection(rank, 64)
    denoiser = bottleneck.ProjectedDenoiser(digits, W, chunk_size)
    flat = digits.reshape(64, -1)
    for sigma in (0.05, 0.8, 30.0):
        y = digits[:5] + sigma * np.random.default_rng(0).standard_normal((5, *digits.shape[1:]))
        codes = (y.reshape(5, -1)[:, None] - flat) @ W.T
        weights = scipy.special.softmax(-np.square(codes).sum(axis=2) / (2 * sigma**2), axis=1)
        np.testing.assert_allclose(apply(denoiser, y, sigma).reshape(5, -1), weights @ flat, atol=1e-11)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 4.0])
def test_mixture_is_the_posterior_mean_given_the_code(sigma):
    axis = np.linspace(-6, 6, 1201)
    x = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    y = np.array([[0.0, 0.0], [1.5, -1.0], [-3.0, 0.4]])
    weights = density(x) * np.exp(-np.square((x - y[:, None]) @ DIRECTION[0]) / (2 * sigma**2))
    expected = (weights @ x) / weights.sum(axis=1, keepdims=True)
    # The sums over a smooth density converge faster than any power of the spacing, 0.01.
    np.testing.assert_allclose(apply(mixture(), y, sigma), expected, atol=1e-9)
    np.testing.assert_allclose(apply(mixture(np.float32), y.astype(np.float32), sigma), expected, atol=2e-6)


def test_no_bottleneck_left_gives_the_mixture_denoiser():
    """Rank d - 1 and a last coordinate without spread: nothing is lost."""
    means = np.concatenate([MEANS, np.full((3, 1), 0.7)], axis=1)
    covariances = np.zeros((3, 3, 3))
    covariances[:, :2, :2] = COVARIANCES
    denoiser = bottleneck.MixtureProjectedDenoiser(WEIGHTS, means, covariances, np.eye(3)[:2])
    y = np.random.default_rng(1).standard_normal((4, 3))
    plane = GaussianMixture(WEIGHTS, MEANS, COVARIANCES).denoiser()
    out = apply(denoiser, y, 0.4)
    np.testing.assert_allclose(out[:, :2], apply(plane, y[:, :2], 0.4), atol=1e-12)
    np.testing.assert_allclose(out[:, 2], 0.7, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 8])
def test_a_finite_set_is_memorised_through_any_projection(digits, rank):
    n, count = 30, 2000
    data = digits[:n]
    denoiser = bottleneck.ProjectedDenoiser(data, random_projection(rank, 64, seed=rank))
    # The lowest level is far below the smallest gap between codes.
    grid = log_grid(1e-7, 1e3, 300)
    z = jax.random.normal(jax.random.key(rank), (count, *data.shape[1:]))
    out = np.asarray(generate(denoiser, z, grid)).reshape(count, -1)
    distances = np.linalg.norm(out[:, None] - data.reshape(n, -1), axis=2)
    assert distances.min(axis=1).max() < 1e-5
    frequencies = np.bincount(distances.argmin(axis=1), minlength=n) / count
    standard_error = np.sqrt((1 / n) * (1 - 1 / n) / count)
    assert np.abs(frequencies - 1 / n).max() < 4 * standard_error


def test_mixture_generates_the_regression_manifold():
    count, distances = 10_000, []
    z = jax.random.normal(jax.random.key(0), (count, 2))
    for sigma_min in (0.1, 0.01):
        out = generate(mixture(), z, log_grid(sigma_min, 1e3, 300))
        codes = out @ DIRECTION[0]
        on_manifold = jax.vmap(bottleneck.regression_manifold, (None, 0))(mixture(), codes[:, None])
        distances.append(float(jnp.linalg.norm(out - on_manifold, axis=1).max()))
        assert distances[-1] < sigma_min
    assert distances[1] < distances[0] / 5
    assert scipy.stats.kstest(np.asarray(codes), code_cdf).statistic < 1.95 / np.sqrt(count)


def test_the_code_follows_the_exact_diffusion_of_its_own_law():
    grid = log_grid(0.05, 50.0, 15)
    z = jax.random.normal(jax.random.key(1), (20, 2))
    codes = generate(mixture(), z, grid) @ DIRECTION.T
    alone = generate(mixture().codes.denoiser(), z @ DIRECTION.T, grid)
    np.testing.assert_allclose(codes, alone, atol=1e-12)


def test_law_of_the_many_step_limit():
    law = bottleneck.generated_limit(mixture())
    x = jax.jit(lambda key: law.sample(key, 20_000))(jax.random.key(2))
    codes = np.asarray(x @ DIRECTION[0])
    assert scipy.stats.kstest(codes, code_cdf).statistic < 1.95 / np.sqrt(len(codes))
    np.testing.assert_allclose(jax.vmap(law.denoiser, (0, None))(x, 0.0), x, atol=1e-9)
    h = 1e-5
    for code in (-1.0, 0.2, 1.5):
        slope = np.diff(code_cdf([code - h, code + h]))[0] / (2 * h)
        assert np.exp(law.log_prob(np.array([code]))) == pytest.approx(slope, rel=1e-6)


def test_law_of_a_training_set(digits):
    data = np.concatenate([digits[:9], digits[:1]])
    W = random_projection(2, 64)
    law = bottleneck.generated_limit(bottleneck.ProjectedDenoiser(data, W))
    x = np.asarray(law.sample(jax.random.key(0), 40))
    assert np.abs(x[:, None] - data).max(axis=(2, 3, 4)).min(axis=1).max() < 1e-12
    # Two equal images are one atom of twice the weight.
    np.testing.assert_allclose(np.exp(law.log_prob(law.codes.points[0])), 0.2)
    np.testing.assert_allclose(np.exp(law.log_prob(law.codes.points[1])), 0.1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_components_without_spread(dtype):
    """At zero noise the nearest code wins, as for a training set."""
    points = np.asarray(MEANS, dtype)
    denoiser = bottleneck.MixtureProjectedDenoiser(
        np.full(3, 1 / 3, dtype), points, np.zeros((3, 2, 2), dtype), DIRECTION.astype(dtype)
    )
    for index in range(3):
        z = points[index] @ DIRECTION[0].astype(dtype) + 0.1
        np.testing.assert_allclose(
            bottleneck.regression_manifold(denoiser, np.array([z], dtype)), points[index], atol=1e-6
        )


def test_orthonormalise():
    rows = np.random.default_rng(0).standard_normal((3, 7))
    W = bottleneck.orthonormalise(rows)
    np.testing.assert_allclose(W @ W.T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(rows @ W.T @ W, rows, atol=1e-13)
    orthonormal = random_projection(3, 7)
    np.testing.assert_allclose(bottleneck.orthonormalise(orthonormal), orthonormal, atol=1e-14)


# Along the first axis the components stand apart in order; along the second, where the spread is, they alternate.
ZIGZAG = GaussianMixture(
    np.full(4, 0.25),
    np.array([[-1.2, -1.5], [-0.4, 1.5], [0.4, -1.5], [1.2, 1.5]]),
    np.broadcast_to(0.05**2 * np.eye(2), (4, 2, 2)),
)


def exact_loss(direction, sigmas):
    """`(E|x|^2 - E|E[x | u]|^2) / 2` by quadrature over the noisy code u."""
    u = np.linspace(-4, 4, 4001)[:, None]
    codes, losses = np.asarray(ZIGZAG.means) @ direction, []
    for sigma in sigmas:
        variance = 0.05**2 + sigma**2
        joint = 0.25 * scipy.stats.norm.pdf(u, codes, np.sqrt(variance))
        gain = 0.05**2 / variance * (u - codes)
        sums = joint @ np.asarray(ZIGZAG.means) + (joint * gain).sum(axis=1)[:, None] * direction
        second = np.trapezoid((sums**2).sum(axis=1) / np.maximum(joint.sum(axis=1), 1e-300), u[:, 0])
        losses.append((np.trace(ZIGZAG.covariance) - second) / 2)
    return np.mean(losses)


@pytest.mark.slow
def test_best_projection_beats_pca_and_finds_the_best_angle():
    sigmas = np.array([0.2, 0.1])
    angles = np.linspace(0, np.pi, 91)
    scan = np.array([exact_loss(np.array([np.cos(a), np.sin(a)]), sigmas) for a in angles])
    found = bottleneck.best_projection(
        ZIGZAG, 1, np.append(sigmas, 0.0), key=jax.random.key(0), num_draws=2000, num_steps=40
    )
    direction = np.asarray(found.projection)[0]
    assert abs(found.pca_projection[0, 1]) > 0.9
    assert float(found.loss) == pytest.approx(exact_loss(direction, sigmas), rel=0.2)
    assert float(found.pca_loss) == pytest.approx(exact_loss(np.asarray(found.pca_projection)[0], sigmas), rel=0.06)
    assert exact_loss(direction, sigmas) < 1.05 * scan.min()
    assert found.loss < 0.2 * found.pca_loss


@pytest.mark.slow
def test_best_projection_of_a_training_set(digits):
    found = bottleneck.best_projection(
        digits, 2, np.array([0.3, 0.0]), key=jax.random.key(0), num_draws=600, num_steps=15, num_starts=1
    )
    assert found.projection.shape == (2, 64)
    np.testing.assert_allclose(found.projection @ found.projection.T, np.eye(2), atol=1e-12)
    flat = digits.reshape(64, -1)
    _, _, directions = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    cosines = np.linalg.svd(directions[:2] @ np.asarray(found.pca_projection).T, compute_uv=False)
    np.testing.assert_allclose(cosines, 1, atol=1e-10)
    assert found.loss < 0.95 * found.pca_loss


HALF = np.full((1, 2), 0.5)
DATA = np.zeros((3, 2))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bottleneck.ProjectedDenoiser(DATA, HALF), "W W.T differs from I by up to 0.5; pass orthonormalise"),
        (lambda: bottleneck.ProjectedDenoiser(DATA, np.eye(2)), "fewer than 2, the entries of an example; got 2"),
        (lambda: bottleneck.ProjectedDenoiser(DATA, np.eye(3)[:1]), r"floating point \(r, 2\).*got float64 \(1, 3\)"),
        (lambda: bottleneck.ProjectedDenoiser(DATA, np.array([0.6, 0.8])), r"got float64 \(2,\)"),
        (lambda: bottleneck.ProjectedDenoiser(DATA, np.array([[1, 0]])), "must be floating point"),
        (lambda: bottleneck.ProjectedDenoiser(DATA, DIRECTION * np.nan), "orthonormal rows"),
        (lambda: bottleneck.ProjectedDenoiser(DATA * np.nan, DIRECTION), "NaN or infinite entries in 3 of 3"),
        (lambda: bottleneck.ProjectedDenoiser(DATA, DIRECTION, 0), "chunk_size"),
        (lambda: bottleneck.ProjectedDenoiser(DATA, DIRECTION)(np.zeros(3), 0.1), r"y must have shape \(2,\)"),
        (lambda: bottleneck.MixtureProjectedDenoiser(WEIGHTS, MEANS, COVARIANCES, HALF), "orthonormal rows"),
        (lambda: bottleneck.MixtureProjectedDenoiser(2 * WEIGHTS, MEANS, COVARIANCES, DIRECTION), "sum to one"),
        (lambda: bottleneck.MixtureProjectedDenoiser(WEIGHTS, MEANS, -COVARIANCES, DIRECTION), "semi-definite"),
        (lambda: bottleneck.regression_manifold(mixture(), np.zeros(2)), r"z must have shape \(1,\), got \(2,\)"),
        (lambda: bottleneck.orthonormalise(np.ones((2, 3))), "linearly dependent"),
        (lambda: bottleneck.orthonormalise(np.ones((3, 2))), "at most as many rows as columns"),
        (lambda: bottleneck.best_projection(ZIGZAG, 2, np.ones(1), key=jax.random.key(0)), "rank must be below"),
        (lambda: bottleneck.best_projection(ZIGZAG, 1, np.zeros(1), key=jax.random.key(0)), "positive noise levels"),
        (
            lambda: bottleneck.best_projection(ZIGZAG, 1, np.ones(1), key=jax.random.key(0), num_starts=0),
            "num_starts must be an integer of at least 1",
        ),
        (lambda: bottleneck.best_projection(DATA[:1], 1, np.ones(1), key=jax.random.key(0)), "at least 2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
