"""Linear encoders: matrices W of orthonormal rows, from examples as vectors to their codes."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks


def orthonormalise(projection: Float[ArrayLike, "r d"]) -> Float[Array, "r d"]:
    """Orthonormal rows with the same span (QR), each turned to the side of the row that it comes from.

    Raises:
        ValueError: if `projection` is not a floating-point `(r, d)` with `r <= d`, or its rows are linearly dependent.

    Example:
        >>> import jax.numpy as jnp
        >>> [round(float(x), 3) for x in orthonormalise(jnp.asarray([[3.0, -4.0]]))[0]]
        [0.6, -0.8]
    """
    projection = _checks.examples("projection", projection, ndim=2)
    r, d = projection.shape
    if r > d:
        raise ValueError(f"projection (r, d) must have at most as many rows as columns, got {projection.shape}")
    q, triangle = jnp.linalg.qr(projection.T)
    diagonal = jnp.diagonal(triangle)
    known = _checks.known(diagonal)
    if known is not None and np.abs(known).min() <= d * np.finfo(known.dtype).eps * np.abs(projection).max():
        raise ValueError(f"projection has linearly dependent rows (diagonal of R: {known}); leave some out")
    return (q * jnp.where(diagonal < 0, -1.0, 1.0).astype(q.dtype)[None]).T


def check_projection(projection: Float[ArrayLike, "r d"], d: int) -> Float[Array, "r d"]:
    """Return `projection` as an array if it is an encoder with a bottleneck: orthonormal rows, fewer than columns.

    Raises:
        ValueError: if it is not (values are only looked at outside traced code).
    """
    projection = jnp.asarray(projection)
    if projection.ndim != 2 or projection.shape[1] != d or not jnp.issubdtype(projection.dtype, jnp.floating):
        raise ValueError(
            f"projection must be floating point (r, {d}), one column per entry of an example, got {projection.dtype} "
            f"{projection.shape}"
        )
    r = projection.shape[0]
    if not 1 <= r < d:
        raise ValueError(f"projection must have at least 1 row and fewer than {d}, the entries of an example; got {r}")
    known = _checks.known(projection)
    if known is not None:
        known = known.astype(np.float64)
        error = np.abs(known @ known.T - np.eye(r)).max()
        if not error <= jnp.finfo(projection.dtype).eps ** 0.5:
            raise ValueError(
                f"projection must have orthonormal rows, but W W^T differs from I by up to {error:.3g}; pass "
                "orthonormalise(projection) to use the space that its rows span"
            )
    return projection


def flatten(x: Float[Array, "n *shape"]) -> Float[Array, "n d"]:
    """Examples as rows."""
    return x.reshape(x.shape[0], -1)
