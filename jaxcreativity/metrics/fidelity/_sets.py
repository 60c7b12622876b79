"""Two sets of feature vectors, checked and in float64: what the distances between sets have in common.

These distances are small differences of large sums (of traces, of kernel values), so they are computed in float64,
whatever the dtype of the features and also where JAX's own float64 is off.
"""

import jax
import numpy as np
from jaxtyping import ArrayLike, Float64, PRNGKeyArray, Shaped

from jaxcreativity import _checks
from jaxcreativity.metrics._images import check_pair


def feature_pair(
    name_a: str, a: Shaped[ArrayLike, "..."], name_b: str, b: Shaped[ArrayLike, "..."], *, min_count: int = 1
) -> tuple[Float64[np.ndarray, "n d"], Float64[np.ndarray, "m d"]]:
    """Two sets `(n, d)` and `(m, d)` on the host, in float64.

    Args:
        name_a: of the first, for messages.
        a: `(n, d)`.
        name_b: of the second.
        b: `(m, d)`.
        min_count: smallest n and m that are accepted.

    Raises:
        ValueError: for traced arrays, shapes that do not fit, fewer than `min_count` vectors, integer, NaN, infinite
            or overflowing entries.
    """
    _checks.concrete("a distance between sets", **{name_a: a, name_b: b})
    for name, x in ((name_a, a), (name_b, b)):
        _checks.examples(name, x, ndim=2, min_count=min_count)
    check_pair(name_a, a, name_b, b)
    return np.asarray(a, np.float64), np.asarray(b, np.float64)


def host_rng(key: PRNGKeyArray, *path: int) -> np.random.Generator:
    """A NumPy generator that depends on a JAX key, and on the numbers of `path`: draws on the host compile nothing."""
    return np.random.default_rng([*np.asarray(jax.random.key_data(key)).tolist(), *path])
