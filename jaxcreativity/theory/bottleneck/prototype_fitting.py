"""How prototypes are fitted to a training set: k-means, and gradient descent on the denoising loss from there."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, PRNGKeyArray

from jaxcreativity import _checks
from jaxcreativity.theory.bottleneck.prototypes import PrototypeDenoiser


def fit_prototypes(
    x: Float[ArrayLike, "n *shape"],
    num_prototypes: int,
    key: PRNGKeyArray,
    *,
    sigmas: Float[ArrayLike, " levels"] | None = None,
    num_steps: int = 2000,
    batch_size: int = 256,
    learning_rate: float = 1e-2,
) -> PrototypeDenoiser:
    """The K prototypes that the denoising loss on `x` selects.

    At small noise `D` is the nearest centre, so the loss is the k-means distortion: without `sigmas`, the centres are
    those of k-means (Lloyd's algorithm, k-means++ starts) and the weights the shares of the clusters. With `sigmas`,
    Adam starts there and minimises the mean over these levels of `E|x - D(x + sigma noise, sigma)|^2` in centres and
    weights.

    Duplicate images count as often as they occur, but k-means has no more centres than there are distinct images.

    Args:
        x: training examples.
        num_prototypes: K, at most the number of distinct examples.
        key: random key, of the k-means starts and of the draws.
        sigmas: positive noise levels; a final 0 (`schedules.grid`) is left out.
        num_steps: steps of Adam (cosine decay to 0).
        batch_size: examples per step, each at every level.
        learning_rate: first step size, in the units of `x`.

    Raises:
        ImportError: if scikit-learn is not installed.
        ValueError: for bad examples, noise levels or counts, more prototypes than distinct examples, or clusters that
            k-means leaves empty.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.asarray([[0.0, 0.0], [0.0, 2.0], [9.0, 9.0], [9.0, 9.0], [9.0, 9.0]])
        >>> fitted = fit_prototypes(x, 2, jax.random.key(0))
        >>> for weight, centre in sorted(zip(fitted.weights.tolist(), fitted.centres.tolist(), strict=True)):
        ...     print(round(weight, 3), centre)
        0.4 [0.0, 1.0]
        0.6 [9.0, 9.0]
    """
    _checks.needs("theory", "sklearn")
    from sklearn.cluster import KMeans  # loaded when first used: theory stays light

    x = _checks.examples("x", x)
    k = _checks.positive_int("num_prototypes", num_prototypes)
    if not _checks.is_concrete(x):
        raise ValueError("fit_prototypes runs k-means outside JAX: call it outside jit and grad")
    flat = np.asarray(x).reshape(x.shape[0], -1)
    distinct = len(np.unique(flat, axis=0))
    if k > distinct:
        raise ValueError(
            f"num_prototypes = {k} exceeds the {distinct} distinct examples ({len(flat)} less {len(flat) - distinct} "
            "duplicates): clusters would stay empty"
        )
    seed = int(jax.random.randint(jax.random.fold_in(key, 0), (), 0, np.iinfo(np.int32).max))
    labels = KMeans(k, n_init=4, random_state=seed).fit(flat).labels_
    counts = np.bincount(labels, minlength=k)
    if (counts == 0).any():
        raise ValueError(
            f"k-means left {(counts == 0).sum()} of {k} clusters empty; use fewer prototypes or remove near-duplicates"
        )
    sums = np.zeros((k, flat.shape[1]))
    np.add.at(sums, labels, flat)
    centres = (sums / counts[:, None]).astype(flat.dtype).reshape(k, *x.shape[1:])
    start = PrototypeDenoiser(jnp.asarray(centres), jnp.asarray(np.log(counts / len(flat)), x.dtype))
    if sigmas is None:
        return start
    levels = _checks.positive_levels(sigmas, x.dtype)
    for name, value in (("num_steps", num_steps), ("batch_size", batch_size)):
        _checks.positive_int(name, value)
    return _minimise(start, x, levels, jax.random.fold_in(key, 1), num_steps, batch_size, learning_rate)


@partial(jax.jit, static_argnames=("num_steps", "batch_size"))
def _minimise(start, x, levels, key, num_steps, batch_size, learning_rate):
    import optax

    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps))

    def loss(denoiser, key):
        index_key, noise_key = jax.random.split(key)
        chosen = x[jax.random.randint(index_key, (batch_size,), 0, x.shape[0])]
        noise = jax.random.normal(noise_key, (levels.shape[0], *chosen.shape), x.dtype)
        error = lambda x, noise, sigma: jnp.mean(jnp.square(denoiser(x + sigma * noise, sigma) - x))  # noqa: E731
        per_level = jax.vmap(jax.vmap(error, (0, 0, None)), (None, 0, 0))
        return jnp.mean(per_level(chosen, noise, levels))

    def body(step, state):
        denoiser, opt_state = state
        gradient = jax.grad(loss)(denoiser, jax.random.fold_in(key, step))
        updates, opt_state = optimizer.update(gradient, opt_state, denoiser)
        return optax.apply_updates(denoiser, updates), opt_state

    return jax.lax.fori_loop(0, num_steps, body, (start, optimizer.init(start)))[0]
