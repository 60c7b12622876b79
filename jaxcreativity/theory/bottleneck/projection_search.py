"""The linear encoder with the least denoising loss."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from jaxcreativity import _checks, _pytree
from jaxcreativity.distributions import GaussianMixture
from jaxcreativity.theory.bottleneck.projected import ProjectedDenoiser
from jaxcreativity.theory.bottleneck.projected_mixture import MixtureProjectedDenoiser
from jaxcreativity.theory.bottleneck.projections import flatten, orthonormalise


@_pytree.dataclass
class BestProjection:
    """A bottleneck and its denoising loss, next to those of PCA; made by `best_projection`.

    Losses are `E|x - E[x | W y]|^2` per entry, averaged over the noise levels, both estimated from the same draws,
    which neither the search nor the choice among its results has seen.

    Attributes:
        projection: W, `(r, d)`.
        loss: of W.
        pca_projection: the r leading principal components, `(r, d)`.
        pca_loss: theirs.
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

    The loss depends on the row space only; L-BFGS (`optax.lbfgs`) minimises it over matrices whose rows QR makes
    orthonormal, on draws that stay the same throughout. The first start is PCA, the others are random: PCA may be a
    saddle, or a local minimum. Of the results and PCA itself the one with the least loss on fresh draws is returned, so
    that a search that has fitted its draws (few of them, many entries) does no harm.

    Args:
        target: training examples `(n, *shape)`, whose empirical law is meant, or a Gaussian mixture.
        rank: rows of W, below the number of entries.
        sigmas: positive noise levels that count equally; a final 0 (`schedules.grid`) is left out.
        key: random key.
        num_draws: examples with noise that the loss is averaged over at each level.
        num_steps: steps of L-BFGS per start, one to a few evaluations of loss and gradient each.
        num_starts: PCA, and this many less one random subspaces.

    Raises:
        ValueError: for bad examples or noise levels, `rank` not below the number of entries, counts below 1.
    """
    if not isinstance(target, GaussianMixture):
        target = _checks.examples("target", target, min_count=2)
    for name, value in (("num_draws", num_draws), ("num_steps", num_steps), ("num_starts", num_starts)):
        _checks.positive_int(name, value)
    is_mixture = isinstance(target, GaussianMixture)
    dtype = (target.means if is_mixture else target).dtype
    shape = target.shape if is_mixture else target.shape[1:]
    d = int(np.prod(shape))
    if _checks.positive_int("rank", rank) >= d:
        raise ValueError(f"rank must be below the number of entries, {d}, got {rank}: that is no bottleneck")
    levels = _checks.positive_levels(sigmas, dtype)
    covariance = target.covariance if is_mixture else jnp.cov(flatten(target).T, bias=True)
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
    import optax  # loaded when first used: theory stays light

    draws = _draws(target, key, num_draws)
    solver = optax.lbfgs()

    def loss(rows):
        return _loss(target, *draws, levels, orthonormalise(rows))

    def body(_, carry):
        rows, state = carry
        value, gradient = optax.value_and_grad_from_state(loss)(rows, state=state)
        updates, state = solver.update(gradient, state, rows, value=value, grad=gradient, value_fn=loss)
        return optax.apply_updates(rows, updates), state

    def descend(start):
        rows, _ = jax.lax.fori_loop(0, num_steps, body, (start, solver.init(start)))
        return orthonormalise(rows)

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
