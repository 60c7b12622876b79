"""The Jacobian of a generated example with respect to its noise: the local geometry of what is generated."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from jaxcreativity import _checks, _pytree, sampling
from jaxcreativity.denoiser import Denoiser
from jaxcreativity.probing.jacobians import check_differentiable


@_pytree.dataclass
class SampleJacobian:
    """`dx / dz` of the deterministic sampler at one noise; made by `sample_jacobian`.

    Attributes:
        x: the generated example.
        matrix: `(d, d)`, rows the entries of `x`, columns those of `z`.
        singular_values: descending. To first order a ball of noise becomes an ellipsoid with these half-axes.
        outputs: `(d, *shape)`, the left singular vectors: directions along which `x` can be moved.
        inputs: `(d, *shape)`, the right singular vectors: the directions of noise that move it.
        log_prob: log-density of the generated law at `x`, in nats, where the sampler is injective
            (`sampling.log_density`).
    """

    x: Float[Array, "*shape"]
    matrix: Float[Array, "d d"]
    singular_values: Float[Array, " d"]
    outputs: Float[Array, "d *shape"]
    inputs: Float[Array, "d *shape"]
    log_prob: Float[Array, ""]

    def dimension(self, threshold: float = 0.01) -> Int[Array, ""]:
        """Local dimension of the generated manifold: how many singular values exceed `threshold` of the largest."""
        return jnp.sum(self.singular_values > threshold * self.singular_values[0])


def sample_jacobian(
    denoiser: Denoiser, z: Float[ArrayLike, "*shape"], sigmas: Float[ArrayLike, " levels"]
) -> SampleJacobian:
    """The Jacobian of `sampling.sample` with eta = 0, its singular values, and the density of the generated law.

    Of the linear theory it is `U diag(G sigma_max) U^T`, G the product of the steps' gains (docs/theory/linear.md).
    Costs d derivatives through the whole trajectory twice; batch with `jax.lax.map`, not `jax.vmap`, where memory is
    short.

    Args:
        denoiser: callable on one example.
        z: standard Gaussian noise of the example's shape.
        sigmas: noise grid.

    Raises:
        ValueError: for a bad grid, or if the denoiser has no derivative.

    Example:
        >>> import jaxcreativity as jc
        >>> line = lambda y, sigma: jnp.stack([y[0] / (1 + sigma**2), 0 * y[1]])  # generates the law of one number
        >>> sigmas = jc.schedules.grid(jc.schedules.log_linear(0.01, 10.0), 20)
        >>> int(sample_jacobian(line, jnp.ones(2), sigmas).dimension())
        1
    """
    z = _checks.example("z", z)
    sigmas = _checks.noise_grid(sigmas).astype(z.dtype)
    check_differentiable(lambda y: denoiser(y, sigmas[0]), z, type(denoiser).__name__)
    run = lambda flat: sampling.sample(denoiser, flat.reshape(z.shape), sigmas).ravel()  # noqa: E731
    matrix = jax.jacfwd(run)(z.ravel())
    outputs, values, inputs = jnp.linalg.svd(matrix)
    x, log_prob = sampling.log_density(denoiser, z, sigmas)
    return SampleJacobian(x, matrix, values, outputs.T.reshape(-1, *z.shape), inputs.reshape(-1, *z.shape), log_prob)
