"""The Jacobian of a denoiser, `J = dD(y, sigma) / dy`, matrix-free, and what can be read off it.

Of the Bayes-optimal denoiser it is the posterior covariance over `sigma^2` (second-order Tweedie formula), hence
symmetric and positive semi-definite; its eigenvectors are the basis in which the denoiser shrinks (for networks:
harmonic bases, Kadkhodaie et al. 2024, section 3). A symmetric Jacobian everywhere means that the score is a gradient.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax.experimental.sparse.linalg import lobpcg_standard
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from jaxcreativity import _checks, _pytree
from jaxcreativity.denoiser import Denoiser, NoiseLevel


@_pytree.dataclass
class Jacobian:
    """`dD(y, sigma) / dy` at one point, `d x d` for examples of d entries; made by `jacobian`.

    Attributes:
        denoiser: callable on one example.
        y: noisy example.
        sigma: noise level.
    """

    denoiser: Denoiser
    y: Float[Array, "*shape"]
    sigma: Float[Array, ""]

    def matvec(self, v: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """`J v`: how the output moves when the input moves along `v`."""
        return jax.jvp(self._function, (self.y,), (v,))[1]

    def rmatvec(self, u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """`J^T u`: the gradient of `<u, D>` with respect to the input."""
        return jax.vjp(self._function, self.y)[1](u)[0]

    def dense(self, batch_size: int = 256) -> Float[Array, "d d"]:
        """The matrix, by d products (`batch_size` at once)."""
        unit = lambda i: jnp.zeros(self.y.size, self.y.dtype).at[i].set(1).reshape(self.y.shape)  # noqa: E731
        columns = jax.lax.map(lambda i: self.matvec(unit(i)).ravel(), jnp.arange(self.y.size), batch_size=batch_size)
        return columns.T

    def _function(self, y):
        return self.denoiser(y, self.sigma)


@_pytree.dataclass
class Spectrum:
    """Leading singular triples or eigenpairs, in descending order; vectors have the shape of an example.

    Attributes:
        values: singular values, or eigenvalues of the symmetric part.
        inputs: right singular vectors (directions of the input), or eigenvectors.
        outputs: left singular vectors, or the eigenvectors again.
    """

    values: Float[Array, " k"]
    inputs: Float[Array, "k *shape"]
    outputs: Float[Array, "k *shape"]


def jacobian(denoiser: Denoiser, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel) -> Jacobian:
    """The Jacobian of a denoiser at one point, as an operator.

    Args:
        denoiser: callable on one example.
        y: noisy example.
        sigma: noise level, positive.

    Raises:
        ValueError: if `y` is not floating point, `sigma` is negative or NaN, the output has another shape, or the
            denoiser has no derivative.

    Example:
        >>> operator = jacobian(lambda y, sigma: y / (1 + sigma**2), jnp.ones(3), 1.0)
        >>> operator.matvec(jnp.asarray([1.0, 0.0, 0.0])).tolist(), float(trace(operator)), float(asymmetry(operator))
        ([0.5, 0.0, 0.0], 1.5, 0.0)
    """
    y = _checks.example("y", y)
    sigma = _checks.noise_level(sigma)
    operator = Jacobian(denoiser, y, jnp.asarray(sigma, y.dtype))
    check_differentiable(lambda y: denoiser(y, operator.sigma), y, type(denoiser).__name__)
    return operator


def spectrum(
    operator: Jacobian,
    k: int,
    *,
    part: Literal["singular", "symmetric"] = "singular",
    key: PRNGKeyArray | None = None,
    num_iterations: int = 100,
) -> Spectrum:
    """The k leading singular triples of J, or eigenpairs of its symmetric part `(J + J^T) / 2`.

    By LOBPCG (Knyazev 2001; on `J^T J` for singular values, so those below the square root of the rounding error times
    the largest are noise), or by a dense decomposition where `5 k` reaches the number of entries.

    Args:
        operator: made by `jacobian`.
        k: number of pairs.
        part: `"singular"` or `"symmetric"`.
        key: of the random start; `jax.random.key(0)` by default.
        num_iterations: at most.

    Raises:
        ValueError: for a bad `part`, or k not between 1 and the number of entries.

    Example:
        >>> scales = jnp.asarray([3.0, 1.0, 2.0])
        >>> found = spectrum(jacobian(lambda y, sigma: scales * y, jnp.ones(3), 1.0), 2)
        >>> found.values.tolist(), jnp.abs(found.inputs[0]).tolist()
        ([3.0, 2.0], [1.0, 0.0, 0.0])
    """
    _checks.choice("part", part, ("singular", "symmetric"))
    shape, d = operator.y.shape, operator.y.size
    if _checks.positive_int("k", k) > d:
        raise ValueError(f"k must be at most the number of entries, {d}, got {k}")
    if 5 * k >= d:
        matrix = operator.dense()
        if part == "singular":
            outputs, values, inputs = jnp.linalg.svd(matrix)
            outputs = outputs.T
        else:
            values, vectors = jnp.linalg.eigh(0.5 * (matrix + matrix.T))
            values, inputs = values[::-1], vectors.T[::-1]
            outputs = inputs
        return Spectrum(values[:k], *(v[:k].reshape(k, *shape) for v in (inputs, outputs)))

    def product(v):
        v = v.reshape(shape)
        if part == "symmetric":
            return 0.5 * (operator.matvec(v) + operator.rmatvec(v)).ravel()
        return operator.rmatvec(operator.matvec(v)).ravel()

    start = jax.random.normal(jax.random.key(0) if key is None else key, (d, k), operator.y.dtype)
    columns = jax.vmap(product, in_axes=1, out_axes=1)
    # LOBPCG broadcasts ranks inside.
    with jax.numpy_rank_promotion("allow"):
        values, vectors, _ = lobpcg_standard(columns, start, m=num_iterations)
    inputs = vectors.T.reshape(k, *shape)
    if part == "symmetric":
        return Spectrum(values, inputs, inputs)
    values = jnp.sqrt(jnp.maximum(values, 0.0))
    outputs = jax.vmap(operator.matvec)(inputs)
    scale = jnp.where(values > 0, values, 1.0).reshape(-1, *[1] * len(shape))
    return Spectrum(values, inputs, outputs / scale)


def asymmetry(operator: Jacobian) -> Float[Array, ""]:
    """`|J - J^T| / |J|` in Frobenius norms: 0 if the score is a gradient there, sqrt(2) for unrelated entries."""
    matrix = operator.dense()
    norm = jnp.linalg.norm(matrix)
    return jnp.linalg.norm(matrix - matrix.T) / jnp.where(norm > 0, norm, 1.0)


def trace(operator: Jacobian) -> Float[Array, ""]:
    """`tr J`: of the optimal denoiser the expected squared error over `sigma^2`, the number of free directions."""
    return jnp.trace(operator.dense())


def effective_rank(values: Float[ArrayLike, " k"]) -> Float[Array, ""]:
    """`exp` of the entropy of singular values divided by their sum (Roy & Vetterli 2007): k for k equal ones.

    Args:
        values: all singular values, e.g. of `spectrum` with k the number of entries.

    Example:
        >>> round(float(effective_rank(jnp.asarray([2.0, 2.0, 0.0]))), 6)
        2.0
    """
    values = jnp.asarray(values)
    share = values / jnp.maximum(values.sum(), jnp.finfo(values.dtype).tiny)
    return jnp.exp(-jnp.sum(jnp.where(share > 0, share * jnp.log(jnp.where(share > 0, share, 1.0)), 0.0)))


def check_differentiable(function: Callable, y: Array, name: str) -> None:
    """Raise unless `function` maps `y` to its own shape and has forward and reverse derivatives; runs nothing.

    Args:
        function: of one array.
        y: where.
        name: of the function, for the message.

    Raises:
        ValueError: if not.
    """

    def both(y):
        value, pullback = jax.vjp(function, y)
        return value, pullback(value), jax.jvp(function, (y,), (y,))[1]

    try:
        value, *_ = jax.eval_shape(both, y)
    except (TypeError, NotImplementedError, ValueError) as error:
        raise ValueError(f"{name} cannot be differentiated at an example of shape {y.shape}: {error}") from error
    if value.shape != y.shape:
        raise ValueError(f"{name} must return its input's shape {y.shape}, got {value.shape}")
