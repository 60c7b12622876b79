"""Multivariate Hermite polynomials of images and patches, for closed forms and networks alike."""

import functools
import itertools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class MultiIndices:
    """All multi-indices of total degree up to p in d coordinates, ordered by degree, as static index arrays.

    `blocks[q - 1] = (coordinate, parent, power, grandparent)` builds the features of degree q: multi-index a is
    `parent + e_i`, i its last coordinate, `power` the exponent of i in the parent, `grandparent = parent - e_i`.
    `lowered[i, m] = (a, a_i, index of a - e_i)` lists, for each coordinate, every a with a_i > 0.
    """

    def __init__(self, d: int, degree: int):
        tuples = [()]
        for q in range(1, degree + 1):
            tuples += itertools.combinations_with_replacement(range(d), q)
        position = {t: k for k, t in enumerate(tuples)}
        self.count = len(tuples)
        self.blocks = []
        for q in range(1, degree + 1):
            rows = []
            for t in itertools.combinations_with_replacement(range(d), q):
                power = t[:-1].count(t[-1])
                grandparent = position[t[:-2]] if power else 0
                rows.append((t[-1], position[t[:-1]], power, grandparent))
            self.blocks.append(tuple(np.array(column) for column in zip(*rows, strict=True)))
        per_coordinate = [[] for _ in range(d)]
        for k, t in enumerate(tuples):
            for i in set(t):
                at = t.index(i)
                per_coordinate[i].append((k, t.count(i), position[t[:at] + t[at + 1 :]]))
        self.index, self.power, self.lowered = np.moveaxis(np.array(per_coordinate), 2, 0)


@functools.cache
def multi_indices(d: int, degree: int) -> MultiIndices:
    """`MultiIndices(d, degree)`, built once."""
    return MultiIndices(d, degree)


def hermite_features(v: Float[Array, "n d"], variance: Float[Array, " d"], degree: int) -> Float[Array, "n f"]:
    """`He_a(v; variance)` for all multi-indices of degree up to p, by `He_{k+1} = v He_k - k variance He_{k-1}`.

    NumPy's `hermite_e` has one variable, and JAX no Hermite polynomials that it could trace.

    Args:
        v: points.
        variance: of the noise, one for each coordinate.
        degree: p.
    """
    features = jnp.ones((v.shape[0], 1), v.dtype)
    for coordinate, parent, power, grandparent in multi_indices(v.shape[1], degree).blocks:
        step = v[:, coordinate] * features[:, parent]
        step = step - (power * variance[coordinate])[None] * features[:, grandparent]
        features = jnp.concatenate([features, step], axis=1)
    return features


def patches(x: Float[Array, "n *shape"], kernel_size: int | None) -> Float[Array, "n positions m"]:
    """The k x k patches around every pixel of circular images, flattened; whole examples for `None`."""
    if kernel_size is None:
        return x.reshape(x.shape[0], 1, -1)
    reach = range(-(kernel_size // 2), kernel_size // 2 + 1)
    shifted = [jnp.roll(x, (-i, -j), axis=(1, 2)) for i in reach for j in reach]
    return jnp.stack(shifted, axis=3).reshape(x.shape[0], x.shape[1] * x.shape[2], -1)


def num_features(d: int, degree: int) -> int:
    """`C(d + p, p)`: number of monomials of total degree up to p in d variables."""
    return math.comb(d + degree, degree)


def norms(d: int, degree: int) -> Float[np.ndarray, " f"]:
    """Standard deviation of He_a(v; 1) for standard Gaussian v, `sqrt(prod_i a_i!)`."""
    values = [1.0]
    for _, parent, power, _ in multi_indices(d, degree).blocks:
        values = np.concatenate([values, np.asarray(values)[parent] * np.sqrt(power + 1)])
    return values
