"""Which training images a generated example owes what to."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks, sampling
from jaxcreativity.denoiser import Denoiser

WeightedTheory = Callable[[Float[Array, " n"]], Denoiser]


def influence(
    theory: WeightedTheory,
    z: Float[ArrayLike, "*shape"],
    sigmas: Float[ArrayLike, " levels"],
    num_examples: int,
    *,
    measure: Callable[[Float[Array, "*shape"]], Float[Array, ""]] | None = None,
) -> Float[Array, "n *value"]:
    """Derivative of a generated example with respect to how much each training image counts.

        influence[i] = d sample / d w_i   at   w = (1, ..., 1)

    To first order, the sample changes by `-influence[i]` if image i is left out, and by `-sum_i influence[i]` over
    several (influence functions: Cook & Weisberg 1982; Koh & Liang 2017). Since only ratios of weights matter, all
    influences add up to 0.

    Args:
        theory: weights -> denoiser, a closed form of the weighted training set: `lambda w: linear.fit(x, "full",
            weights=w)`, `lambda w: LocalDenoiser(x, ..., weights=w)`, or `lambda w: PrototypeDenoiser(x, jnp.log(w))`,
            the empirical denoiser of weighted images.
        z: standard Gaussian noise of the example's shape.
        sigmas: noise grid.
        num_examples: n, the number of training images.
        measure: a scalar of the sample. By default the sample itself, at the cost of one reverse pass per entry.

    Returns:
        `(n,)`, or `(n, *shape)` without a measure.

    Raises:
        ValueError: for a bad grid, `num_examples < 1`, or a measure that is not scalar.

    Example:
        >>> import jaxcreativity as jc
        >>> x = jnp.asarray([[0.0], [3.0], [6.0]])
        >>> theory = lambda weights: lambda y, sigma: jnp.sum(weights[:, None] * x, axis=0) / weights.sum()  # the mean
        >>> sigmas = jc.schedules.grid(jc.schedules.cosine(), 2)
        >>> abs(influence(theory, jnp.ones(1), sigmas, 3)[:, 0]).round(3).tolist()
        [1.0, 0.0, 1.0]
    """
    z = _checks.example("z", z)
    weights = jnp.ones(_checks.positive_int("num_examples", num_examples), z.dtype)

    def value(weights):
        x = sampling.sample(theory(weights), z, sigmas)
        return x.ravel() if measure is None else measure(x)

    out, pullback = jax.vjp(value, weights)
    if measure is not None:
        if out.shape != ():
            raise ValueError(f"measure must return a scalar, got shape {out.shape}; reduce it, e.g. by jnp.mean")
        return pullback(jnp.ones_like(out))[0]
    rows = jax.lax.map(lambda unit: pullback(unit)[0], jnp.eye(out.size, dtype=out.dtype))
    return rows.T.reshape(-1, *z.shape)
