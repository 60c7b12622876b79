"""Denoisers behind a bottleneck: a linear encoder with an unrestricted decoder.

With an encoder W of r orthonormal rows and any decoder the best denoiser is `D(y, sigma) = E[x | W y]`. The code of
the state follows the exact reverse diffusion of the law of W x, and the complement relaxes to its conditional mean:

    generated law (many steps) = law of E[x | W x = z],  z ~ law of W x,

the right marginal along the bottleneck, on the r-dimensional regression manifold. Of a *finite* set with distinct
codes the manifold is the set itself: a narrow encoder alone does not stop memorisation, a small decoder does. The
smallest decoder, weighted atoms, is in `prototypes`. Sources: Levine & Weiss (2026); theory section 4.
"""

from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real

from jaxcreativity import checks, pytree, reduce
from jaxcreativity.data.synthetic import Atoms, GaussianMixture
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.theory.prototypes import PrototypeDenoiser, fit_prototypes, positive_levels

__all__ = [
    "BestProjection",
    "ManifoldLaw",
    "MixtureProjectedDenoiser",
    "ProjectedDenoiser",
    "PrototypeDenoiser",
    "best_projection",
    "fit_prototypes",
    "generated_limit",
    "orthonormalise",
    "regression_manifold",
]


@pytree.dataclass
class ProjectedDenoiser:
    """The posterior mean over a training set, given only the code of the noisy example:

        D(y, sigma) = sum_i w_i x_i,   w = softmax_i(-|W (y - x_i)|^2 / (2 sigma^2))

    Equal codes are averaged, so images that occur more than once count as often as they occur. Which image is nearest
    is told apart down to gaps between codes of about `eps |x|`: with thousands of images and one code number, float32
    does not resolve all of them.

    Args:
        data: `(n, *shape)`, floating point.
        projection: W, `(r, d)` with orthonormal rows, `r < d`, `d` the entries of one example (`orthonormalise`).
        chunk_size: largest number of images compared at once (all by default).

    Raises:
        ValueError: if the data are empty, not floating point or not finite, the projection has another shape, as many
            rows as columns or rows that are not orthonormal, or `chunk_size < 1`.
    """

    data: Float[ArrayLike, "n *shape"]
    projection: Float[ArrayLike, "r d"]
    chunk_size: int | None = pytree.static(default=None)

    def __post_init__(self):
        object.__setattr__(self, "data", checks.examples("data", self.data))
        object.__setattr__(self, "projection", _check_projection(self.projection, self.data[0].size))
        if self.chunk_size is not None:
            checks.positive_int("chunk_size", self.chunk_size)

    @property
    def codes(self) -> Atoms:
        """Law of the code W x: an atom for every image."""
        return Atoms(_dot(_flat(self.data), self.projection.T.astype(self.data.dtype)))

    def __call__(self, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `W y`."""
        y = checks.example("y", y, self.data.shape[1:])
        data, projection = _flat(self.data.astype(y.dtype)), self.projection.astype(y.dtype)
        # Codes count from the middle of the data, for smaller numbers; the middle cancels.
        middle = jax.lax.stop_gradient(data.mean(axis=0))
        codes = _dot(data - middle[None], projection.T)
        code = _dot(projection, y.ravel() - middle)

        def chunk_terms(indices):
            chunk, chunk_codes = (data[indices], codes[indices]) if self.chunk_size else (data, codes)
            return jnp.sum(jnp.square(chunk_codes - code[None]), axis=1), chunk

        temperature = 2 * jnp.square(jnp.asarray(sigma, y.dtype))
        mean = reduce.streaming_mean(chunk_terms, len(data), self.chunk_size or len(data), temperature)
        return mean.reshape(y.shape)


@pytree.dataclass
class MixtureProjectedDenoiser:
    """The posterior mean under a Gaussian mixture, given only the code of the noisy example:

        D(y, sigma) = sum_k r_k (mu_k + C_k W^T (W C_k W^T + sigma^2 I)^-1 W (y - mu_k)),
        r = softmax_k(log weights_k + log N(W y; W mu_k, W C_k W^T + sigma^2 I))

    A code covariance that is singular at `sigma = 0` is raised by a few rounding units.

    Args:
        weights: `(k,)`, positive, summing to one.
        means: `(k, *shape)`.
        covariances: `(k, d, d)`, `d` the entries of one example; symmetric positive semi-definite.
        projection: W, `(r, d)` with orthonormal rows, `r < d` (`orthonormalise`).

    Raises:
        ValueError: for the parameters that `data.synthetic.GaussianMixture` rejects, and if the projection has
            another shape, as many rows as columns or rows that are not orthonormal.
    """

    weights: Real[ArrayLike, " k"]
    means: Real[ArrayLike, "k *shape"]
    covariances: Real[ArrayLike, "k d d"]
    projection: Float[ArrayLike, "r d"]

    def __post_init__(self):
        mixture = GaussianMixture(self.weights, self.means, self.covariances)
        for name in ("weights", "means", "covariances"):
            object.__setattr__(self, name, getattr(mixture, name))
        object.__setattr__(self, "projection", _check_projection(self.projection, self.means[0].size))

    @property
    def codes(self) -> GaussianMixture:
        """Law of the code W x: the projected mixture."""
        means, covariances, _ = self._project(self.means.dtype)
        return GaussianMixture(self.weights, means, 0.5 * (covariances + covariances.swapaxes(1, 2)))

    def __call__(self, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `W y`."""
        y = checks.example("y", y, self.means.shape[1:])
        means, covariances, cross = self._project(y.dtype)
        r = means.shape[1]
        rounding = 8 * jnp.finfo(y.dtype).eps * jnp.trace(covariances, axis1=1, axis2=2)
        floor = rounding + jnp.finfo(y.dtype).tiny ** 0.5
        variance = jnp.maximum(jnp.square(jnp.asarray(sigma, y.dtype)), jax.lax.stop_gradient(floor))
        noisy = covariances + variance[:, None, None] * jnp.eye(r, dtype=y.dtype)[None]
        u = _dot(self.projection.astype(y.dtype), y.ravel())[None] - means
        # Inverted here, not solved with u: a batch of examples then shares the factors, and costs matrix products only.
        root = jnp.linalg.cholesky(noisy)
        eye = jnp.broadcast_to(jnp.eye(r, dtype=y.dtype)[None], root.shape)
        whiten = jax.scipy.linalg.solve_triangular(root, eye, lower=True)
        white = _dot(whiten, u[..., None])[..., 0]
        shift = _dot(_dot(cross, whiten.swapaxes(1, 2)), white[..., None])[..., 0]
        log_determinant = jnp.sum(jnp.log(jnp.diagonal(root, axis1=1, axis2=2)), axis=1)
        log_density = -0.5 * jnp.sum(jnp.square(white), axis=1) - log_determinant
        probabilities = jax.nn.softmax(jnp.log(self.weights.astype(y.dtype)) + log_density)
        return _dot(probabilities, _flat(self.means.astype(y.dtype)) + shift).reshape(y.shape)

    def _project(self, dtype):
        """`W mu_k`, `W C_k W^T` and `C_k W^T`."""
        projection = self.projection.astype(dtype)
        cross = jnp.matmul(self.covariances.astype(dtype), projection.T, precision="highest")
        covariances = jnp.einsum("rd,kds->krs", projection, cross, precision="highest")
        return _dot(_flat(self.means.astype(dtype)), projection.T), covariances, cross


Projected: TypeAlias = ProjectedDenoiser | MixtureProjectedDenoiser


def regression_manifold(denoiser: Projected, z: Float[ArrayLike, " r"]) -> Float[Array, "*shape"]:
    """`E[x | W x = z]`, the example that the many-step limit generates where the code is `z`.

    Of a training set, the image whose code is nearest to `z`.

    Args:
        denoiser: one of the two projected denoisers.
        z: code `(r,)`; batch with `jax.vmap`.

    Raises:
        ValueError: if `z` is not floating point or has another shape.
    """
    z = checks.example("z", z, denoiser.projection.shape[:1])
    shape = denoiser.data.shape[1:] if isinstance(denoiser, ProjectedDenoiser) else denoiser.means.shape[1:]
    # Orthonormal rows: this y has the code z.
    return denoiser(_dot(denoiser.projection.T.astype(z.dtype), z).reshape(shape), 0.0)


@pytree.dataclass
class ManifoldLaw:
    """What a projected denoiser generates in the limit of many steps; made by `generated_limit`."""

    denoiser: Projected
    codes: Atoms | GaussianMixture

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n *shape"]:
        """Draw `n` independent examples: `E[x | W x = z]` at `z` drawn from the law of `W x`."""
        return jax.vmap(partial(regression_manifold, self.denoiser))(self.codes.sample(key, n))

    def log_prob(self, z: Float[ArrayLike, " r"]) -> Float[Array, ""]:
        """Log-density of the generated example's code, in nats; for a training set the log-probability of an atom."""
        return self.codes.log_prob(checks.example("z", z, self.codes.shape))


def generated_limit(denoiser: Projected) -> ManifoldLaw:
    """The law generated by infinitely many deterministic steps from infinite noise to none.

    `E[x | W x = z]` with `z` of the law of `W x`: this module's docstring.
    """
    return ManifoldLaw(denoiser, denoiser.codes)


def orthonormalise(projection: Float[ArrayLike, "r d"]) -> Float[Array, "r d"]:
    """Orthonormal rows with the same span (QR), each turned to the side of the row that it comes from.

    Raises:
        ValueError: if `projection` is not a floating-point `(r, d)` with `r <= d`, or its rows are linearly dependent.
    """
    projection = checks.examples("projection", projection, ndim=2)
    r, d = projection.shape
    if r > d:
        raise ValueError(f"projection (r, d) must have at most as many rows as columns, got {projection.shape}")
    q, triangle = jnp.linalg.qr(projection.T)
    diagonal = jnp.diagonal(triangle)
    known = checks.known(diagonal)
    if known is not None and np.abs(known).min() <= d * np.finfo(known.dtype).eps * np.abs(projection).max():
        raise ValueError(f"projection has linearly dependent rows (diagonal of R: {known}); leave some out")
    return (q * jnp.where(diagonal < 0, -1.0, 1.0).astype(q.dtype)[None]).T


@pytree.dataclass
class BestProjection:
    """A bottleneck and its denoising loss, next to those of PCA; made by `best_projection`.

    Losses are `E|x - E[x | W y]|^2` per entry, averaged over the noise levels, both estimated from the same draws,
    which neither the search nor the choice among its results has seen.
    """

    projection: Float[Array, "r d"]
    loss: Float[Array, ""]
    pca_projection: Float[Array, "r d"]
    pca_loss: Float[Array, ""]


def best_projection(
    target: Float[ArrayLike, "n *shape"] | GaussianMixture,
    rank: int,
    sigmas: Float[ArrayLike, " levels"],
    *,
    key: PRNGKeyArray,
    num_draws: int = 1024,
    num_steps: int = 100,
    num_starts: int = 4,
) -> BestProjection:
    """The encoder W that minimises the denoising loss with an unrestricted decoder.

        loss(W) = mean over levels of E|x - E[x | W (x + sigma noise)]|^2 / d

    Descent along the gradient on the Grassmann manifold (the loss depends on the row space only),
    `W <- QR(W - step G (I - W^T W))`, the step grown where the loss falls and halved where it would not, on draws that
    stay the same throughout. The first start is PCA, the others are random: PCA may be a saddle, or a local minimum. Of
    the results and PCA itself the one with the least loss on fresh draws is returned, so that a search that has fitted
    its draws (few of them, many entries) does no harm.

    Args:
        target: training examples `(n, *shape)`, whose empirical law is meant, or a Gaussian mixture.
        rank: rows of W, below the number of entries.
        sigmas: positive noise levels that count equally; a final 0 (`schedules.grid`) is left out.
        key: random key.
        num_draws: examples with noise that the loss is averaged over at each level.
        num_steps: evaluations of loss and gradient per start.
        num_starts: PCA, and this many less one random subspaces.

    Raises:
        ValueError: for bad examples or noise levels, `rank` not below the number of entries, counts below 1.
    """
    if not isinstance(target, GaussianMixture):
        target = checks.examples("target", target, min_count=2)
    for name, value in (("num_draws", num_draws), ("num_steps", num_steps), ("num_starts", num_starts)):
        checks.positive_int(name, value)
    is_mixture = isinstance(target, GaussianMixture)
    dtype = (target.means if is_mixture else target).dtype
    shape = target.shape if is_mixture else target.shape[1:]
    d = int(np.prod(shape))
    if checks.positive_int("rank", rank) >= d:
        raise ValueError(f"rank must be below the number of entries, {d}, got {rank}: that is no bottleneck")
    levels = positive_levels(sigmas, dtype)
    covariance = target.covariance if is_mixture else jnp.cov(_flat(target).T, bias=True)
    pca = jnp.linalg.eigh(covariance)[1][:, ::-1][:, :rank].T
    search_key, choice_key, test_key, start_key = jax.random.split(key, 4)
    random = jax.random.normal(start_key, (num_starts - 1, rank, d), dtype)
    starts = jnp.concatenate([pca[None], *(orthonormalise(start)[None] for start in random)])
    found = _descend(target, starts, levels, search_key, num_draws, num_steps)
    candidates = jnp.concatenate([pca[None], found])
    best = candidates[jnp.argmin(_losses(target, candidates, levels, choice_key, num_draws))]
    both = _losses(target, jnp.stack([best, pca]), levels, test_key, num_draws)
    return BestProjection(best, both[0], pca, both[1])


@partial(jax.jit, static_argnames=("num_draws", "num_steps"))
def _descend(target, starts, levels, key, num_draws, num_steps):
    draws = _draws(target, key, num_draws)
    value_and_gradient = jax.value_and_grad(lambda projection: _loss(target, *draws, levels, projection))

    def tangent(projection):
        value, gradient = value_and_gradient(projection)
        return value, gradient - _dot(_dot(gradient, projection.T), projection)

    def body(_, state):
        projection, value, direction, step = state
        trial = orthonormalise(projection - step * direction)
        trial_value, trial_direction = tangent(trial)
        falls = trial_value < value
        new = (trial, trial_value, trial_direction, 1.5 * step)
        return jax.tree.map(partial(jnp.where, falls), new, (projection, value, direction, 0.5 * step))

    def descend(start):
        value, direction = tangent(start)
        # The first step turns the subspace by about a tenth of a radian.
        step = 0.1 / jnp.maximum(jnp.linalg.norm(direction), jnp.finfo(value.dtype).tiny ** 0.5)
        return jax.lax.fori_loop(0, num_steps, body, (start, value, direction, step))[0]

    return jax.lax.map(descend, starts)


@partial(jax.jit, static_argnames="num_draws")
def _losses(target, projections, levels, key, num_draws):
    draws = _draws(target, key, num_draws)
    return jax.lax.map(partial(_loss, target, *draws, levels), projections)


def _draws(target, key, num_draws):
    """Examples of the target and unit noise."""
    index_key, noise_key = jax.random.split(key)
    if isinstance(target, GaussianMixture):
        x = target.sample(index_key, num_draws)
    else:
        x = target[jax.random.randint(index_key, (num_draws,), 0, target.shape[0])]
    return x, jax.random.normal(noise_key, x.shape, x.dtype)


def _loss(target, x, noise, levels, projection):
    if isinstance(target, GaussianMixture):
        denoiser = MixtureProjectedDenoiser(target.weights, target.means, target.covariances, projection)
    else:
        denoiser = ProjectedDenoiser(target, projection)

    @jax.checkpoint  # the gradient holds one level's weights at a time
    def level_loss(sigma):
        error = lambda x, noise: jnp.mean(jnp.square(denoiser(x + sigma * noise, sigma) - x))  # noqa: E731
        return jnp.mean(jax.vmap(error)(x, noise))

    return jnp.mean(jax.lax.map(level_loss, levels))


def _check_projection(projection, d):
    projection = jnp.asarray(projection)
    if projection.ndim != 2 or projection.shape[1] != d or not jnp.issubdtype(projection.dtype, jnp.floating):
        raise ValueError(
            f"projection must be floating point (r, {d}), one column per entry of an example, got {projection.dtype} "
            f"{projection.shape}"
        )
    r = projection.shape[0]
    if not 1 <= r < d:
        raise ValueError(f"projection must have at least 1 row and fewer than {d}, the entries of an example; got {r}")
    known = checks.known(projection)
    if known is not None:
        known = known.astype(np.float64)
        error = np.abs(known @ known.T - np.eye(r)).max()
        if not error <= jnp.finfo(projection.dtype).eps ** 0.5:
            raise ValueError(
                f"projection must have orthonormal rows, but W W^T differs from I by up to {error:.3g}; pass "
                "orthonormalise(projection) to use the space that its rows span"
            )
    return projection


def _flat(x):
    return x.reshape(x.shape[0], -1)


def _dot(a, b):
    return jnp.matmul(a, b, precision="highest")
