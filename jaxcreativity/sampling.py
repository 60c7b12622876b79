"""Reverse diffusion: one scan for every denoiser, one step rule for every first-order sampler.

From noise level `s` to `s' < s` (DDIM, Song et al. 2021; ancestral DDPM sampling, Ho et al. 2020):

    y' = (1 - c) D(y, s) + c y + tau * noise,   tau = eta s' sqrt(1 - s'^2 / s^2),   c = sqrt(s'^2 - tau^2) / s

The chain starts at `sigmas[0] * z`. The last step has `s' = 0`, so the sample is `D(y, sigmas[-2])`.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from jaxcreativity import _checks
from jaxcreativity.denoiser import Denoiser, NoiseLevel, Scalar

Method = Literal["ddim", "heun"]


def step_coefficients(sigma: NoiseLevel, sigma_next: NoiseLevel, eta: Scalar) -> tuple[Array, Array]:
    """`(c, tau)` of the step rule above.

    Args:
        sigma: level at which the step starts.
        sigma_next: level at which it ends, `0 <= sigma_next < sigma`.
        eta: 0 for DDIM to 1 for ancestral sampling.
    """
    ratio = jnp.asarray(sigma_next) / sigma
    kept = 1 - eta**2 * (1 - ratio**2)
    # At sigma_next = 0 and eta = 1 the root's argument is 0, where its derivative is infinite; c is 0 there anyway.
    c = ratio * jnp.sqrt(jnp.where(ratio > 0, kept, 1.0))
    tau = eta * sigma_next * jnp.sqrt(1 - ratio**2)
    return c, tau


def sample(
    denoiser: Denoiser,
    z: Float[ArrayLike, "*shape"],
    sigmas: Float[ArrayLike, " levels"],
    *,
    eta: Scalar = 0.0,
    key: PRNGKeyArray | None = None,
    method: Method = "ddim",
    unroll: int | bool = 1,
    remat: bool = False,
) -> Float[Array, "*shape"]:
    """Generate one example from the noise `z` by reverse diffusion along `sigmas`.

    Pure: wrap it in `jax.jit`, `jax.vmap` (over `z`, and over `key` if `eta > 0`), `jax.grad`.

    Args:
        denoiser: callable on one example.
        z: standard Gaussian noise of the example's shape; the chain starts at `sigmas[0] * z`.
        sigmas: noise levels, strictly decreasing, last 0 (`schedules.grid`).
        eta: 0 is the deterministic DDIM sampler, 1 ancestral DDPM sampling.
        key: random key for the noise added on the way; needed unless `eta` is 0.
        method: `"ddim"`, the step rule of this module, or `"heun"`, the second-order deterministic sampler of
            Karras et al. (2022, algorithm 1), which calls the denoiser twice a step (once in the last).
        unroll: passed to `jax.lax.scan`. On CPUs, differentiate through a convolutional network with `unroll=True`:
            XLA's gradient of a convolution inside a loop is slow there.
        remat: recompute what a step holds in memory when the gradient comes to it (`jax.checkpoint`), so that the
            memory of a gradient grows with the number of steps by one state a step; costs one more forward pass.

    Returns:
        The generated example, of the shape and dtype of `z`; infinite where the trajectory diverged (`diverged`).

    Raises:
        ValueError: for a bad grid, an unknown method, `eta` outside [0, 1], a missing key, Heun with `eta > 0`, or a
            denoiser that does not return an array of the shape of `y`.

    Example:
        >>> import jax.numpy as jnp, jaxcreativity as jc
        >>> sigmas = jc.schedules.grid(jc.schedules.cosine(), 20)
        >>> gaussian = lambda y, sigma: y / (1 + sigma**2)  # E[x | y] for x ~ N(0, 1)
        >>> [round(float(x), 2) for x in sample(gaussian, jnp.asarray([1.0, -2.0]), sigmas)]
        [0.94, -1.88]
    """
    z, sigmas, step_noise = check_arguments(z, sigmas, eta, key, method)
    final, _ = _scan(denoiser, z, sigmas, eta, step_noise, method, unroll, remat, keep=False)
    return _hold_infinite(final, estimate(denoiser, final, sigmas[-2]))


def trajectory(
    denoiser: Denoiser,
    z: Float[ArrayLike, "*shape"],
    sigmas: Float[ArrayLike, " levels"],
    *,
    eta: Scalar = 0.0,
    key: PRNGKeyArray | None = None,
    method: Method = "ddim",
    unroll: int | bool = 1,
    remat: bool = False,
) -> Float[Array, "levels *shape"]:
    """All states of `sample`: entry `k` is the state at `sigmas[k]`; first `sigmas[0] * z`, last the sample.

    Args:
        denoiser: callable on one example.
        z: standard Gaussian noise.
        sigmas: noise levels, strictly decreasing, last 0.
        eta: 0 is DDIM, 1 ancestral sampling.
        key: random key, needed unless `eta` is 0.
        method: `"ddim"` or `"heun"`.
        unroll: as for `sample`.
        remat: as for `sample`.

    Raises:
        ValueError: for what `sample` rejects.

    Example:
        >>> import jax.numpy as jnp
        >>> sigmas = jnp.asarray([3.0, 1.0, 0.0])
        >>> print(trajectory(lambda y, sigma: 0 * y, jnp.ones(1), sigmas)[:, 0])  # the noise shrinks
        [3. 1. 0.]
    """
    z, sigmas, step_noise = check_arguments(z, sigmas, eta, key, method)
    final, states = _scan(denoiser, z, sigmas, eta, step_noise, method, unroll, remat, keep=True)
    last = _hold_infinite(final, estimate(denoiser, final, sigmas[-2]))
    return jnp.concatenate([states, final[None], last[None]])


def diverged(x: Float[Array, "*shape"]) -> Bool[Array, ""]:
    """Whether the trajectory that ended in the sample `x` diverged.

    A denoiser that grows faster than linearly (a polynomial, a network of quadratic units) can carry a trajectory to
    infinity in a few steps. `sample` then returns `inf` or `-inf` in the entries that diverged, never NaN, and the
    other examples of a batch are not touched.
    """
    return jnp.any(jnp.isinf(x))


def log_density(
    denoiser: Denoiser, z: Float[ArrayLike, "*shape"], sigmas: Float[ArrayLike, " levels"]
) -> tuple[Float[Array, "*shape"], Float[Array, ""]]:
    """The DDIM sample `x` of `z` and the log-density of the generated distribution at it, in nats.

    With `eta = 0` the sample is a function `x = Phi(z)` of one Gaussian vector, so where `Phi` is injective

        log p(x) = log N(z; 0, I) - log |det dPhi/dz|,

    the determinant being the product of those of the steps, `(1 - c) dD/dy + c I`. Each is taken on its own: the
    product of twenty steps spans more orders of magnitude than float32 resolves.

    Args:
        denoiser: callable on one example, differentiable.
        z: standard Gaussian noise.
        sigmas: noise levels, strictly decreasing, last 0.

    Returns:
        `(x, log_prob)`, `x` as from `sample`. `log_prob` is `inf` where a step is singular (the generated law then has
        no density), and `-inf` where the trajectory diverged, or its derivative: its mass spreads to infinity.

    Raises:
        ValueError: for a bad grid or a `z` that is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> half = lambda y, sigma: 0.5 * y
        >>> x, log_prob = log_density(half, jnp.zeros(1), jnp.asarray([4.0, 0.0]))  # x = 2 z, so N(0, 4)
        >>> float(x[0]), round(float(log_prob), 3)  # -log(2 sqrt(2 pi))
        (0.0, -1.612)
    """
    z, sigmas, _ = check_arguments(z, sigmas, 0.0, None, "ddim")
    shape, d = z.shape, z.size

    def flat_step(y_flat, sigma, sigma_next):
        y = y_flat.reshape(shape)
        c, _ = step_coefficients(sigma, sigma_next, 0.0)
        return ((1 - c) * estimate(denoiser, y, sigma) + c * y).ravel()

    def step(carry, levels):
        y_flat, log_det, infinite = carry
        y_next = _hold_infinite(y_flat, flat_step(y_flat, *levels))
        jacobian = jax.jacfwd(flat_step)(y_flat, *levels)
        infinite = infinite | diverged(y_next) | ~jnp.all(jnp.isfinite(jacobian))
        log_det = log_det + jnp.linalg.slogdet(jnp.where(infinite, jnp.eye(d, dtype=z.dtype), jacobian))[1]
        return (y_next, log_det, infinite), None

    start = (sigmas[0] * z.ravel(), d * jnp.log(sigmas[0]), jnp.zeros((), bool))
    (x_flat, log_det, infinite), _ = jax.lax.scan(step, start, (sigmas[:-1], sigmas[1:]))
    log_normal = -0.5 * jnp.sum(jnp.square(z)) - 0.5 * d * jnp.log(2 * jnp.pi).astype(z.dtype)
    return x_flat.reshape(shape), jnp.where(infinite, -jnp.inf, log_normal - log_det)


def check_arguments(
    z: ArrayLike, sigmas: ArrayLike, eta: Scalar, key: PRNGKeyArray | None, method: Method
) -> tuple[Array, Array, Array | None]:
    """Noise and grid as arrays of one dtype, and the keys of the steps between levels; `None` if there is no noise.

    Args:
        z: noise of one example.
        sigmas: noise grid.
        eta: 0 for no noise on the way.
        key: random key, if there is some.
        method: `"ddim"` or `"heun"`.

    Raises:
        ValueError: for what `sample` rejects.
    """
    z = _checks.example("z", z)
    sigmas = _checks.noise_grid(sigmas).astype(z.dtype)
    levels = _checks.known(sigmas)
    if levels is not None and not (np.isfinite(levels).all() and (levels[:-1] > 0).all()):
        raise ValueError(f"sigmas has levels that the dtype of z, {z.dtype}, takes for infinite or for 0")
    _checks.choice("method", method, ("ddim", "heun"))
    known_eta = _checks.known(eta)
    if known_eta is not None and not 0 <= known_eta <= 1:
        raise ValueError(f"eta must lie in [0, 1], got {eta}")
    deterministic = known_eta is not None and known_eta == 0
    if method == "heun" and not deterministic:
        raise ValueError(f"method 'heun' is deterministic: eta must be 0, got {eta}")
    if deterministic:
        return z, sigmas, None
    if key is None:
        raise ValueError(f"eta = {eta} adds noise at every step: pass key=jax.random.key(seed)")
    return z, sigmas, jax.random.split(key, sigmas.shape[0] - 2)


def estimate(denoiser: Denoiser, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
    """`denoiser(y, sigma)`, of the dtype of `y`.

    Args:
        denoiser: callable on one example.
        y: noisy example.
        sigma: its noise level.

    Raises:
        ValueError: if the denoiser returns anything but one array of the shape of `y`.
    """
    x_hat = denoiser(y, sigma)
    got = getattr(x_hat, "shape", type(x_hat).__name__)
    if got != y.shape:
        raise ValueError(f"denoiser must return one array of the shape of y, {y.shape}, got {got}")
    return jnp.asarray(x_hat, y.dtype)


def _scan(denoiser, z, sigmas, eta, step_keys, method, unroll, remat, *, keep):
    """Run all steps but the last (whose result is the denoiser's own output) from `sigmas[0] * z`."""

    def ddim(y, sigma, sigma_next, step_key):
        c, tau = step_coefficients(sigma, sigma_next, eta)
        y_next = (1 - c) * estimate(denoiser, y, sigma) + c * y
        if step_key is None:
            return y_next
        return y_next + tau * jax.random.normal(step_key, y.shape, y.dtype)

    def heun(y, sigma, sigma_next, _):
        slope = (y - estimate(denoiser, y, sigma)) / sigma
        y_euler = y + (sigma_next - sigma) * slope
        slope_next = (y_euler - estimate(denoiser, y_euler, sigma_next)) / sigma_next
        return y + (sigma_next - sigma) * 0.5 * (slope + slope_next)

    step = ddim if method == "ddim" else heun

    def body(y, inputs):
        return _hold_infinite(y, step(y, *inputs).astype(y.dtype)), y if keep else None

    levels = (sigmas[:-2], sigmas[1:-1], step_keys)
    if remat:
        body = jax.checkpoint(body, prevent_cse=False)  # inside a loop there is nothing to merge with
    return jax.lax.scan(body, sigmas[0] * z, levels, unroll=unroll)


def _hold_infinite(y, y_next):
    """Keep infinite entries of `y` where they are, and turn the NaN of an overflow (inf - inf) into inf."""
    return jnp.where(jnp.isfinite(y), jnp.where(jnp.isnan(y_next), jnp.inf, y_next), y)
