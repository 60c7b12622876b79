"""Atoms that have a law's moments: Gauss quadrature."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks
from jaxcreativity.theory.polynomial import _moments


def gauss_nodes(
    moments: Float[ArrayLike, " orders"], count: int
) -> tuple[Float[Array, " count"], Float[Array, " count"]]:
    """The `count` atoms with the moments of order 0 ... 2 count - 1 of a law.

    Nodes are the eigenvalues of the tridiagonal matrix J of the law's orthogonal polynomials, weights the squares of
    the first entries of its unit eigenvectors (Golub & Welsch 1969; docs/theory/polynomial.md). A denoiser of degree p
    sees moments up to 2p: the atoms and the law are the same to it as long as `p < count`, and not from `p = count` on.

    Args:
        moments: raw moments `E[x^k]`, k = 0 ... 2 count or more.
        count: number of atoms.

    Returns:
        Nodes in increasing order, and weights, which add up to 1.

    Raises:
        ValueError: if these are not the moments of a distribution of more than `count` atoms, or too few.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcreativity.theory import polynomial
        >>> nodes, weights = polynomial.gauss_nodes(jnp.array([1.0, 0.0, 1.0, 0.0, 3.0]), 2)  # of the Gaussian
        >>> print(nodes.round(3), weights.round(3))
        [-1.  1.] [0.5 0.5]
    """
    _checks.positive_int("count", count)
    law = _moments.from_moments(jnp.asarray(moments), count)
    off = jnp.diag(law.beta[: count - 1], 1)
    values, vectors = jnp.linalg.eigh(jnp.diag(law.alpha[:count]) + off + off.T)
    return law.mean + law.scale * values, vectors[0] ** 2
