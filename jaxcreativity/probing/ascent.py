"""Seeds on which two denoisers disagree most."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks
from jaxcreativity.denoiser import Denoiser
from jaxcreativity.probing.discrepancies import discrepancy


def ascent_step(
    theory: Denoiser,
    network: Denoiser,
    z: Float[ArrayLike, "n *shape"],
    sigmas: Float[ArrayLike, " levels"],
    step_size: float = 0.1,
    *,
    unroll: int | bool = 1,
) -> tuple[Float[Array, ""], Float[Array, "n *shape"]]:
    """One step of gradient ascent on `discrepancy` over noises of fixed norm: repeated, it finds the worst seeds.

        z <- |z| m / |m|,   m = z + step_size |z| g / |g|,   g = d discrepancy / d z,   for every seed

    Args:
        theory: callable on one example.
        network: the same.
        z: standard Gaussian noises `(n, *shape)`.
        sigmas: noise grid.
        step_size: length of a step, as a share of the noise's norm.
        unroll: as for `sampling.sample`: `True` on CPUs where a convolutional network is differentiated.

    Returns:
        The mean squared distance of the samples at `z`, and the next noises.

    Raises:
        ValueError: for what `discrepancy` rejects.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcreativity as jc
        >>> sigmas = jc.schedules.grid(jc.schedules.cosine(), 5)
        >>> z = jax.random.normal(jax.random.key(0), (3, 2))
        >>> one = lambda y, sigma: y / (1 + sigma**2)
        >>> other = lambda y, sigma: y * jnp.array([1.0, 0.5]) / (1 + sigma**2)
        >>> for _ in range(3):
        ...     value, z = jc.probing.ascent_step(one, other, z, sigmas)
        >>> z.shape
        (3, 2)
    """
    z = _checks.examples("z", z)
    norm = _norms(z)
    value, gradient = jax.value_and_grad(lambda z: discrepancy(theory, network, z, sigmas, unroll=unroll))(z)
    moved = z + step_size * norm * gradient / jnp.maximum(_norms(gradient), 1e-12)
    return value, moved * norm / _norms(moved)


def _norms(z: Float[Array, "n *shape"]) -> Float[Array, "n *ones"]:
    """Norm of every example, to divide by."""
    return jnp.linalg.norm(z.reshape(len(z), -1), axis=1).reshape(-1, *[1] * (z.ndim - 1))
