"""Sets of images before they are compared: checked, in one dtype, without repetitions."""

import hashlib

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcreativity import _checks


def check_pair(
    name_a: str, a: Shaped[ArrayLike, "m ..."], name_b: str, b: Shaped[ArrayLike, "n ..."]
) -> tuple[Float[Array, "m ..."], Float[Array, "n ..."]]:
    """Two sets of images in one dtype, after checking that they can be compared.

    Args:
        name_a: of the first set, for the message.
        a: `(m, *shape)`.
        name_b: of the second.
        b: `(n, *shape)`.

    Raises:
        ValueError: if either is no set of examples, their shapes differ, or squared distances would overflow.
    """
    a, b = _checks.examples(name_a, a), _checks.examples(name_b, b)
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(
            f"images of {name_a} and {name_b} must have the same shape, got {a.shape[1:]} and {b.shape[1:]}"
        )
    dtype = jnp.result_type(a, b)
    # Four squared differences of this size still add up to a finite number.
    limit = float(jnp.finfo(dtype).max / (16 * a[0].size)) ** 0.5
    for name, x in ((name_a, a), (name_b, b)):
        values = _checks.known(x)
        if values is not None and (largest := float(np.abs(values).max())) > limit:
            raise ValueError(
                f"{name} has entries up to {largest:.3g}, whose squared distances overflow in {dtype}; leave such "
                "samples out and count them, or use float64"
            )
    return a.astype(dtype), b.astype(dtype)


def first_occurrences(x: Shaped[ArrayLike, "n ..."]) -> np.ndarray:
    """Ascending indices of the images that equal no earlier one, entry by entry."""
    rows = np.ascontiguousarray(np.asarray(x).reshape(len(x), -1)) + 0.0  # turns -0 into 0
    # Digests: sorting images of CIFAR-10 themselves takes six times as long and a copy of them.
    digests = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
    return np.sort(np.unique(np.asarray(digests), return_index=True)[1])
