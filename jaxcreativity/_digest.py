"""Short hashes by which data are known again."""

import hashlib
from typing import Any

import jax
import numpy as np


def digest(tree: Any) -> str:
    """Short hash of the entries, shapes and types of an array, or of a pytree of arrays and random keys.

    Args:
        tree: for example the data of a run.
    """
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        is_key = isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
        found.update(f"{array.shape} {array.dtype}".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return found.hexdigest()[:16]
