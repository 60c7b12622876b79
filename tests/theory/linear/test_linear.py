"""Linear denoisers against normal equations, gradient flow and the dense chain, all in float64 NumPy.

Compiling takes most of the time: the programs below take denoisers and grids as arguments and are shared.
"""

import gc
import itertools
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from jaxcreativity import generate, sampling, schedules
from jaxcreativity.theory import linear
from tests.registry import make_images

IMAGES = make_images(3, 60, 3, 4, 2)  # more images than entries: every eigenvalue is positive and distinct
SHAPE = IMAGES.shape[1:]
D = int(np.prod(SHAPE))
NUM_SAMPLES = 10_000
OPTIONS = {"full": {}, "pixelwise": {}, "stationary": {}, "local": {"kernel_size": 3}, "low_rank": {"rank": 9}}
KINDS = [(structure, prediction) for structure in OPTIONS for prediction in ("x", "noise")]
every_kind = pytest.mark.parametrize(("structure", "prediction"), KINDS)
every_structure = pytest.mark.parametrize("structure", list(OPTIONS))

SCHEDULES = {
    "cosine": schedules.cosine(),
    "linear_beta": schedules.linear_beta(),
    "karras": schedules.karras(0.02, 80.0),
    "log_linear": schedules.log_linear(0.02, 80.0),
}


_apply = jax.jit(lambda denoiser, y, sigma: jax.vmap(denoiser, (0, None))(y, sigma))


def apply(denoiser, y, sigma):
    """A batch at one noise level."""
    return np.asarray(_apply(denoiser, y, np.float64(sigma)))


def queries(shape=SHAPE):
    """As many as there are entries and one, so that all tests share one program."""
    return np.random.default_rng(0).standard_normal((1 + np.prod(shape), *shape))


predict_samples = jax.jit(jax.vmap(linear.predict_sample, (None, 0, None)))
generated = jax.jit(lambda denoiser, sigmas, eta: linear.generated(denoiser, sigmas, eta=eta))


def ancestral(denoiser, key, sigmas, eta):
    """Flattened samples, `NUM_SAMPLES` of them."""
    z_key, step_key = jax.random.split(key)
    z = jax.random.normal(z_key, (NUM_SAMPLES, *SHAPE))
    return generate(denoiser, z, sigmas, eta=jnp.asarray(eta), key=step_key).reshape(len(z), -1)


def fit(structure, prediction="x", x=IMAGES, dtype=jnp.float64, **more):
    return linear.fit(jnp.asarray(x, dtype), structure, prediction=prediction, **OPTIONS[structure], **more)


# --- the sampler ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float64, 1e-8), (jnp.float32, 1e-3)], ids=["f64", "f32"])
@every_kind
def test_closed_form_sample_is_the_sampler_s(structure, prediction, dtype, tolerance):
    z = jax.random.normal(jax.random.key(0), (4, *SHAPE), dtype)
    effects = {"weight_decay": 0.1} if structure == "low_rank" else {"weight_decay": 0.1, "training_time": 3.0}
    for trained in ({}, effects):
        denoiser = fit(structure, prediction, dtype=dtype, **trained)
        for name, schedule in SCHEDULES.items():
            sigmas = schedules.grid(schedule, 12).astype(dtype)
            closed, sampled = predict_samples(denoiser, z, sigmas), generate(denoiser, z, sigmas)
            assert closed.dtype == sampled.dtype == dtype
            size = np.abs(sampled).max()
            # The stated tolerances: float64 leaves 1e-8 to sums over a chain from 80; float32 1e-3 relative.
            np.testing.assert_allclose(closed, sampled, rtol=0, atol=tolerance * max(size, 1.0), err_msg=name)


# --- what the loss selects --------------------------------------------------------------------------------------


def patches(images, height, width):
    """Wrapped windows about every pixel, `(n * H * W, height * width * C)`, and the index of the first centre entry."""
    rows = range(-(height // 2), height - height // 2)
    columns = range(-(width // 2), width - width // 2)
    shifted = [np.roll(images, (-row, -column), axis=(1, 2)) for row in rows for column in columns]
    centre = (height // 2 * width + width // 2) * images.shape[-1]
    return np.stack(shifted, axis=3).reshape(-1, height * width * images.shape[-1]), centre


def solve(F, T, penalty, training_time):
    """Weights W that minimise `1/2 E|W f - t|^2 + penalty/2 |W|^2` with `F = E[f f^T]`, `T = E[t f^T]`.

    Or those of gradient flow on that loss from zero, integrated numerically.
    """
    if training_time is None:
        return np.linalg.solve((F + penalty).T, T.T).T
    flow = lambda _, w: (T - w.reshape(T.shape) @ (F + penalty)).ravel()  # noqa: E731
    result = scipy.integrate.solve_ivp(flow, (0, training_time), np.zeros(T.size), "DOP853", rtol=1e-10, atol=1e-12)
    return result.y[:, -1].reshape(T.shape)


def trained(features, targets, noise_in_targets, sigma, prediction, *, decay, time, bias, sigma_data):
    """The map `f -> x_hat - noise-free part` that training gives: `(W, b)` with `x_hat = W f + b`.

    `features (m, p)` and `targets (m, q)` are clean; target j is feature `noise_in_targets[j]` without noise, so that
    the noisy moments are exact: noise is white, and independent of the images.
    """
    scale = 1.0 if sigma_data is None else 1 / np.sqrt(sigma**2 + sigma_data**2)
    p, q, m = features.shape[1], targets.shape[1], len(features)
    pick = np.eye(p)[noise_in_targets]
    mean_f, mean_t = (features.mean(axis=0), targets.mean(axis=0)) if bias else (np.zeros(p), np.zeros(q))
    f, t = features - mean_f, targets - mean_t
    F = scale**2 * (f.T @ f / m + sigma**2 * np.eye(p))
    T = scale * t.T @ f / m if prediction == "x" else scale * sigma * pick
    W = scale * solve(F, T, decay * np.eye(p), time)
    if prediction == "noise":
        W = pick - sigma * W
        return W, mean_t - W @ mean_f
    return W, mean_t - W @ mean_f


def brute_force(structure, images, y, sigma, prediction, kernel_size=3, **effects):
    """`D(y, sigma)` for a batch of y."""
    n, height, width, channels = images.shape
    train = partial(trained, sigma=sigma, prediction=prediction, **effects)
    if structure == "full":
        flat = images.reshape(n, -1)
        W, b = train(flat, flat, np.arange(flat.shape[1]))
        return (y.reshape(len(y), -1) @ W.T + b).reshape(y.shape)
    if structure == "pixelwise":
        flat, out = images.reshape(n, -1), []
        for i in range(flat.shape[1]):
            W, b = train(flat[:, i : i + 1], flat[:, i : i + 1], [0])
            out.append(y.reshape(len(y), -1)[:, i] * W[0, 0] + b[0])
        return np.stack(out, axis=1).reshape(y.shape)
    window = (kernel_size, kernel_size) if structure == "local" else (height, width)
    features, centre = patches(images, *window)
    own = np.arange(centre, centre + channels)
    W, b = train(features, features[:, own], own)
    return (patches(y, *window)[0] @ W.T + b).reshape(y.shape)


PLAIN = {"decay": 0.0, "time": None, "bias": True, "sigma_data": None}
EFFECTS = {
    "plain": {},
    "no bias": {"bias": False},
    "weight decay": {"decay": 0.3},
    "early": {"time": 0.7},
    "early, decayed, scaled input": {"decay": 0.3, "time": 1.5, "sigma_data": 0.5},
    "decayed, scaled input, no bias": {"decay": 0.3, "bias": False, "sigma_data": 0.5},
}


@pytest.mark.parametrize("structure", ["full", "pixelwise", "stationary", "local"])
@pytest.mark.parametrize("prediction", ["x", "noise"])
def test_denoiser_is_what_training_finds(structure, prediction):
    y = queries()
    for name, effect in EFFECTS.items():
        effect = {**PLAIN, **effect}
        names = {"decay": "weight_decay", "time": "training_time", "bias": "bias", "sigma_data": "sigma_data"}
        denoiser = fit(structure, prediction, **{names[k]: v for k, v in effect.items()})
        for sigma in (0.1, 1.0, 5.0):
            expected = brute_force(structure, IMAGES, y, sigma, prediction, **effect)
            # The ODE solver's tolerance, times the size of its weights.
            np.testing.assert_allclose(apply(denoiser, y, sigma), expected, atol=1e-8, err_msg=f"{name} {sigma}")


def test_bias_is_the_optimal_one():
    """Without centring anything: a constant feature, jointly solved for."""
    flat, sigma = IMAGES.reshape(len(IMAGES), -1), 0.4
    features = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
    noise = sigma**2 * np.diag([1.0] * D + [0.0])
    W = np.linalg.solve(features.T @ features / len(flat) + noise, features.T @ flat / len(flat)).T
    y = queries()
    expected = y.reshape(-1, D) @ W[:, :-1].T + W[:, -1]
    np.testing.assert_allclose(apply(fit("full"), y, sigma).reshape(-1, D), expected, atol=1e-10)


@pytest.mark.parametrize("shape", [(5, 7, 3), (8, 6, 1)])
def test_local_filter_on_other_shapes(shape):
    images = make_images(4, 20, *shape)
    y = queries(shape)[:3]
    denoiser = linear.fit(images, "local", kernel_size=5)
    expected = brute_force("local", images, y, 0.3, "x", kernel_size=5, **PLAIN)
    np.testing.assert_allclose(apply(denoiser, y, 0.3), expected, atol=1e-9)


def test_stationary_is_local_with_full_support():
    images = make_images(5, 20, 5, 5, 2)
    y = queries((5, 5, 2))[:3]
    full, local = linear.fit(images, "stationary"), linear.fit(images, "local", kernel_size=5)
    np.testing.assert_allclose(apply(local, y, 0.3), apply(full, y, 0.3), atol=1e-10)


def test_power_spectrum_does_not_depend_on_chunks():
    images = make_images(6, 1024 + 3, 3, 3, 2)  # one whole chunk and a remainder
    power = np.asarray(linear.fit(images, "stationary").spectrum.matrix)
    centred = images - images.mean(axis=(0, 1, 2))
    transformed = np.fft.fft2(centred, axes=(1, 2), norm="ortho").reshape(len(images), 9, 2)
    expected = np.einsum("nfc,nfe->fce", transformed, transformed.conj()) / len(images)
    np.testing.assert_allclose(power, expected, atol=1e-13)


@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("prediction", ["x", "noise"])
def test_low_rank_is_reduced_rank_regression(prediction, decay):
    """Best W of rank r: the leading singular part of the whitened cross-covariance (Izenman 1975)."""
    rank, sigma = OPTIONS["low_rank"]["rank"], 0.4
    flat = IMAGES.reshape(len(IMAGES), -1)
    mean = flat.mean(axis=0)
    covariance = np.cov(flat.T, bias=True)
    F = covariance + (sigma**2 + decay) * np.eye(D)
    T = covariance if prediction == "x" else sigma * np.eye(D)
    whitener = np.linalg.inv(np.linalg.cholesky(F)).T  # F^-1 = whitener whitener^T
    left, singular, right = np.linalg.svd(T @ whitener)
    W = (left[:, :rank] * singular[:rank]) @ right[:rank] @ whitener.T
    A = W if prediction == "x" else np.eye(D) - sigma * W
    y = queries()
    expected = (y.reshape(-1, D) - mean) @ A.T + mean
    denoiser = fit("low_rank", prediction, weight_decay=decay)
    np.testing.assert_allclose(apply(denoiser, y, sigma).reshape(-1, D), expected, atol=1e-10)


# --- what is generated ------------------------------------------------------------------------------------------


def assert_moments(drawn, law):
    """Mean and covariance of Gaussian draws within 4 standard errors of those of `law`.

    A right law puts 6e-5 of all entries outside; of 324 entries one may be (two are with probability 2e-4), not by
    more than 5 standard errors. Seeds are fixed, so the verdict does not change from run to run.
    """
    drawn, C = np.asarray(drawn), np.asarray(law.covariance)
    n, variances = len(drawn), np.diag(C)
    rounding = 1e-9  # for directions without variance
    mean_score = (drawn.mean(axis=0) - law.mean) / (np.sqrt(variances / n) + rounding)
    # The variance of a sample covariance of Gaussians is (C_ii C_jj + C_ij^2) / n.
    covariance_score = (np.cov(drawn.T) - C) / (np.sqrt((np.outer(variances, variances) + C**2) / n) + rounding)
    scores = np.abs(np.concatenate([mean_score, covariance_score[np.triu_indices(len(C))]]))
    assert (scores > 4).sum() <= len(scores) // 300
    assert scores.max() < 5


@every_structure
def test_generated_law_is_the_samplers_by_monte_carlo(structure):
    denoiser = fit(structure, "noise" if structure == "low_rank" else "x")
    sigmas = schedules.grid(schedules.karras(0.1, 10.0), 6)
    for seed, eta in enumerate((0.0, 0.5, 1.0)):
        drawn = ancestral(denoiser, jax.random.key(seed), sigmas, eta)
        assert_moments(drawn, generated(denoiser, sigmas, eta))


def dense_chain(A, b, sigmas, eta):
    """Mean and covariance of the chain `y' = (1 - c)(A y + b) + c y + tau z`, float64 NumPy."""
    d = A.shape[-1]
    mean, covariance = np.zeros(d), sigmas[0] ** 2 * np.eye(d)
    for k, (sigma, following) in enumerate(itertools.pairwise(sigmas)):
        tau = eta * following * np.sqrt(1 - following**2 / sigma**2)
        c = np.sqrt(following**2 - tau**2) / sigma
        F = (1 - c) * A[k] + c * np.eye(d)
        mean, covariance = F @ mean + (1 - c) * b[k], F @ covariance @ F.T + tau**2 * np.eye(d)
    return mean, covariance


@every_kind
def test_generated_law_is_the_dense_recursion_s(structure, prediction):
    effects = {"weight_decay": 0.1} if structure == "low_rank" else {"weight_decay": 0.1, "training_time": 3.0}
    denoiser = fit(structure, prediction, **effects)
    sigmas = np.asarray(schedules.grid(schedules.karras(0.1, 10.0), 6))
    # A and b of the denoiser's own outputs at 0 and at the unit vectors.
    inputs = np.concatenate([np.zeros((1, D)), np.eye(D)]).reshape(-1, *SHAPE)
    outputs = [np.asarray(apply(denoiser, inputs, sigma)).reshape(-1, D) for sigma in sigmas[:-1]]
    A, b = np.stack([(out[1:] - out[0]).T for out in outputs]), np.stack([out[0] for out in outputs])
    for eta in (0.0, 0.5, 1.0):
        law = generated(denoiser, sigmas, eta)
        mean, covariance = dense_chain(A, b, sigmas, eta)
        np.testing.assert_allclose(law.mean, mean, atol=1e-9)
        np.testing.assert_allclose(law.covariance, covariance, atol=1e-9)


@pytest.mark.parametrize(
    ("structure", "prediction"),
    [("full", "x"), ("pixelwise", "x"), ("stationary", "x"), ("low_rank", "x"), ("low_rank", "noise")],
)
def test_limit_of_many_steps_is_reached_at_first_order(structure, prediction):
    denoiser = fit(structure, prediction)
    limit = linear.generated_limit(denoiser, 1.0)
    mean_errors, covariance_errors = [], []
    for steps in (150, 300, 600):
        # Down to 1e-5 in equal ratios: the last jump to 0 costs (1e-5)**2 / (smallest variance), next to nothing.
        sigmas = schedules.grid(schedules.log_linear(1e-5, 1.0), steps)
        # A step from a level to itself changes nothing; with such steps in front all grids share one program.
        law = generated(denoiser, np.pad(sigmas, (600 - steps, 0), mode="edge"), 0.0)
        mean_errors.append(np.linalg.norm(law.mean - limit.mean))
        covariance_errors.append(np.linalg.norm(law.covariance - limit.covariance))
    for errors in (mean_errors, covariance_errors):
        assert errors[-1] > 1e-6, "too small to measure an order"
        orders = np.log2(np.divide(errors[:-1], errors[1:]))
        assert ((orders > 0.8) & (orders < 1.2)).all(), orders


def test_limit_of_a_gaussian_flow():
    """The limit itself: variance l s^2 / (l + s^2), which tends to l."""
    flat = IMAGES.reshape(len(IMAGES), -1)
    C, mean = np.cov(flat.T, bias=True), flat.mean(axis=0)
    law = linear.generated_limit(fit("full"), 3.0)
    np.testing.assert_allclose(law.covariance, C @ np.linalg.inv(C / 9.0 + np.eye(D)), atol=1e-12)
    G = scipy.linalg.sqrtm(C @ np.linalg.inv(C + 9.0 * np.eye(D)))
    np.testing.assert_allclose(law.mean, mean - G @ mean, atol=1e-12)


# --- derivatives --------------------------------------------------------------------------------------------------

GRADIENT_OPTIONS = {**OPTIONS, "low_rank": {"rank": 16}}  # a rank at a gap of all three spectra below


def hard_data(kind):
    """16 images of 24 entries, `kind` of trouble for a derivative through an eigendecomposition."""
    images = make_images(7, 16, *SHAPE)
    if kind == "constant pixels":
        images[:, 1, 1:3] = 0.3
    elif kind == "repeated eigenvalues":
        # Plus and minus eight unit vectors: the covariance is exactly 1/8 eight times, 0 sixteen times.
        images = 0.5 * np.concatenate([np.eye(D)[:8], -np.eye(D)[:8]]).reshape(16, *SHAPE)
    return images


@partial(jax.jit, static_argnums=0)
@partial(jax.value_and_grad, argnums=1)
def chain_loss_and_gradient(structure, arguments):
    """Data, noise and parameters -> fit -> denoiser -> sampler, and the closed form -> loss."""
    prediction = "noise" if structure == "low_rank" else "x"
    data, z, sigmas, parameters = arguments
    denoiser = linear.fit(data, structure, prediction=prediction, **GRADIENT_OPTIONS[structure], **parameters)
    weights = np.random.default_rng(8).standard_normal((2, *SHAPE))
    sampled = jnp.sum(weights[0] * jnp.square(sampling.sample(denoiser, z, sigmas)))
    return sampled + jnp.sum(weights[1] * jnp.square(linear.predict_sample(denoiser, z, sigmas)))


def random_direction(arguments, part):
    """Zero except in one of `(data, noise, grid, parameters)`; the last level of the grid stays 0."""
    rng = np.random.default_rng(10)
    directions = [jax.tree.map(np.zeros_like, argument) for argument in arguments]
    directions[part] = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape), arguments[part])
    directions[2][-1] = 0.0
    return tuple(directions)


@every_structure
def test_gradient_through_fit_and_sampler_is_that_of_finite_differences(structure):
    parameters = {"weight_decay": 0.05, "sigma_data": 0.6}
    if structure != "low_rank":
        parameters["training_time"] = 4.0
    z = np.random.default_rng(9).standard_normal(SHAPE)
    sigmas = np.array([2.0, 0.7, 0.3, 0.0])
    for kind in ("fewer images than pixels", "constant pixels", "repeated eigenvalues"):
        arguments = jax.tree.map(np.float64, (hard_data(kind), z, sigmas, parameters))
        value, gradient = chain_loss_and_gradient(structure, arguments)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
        for part in range(len(arguments)):
            direction = random_direction(arguments, part)
            # Fourth-order differences: error h**4, rounding 1e-16 / h.
            h = 1e-4
            steps = [h * np.float64(k) for k in (-2, -1, 1, 2)]
            moved = [jax.tree.map(lambda a, b, k=k: a + k * b, arguments, direction) for k in steps]
            ends = [float(chain_loss_and_gradient(structure, arguments)[0]) for arguments in moved]
            numeric = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * h)
            products = jax.tree.map(lambda a, b: float(np.sum(a * b)), gradient, direction)
            exact = sum(jax.tree.leaves(products))
            assert abs(exact - numeric) < 1e-7 * (abs(value) + abs(numeric) + 1), (kind, part)


def test_second_derivatives():
    sigmas = jnp.asarray([2.0, 0.7, 0.3, 0.0])
    z = jax.random.normal(jax.random.key(0), SHAPE)

    def loss(data, z):
        return 0.5 * jnp.sum(jnp.square(linear.predict_sample(linear.fit(data, "full"), z, sigmas)))

    with pytest.raises(NotImplementedError, match="second derivatives with respect to the covariance"):
        jax.eval_shape(jax.grad(lambda x: jnp.sum(jax.grad(loss)(x, z))), IMAGES)
    # With respect to the noise the sample is affine: the Hessian is J^T J, J the gains of the chain.
    hessian = jax.jit(jax.hessian(loss, argnums=1))(IMAGES, z).reshape(D, D)
    C = np.cov(IMAGES.reshape(len(IMAGES), -1).T, bias=True)
    J = sigmas[0] * np.eye(D)
    for sigma, following in itertools.pairwise(np.asarray(sigmas)):
        c = following / sigma
        J = ((1 - c) * C @ np.linalg.inv(C + sigma**2 * np.eye(D)) + c * np.eye(D)) @ J
    np.testing.assert_allclose(hessian, J.T @ J, atol=1e-10)


def test_constants_of_traced_code_are_checked_without_tracing():
    """Inside jit, operations on JAX arrays that are constants there are traced, too: checks must not trip over it."""
    x, one = jnp.asarray(IMAGES), jnp.asarray(1.0)
    bad = x.at[0, 0, 0, 0].set(jnp.nan)

    def program(z):
        plain = linear.fit(x, "full")
        denoiser = linear.fit(x, "full", weight_decay=one, training_time=one, sigma_data=one)
        return denoiser(z, one), linear.generated_limit(plain, one).mean

    jax.eval_shape(program, x[0])
    with pytest.raises(ValueError, match="NaN or infinite entries in 1 of 60 examples"):
        jax.eval_shape(lambda z: linear.fit(bad, "full")(z, one), x[0])
    with pytest.raises(ValueError, match="weight_decay must be finite and not negative"):
        jax.eval_shape(lambda z: linear.fit(x, "full", weight_decay=-1.0)(z, one), x[0])


# --- bad input ------------------------------------------------------------------------------------------------------


def spoilt(value):
    images = IMAGES.copy()
    images[7, 1, 2, 0] = value
    return images


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (IMAGES[:0], {"structure": "full"}, "x needs at least 2"),
        (IMAGES[:1], {"structure": "full"}, "x needs at least 2"),
        (IMAGES[:, :0], {"structure": "full"}, "non-empty"),
        (
            spoilt(np.nan),
            {"structure": "full"},
            "NaN or infinite entries in 1 of 60 examples",
        ),
        (
            spoilt(np.inf),
            {"structure": "pixelwise"},
            "NaN or infinite entries in 1 of 60 examples",
        ),
        (IMAGES[:, :, :, 0], {"structure": "stationary"}, r"shape \(n, height, width, channels\), got \(60, 3, 4\)"),
        (IMAGES[:, 0, 0, 0], {"structure": "full"}, "add the axis of examples"),
        ((IMAGES * 127).astype(np.uint8), {"structure": "full"}, "floating point, got uint8; scale images"),
        (IMAGES.tolist(), {"structure": "full"}, "must be an array of examples, got list"),
        (IMAGES, {"structure": "fourier"}, "structure must be one of 'full', .*got 'fourier'"),
        (IMAGES, {"structure": "full", "prediction": "v"}, "prediction must be one of 'x', 'noise', got 'v'"),
        (IMAGES, {"structure": "local"}, "kernel_size goes with structure 'local'"),
        (IMAGES, {"structure": "full", "kernel_size": 3}, "kernel_size goes with structure 'local'"),
        (IMAGES, {"structure": "local", "kernel_size": 2}, "odd and at most the smaller image side 3, got 2"),
        (IMAGES, {"structure": "local", "kernel_size": 5}, "odd and at most the smaller image side 3, got 5"),
        (IMAGES, {"structure": "local", "kernel_size": 3.0}, "kernel_size must be an integer"),
        (IMAGES, {"structure": "low_rank"}, "rank goes with structure 'low_rank'"),
        (IMAGES, {"structure": "pixelwise", "rank": 3}, "rank goes with structure 'low_rank'"),
        (IMAGES, {"structure": "low_rank", "rank": D + 1}, f"at most the number of entries d = {D}"),
        (IMAGES, {"structure": "low_rank", "rank": 0}, "rank must be an integer of at least 1"),
        (IMAGES, {"structure": "low_rank", "rank": 3, "training_time": 1.0}, "no closed form for 'low_rank'"),
        (IMAGES, {"structure": "full", "weight_decay": -0.1}, "weight_decay must be finite and not negative"),
        (IMAGES, {"structure": "full", "weight_decay": np.nan}, "weight_decay must be finite and not negative"),
        (IMAGES, {"structure": "full", "training_time": 0.0}, "training_time must be positive"),
        (IMAGES, {"structure": "full", "sigma_data": 0.0}, "sigma_data must be positive"),
    ],
)
def test_bad_input_of_fit(data, options, message):
    with pytest.raises(ValueError, match=message):
        linear.fit(data, **options)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_elsewhere():
    denoiser = fit("full")
    sigmas = schedules.grid(schedules.cosine(), 3)
    z = jnp.zeros(SHAPE)
    with pytest.raises(ValueError, match=r"y must have shape \(3, 4, 2\), got \(5, 3, 4, 2\); batch with jax.vmap"):
        denoiser(jnp.zeros((5, *SHAPE)), 0.5)
    with pytest.raises(ValueError, match=r"z must have shape \(3, 4, 2\)"):
        linear.predict_sample(denoiser, z[0], sigmas)
    with pytest.raises(ValueError, match="z must be floating point"):
        linear.predict_sample(denoiser, z.astype(int), sigmas)
    for call in (lambda s: linear.predict_sample(denoiser, z, s), lambda s: linear.generated(denoiser, s)):
        with pytest.raises(ValueError, match="strictly decreasing and end at 0"):
            call(sigmas[::-1])
    for other in (fit("local"), fit("full", weight_decay=0.1), fit("full", training_time=1.0)):
        with pytest.raises(ValueError, match="generated_limit needs a structure other than 'local'"):
            linear.generated_limit(other, 80.0)


# --- size ---------------------------------------------------------------------------------------------------------


def mnist(real_dataset):
    """All 60 000 training images, float32 in [-1, 1]; random ones of that size where MNIST is not there."""
    try:
        real_dataset("mnist")
    except pytest.skip.Exception:
        return np.random.default_rng(0).uniform(-1, 1, (60_000, 28, 28, 1)).astype(np.float32)
    from jaxcreativity import data

    return np.asarray(data.load("mnist").train, np.float32)


def peak_memory():
    """Peak resident memory of this process in bytes, since the last `reset_peak_memory`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


@pytest.mark.slow
def test_mnist_size_takes_seconds_and_less_than_4_gib(real_dataset):
    images = mnist(real_dataset)
    assert images.shape == (60_000, 28, 28, 1)
    z = jax.random.normal(jax.random.key(0), (1_000, 28, 28, 1), jnp.float32)
    sigmas = schedules.grid(schedules.cosine(), 20)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before, start, cpu_start = peak_memory(), time.perf_counter(), time.process_time()
    denoiser = linear.fit(images, "full")
    samples = predict_samples(denoiser, z, sigmas).block_until_ready()
    # The time of all cores together where others keep them busy.
    seconds = min(time.perf_counter() - start, time.process_time() - cpu_start)
    grown = peak_memory() - before
    assert np.isfinite(samples).all()
    assert seconds < 20
    assert grown < 4 * 2**30


@pytest.mark.parametrize(("structure", "options"), [("full", {}), ("stationary", {}), ("local", {"kernel_size": 3})])
def test_integer_weights_count_like_copies(digits, structure, options):
    x = jnp.asarray(digits[:30])
    counts = np.arange(30) % 3
    weighted = linear.fit(x, structure, weights=jnp.asarray(counts, float), **options)
    copied = linear.fit(jnp.asarray(np.repeat(digits[:30], counts, axis=0)), structure, **options)
    y = x[0] + 0.3
    np.testing.assert_allclose(weighted(y, 0.5), copied(y, 0.5), atol=1e-12)


def test_bad_weights(digits, unchecked):
    x = jnp.asarray(digits[:5])
    for weights in (jnp.ones(4), jnp.array([1.0, 1.0, -1.0, 1.0, 1.0]), jnp.zeros(5), jnp.ones(5, int)):
        with pytest.raises(ValueError, match="weights must be"):
            linear.fit(x, "full", weights=weights)
