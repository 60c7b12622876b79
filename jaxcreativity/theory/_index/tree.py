"""A tree of halvings in the leading principal coordinates, which puts keys that are near each other together."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Tree(NamedTuple):
    """Halvings of a sample of keys, each at the median of the coordinate that varies most there.

    Attributes:
        mean: of the keys.
        basis: leading principal directions, one a column.
        coordinate: which coordinate each node compares; nodes in the order of a heap, from 1.
        threshold: what it is compared with.
    """

    mean: Float[np.ndarray, " d"]
    basis: Float[np.ndarray, "d p"]
    coordinate: Int[np.ndarray, " nodes"]
    threshold: Float[np.ndarray, " nodes"]

    @classmethod
    def fit(
        cls, sample: Float[np.ndarray, "m d"], num_coordinates: int, depth: int, points: Callable[["Tree"], np.ndarray]
    ) -> "Tree":
        """Tree of a sample of keys.

        Args:
            sample: keys, whose principal directions are taken.
            num_coordinates: p, at most d.
            depth: number of halvings; the tree has 2^depth leaves.
            points: the leading principal coordinates of the keys that are halved, given the tree without its halvings.
        """
        mean = sample.mean(axis=0)
        covariance = np.cov(sample.T.astype(np.float64), ddof=0).reshape(len(mean), -1)
        basis = np.linalg.eigh(covariance)[1][:, ::-1][:, :num_coordinates].astype(sample.dtype)
        tree = cls(mean, basis, np.zeros(2**depth, np.int32), np.zeros(2**depth, sample.dtype))
        parts = [points(tree)] if depth else []
        for level in range(depth):
            parts = [half for i, part in enumerate(parts) for half in tree._halve(2**level + i, part)]
        return tree

    def _halve(self, node, points):
        if len(points) < 2:  # more leaves than points: whatever comes here goes left
            self.threshold[node] = np.inf
            return points, points[:0]
        self.coordinate[node] = j = points.var(axis=0).argmax()
        middle = len(points) // 2
        order = np.argpartition(points[:, j], middle)
        self.threshold[node] = points[order[middle], j]
        return points[order[:middle]], points[order[middle:]]

    def leaves(self, points: Float[np.ndarray, "m leading"]) -> Int[np.ndarray, " m"]:
        """The leaf of each key, from 0.

        Args:
            points: leading principal coordinates of the keys, of `(key - mean) basis`.
        """
        node, at, num_leaves = np.ones(len(points), np.int32), np.arange(len(points)), len(self.threshold)
        for _ in range(num_leaves.bit_length() - 1):
            node = 2 * node + (points[at, self.coordinate[node]] >= self.threshold[node])
        return node - num_leaves
