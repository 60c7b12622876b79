"""Is a generated image a blend of few training images? Distance to their convex hull.

A sample that is no copy may still be an average of training images (a bottleneck of few prototypes makes those). The
distance to the convex hull of its nearest training images, over the distance to the nearest alone, tells: 0 is a
blend (or a copy), 1 means that blending brings nothing. Held-out images say what new ones score.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcreativity import _checks, _pytree
from jaxcreativity.metrics import summary
from jaxcreativity.metrics._images import check_pair, first_occurrences
from jaxcreativity.metrics.memorisation._near_duplicates import distinct_neighbours, near_duplicates
from jaxcreativity.metrics.memorisation._search import search_in


class HullProjection(NamedTuple):
    """Nearest point of a convex hull: its distance, and its weights (non-negative, summing to one)."""

    distance: float
    weights: Float[np.ndarray, " k"]


@_pytree.dataclass
class HullDistance:
    """Distances of `m` samples to the convex hull of their nearest training images; made by `hull_distance`.

    Args:
        distances: to the hull.
        nearest: to the nearest training image.
        held_out: the same for the held-out set.
        num_vertices: training images whose blends count.
        confidence: level of the interval.
        num_duplicates: training images that were dropped, being equal to others.
        duplicate_fraction: below which share of the set's scale training images are near-duplicates, of which only the
            nearest is a vertex; 0 if all may be.
    """

    distances: Float[Array, " m"]
    nearest: Float[Array, " m"]
    held_out: "HullDistance | None"
    num_vertices: int = _pytree.static()
    confidence: float = _pytree.static()
    num_duplicates: int = _pytree.static()
    duplicate_fraction: float = _pytree.static()

    @property
    def ratio(self) -> Float[Array, " m"]:
        """Distance to the hull over distance to the nearest training image, in [0, 1]; 0 for an exact copy."""
        return jnp.where(self.nearest > 0, self.distances / jnp.where(self.nearest > 0, self.nearest, 1.0), 0.0)

    def summary(self) -> dict[str, float | int]:
        """Return plain numbers for a table or JSON.

        `count`, `num_vertices`, `confidence`, `num_duplicates`, `duplicate_fraction`, the named quartiles of
        `hull_ratio` and `hull_distance`, the bootstrap interval of the median ratio `hull_ratio_low`,
        `hull_ratio_high`, and the measured ones again for the held-out set, prefixed with `held_out_`.
        """
        names = ("num_vertices", "confidence", "num_duplicates", "duplicate_fraction")
        settings = {name: getattr(self, name) for name in names}
        reference = {} if self.held_out is None else self.held_out._measured()
        return self._measured() | settings | {f"held_out_{name}": value for name, value in reference.items()}

    def _measured(self):
        low, high = summary.bootstrap_interval(np.asarray(self.ratio), np.median, confidence=self.confidence)
        return {
            "count": self.distances.shape[0],
            **summary.named_quartiles("hull_ratio", self.ratio),
            **summary.named_quartiles("hull_distance", self.distances),
            "hull_ratio_low": low,
            "hull_ratio_high": high,
        }


def project_on_hull(x: Shaped[ArrayLike, " d"], vertices: Shaped[ArrayLike, "k d"]) -> HullProjection:
    """The point of the convex hull of `vertices` that is nearest to `x`, exactly, in float64.

    With P the vertices minus x, the least-norm point of conv P has the weights `u / sum(u)` of the non-negative
    least-squares problem `min |P^T u|^2 + (sum(u) - 1)^2`: at u = s a, `sum(a) = 1`, its minimum over s is
    `|P^T a|^2 / (1 + |P^T a|^2)`, which grows with `|P^T a|`. Solved by SciPy.
    Source: Lawson & Hanson (1974), chapter 23.

    Args:
        x: one flattened example.
        vertices: `(k, d)`, finite.
    """
    from scipy.optimize import nnls

    edges = np.asarray(vertices, np.float64) - np.asarray(x, np.float64)
    scale = np.linalg.norm(edges, axis=1).max()
    if scale == 0:
        return HullProjection(0.0, np.full(len(edges), 1 / len(edges)))
    system = np.concatenate([edges.T / scale, np.ones((1, len(edges)))])
    solution = nnls(system, np.append(np.zeros(edges.shape[1]), 1.0))[0]
    weights = solution / solution.sum()
    return HullProjection(float(np.linalg.norm(weights @ edges)), weights)


def hull_distance(
    samples: Shaped[ArrayLike, "m ..."],
    train: Shaped[ArrayLike, "n ..."],
    test: Shaped[ArrayLike, "t ..."] | None = None,
    *,
    num_vertices: int = 5,
    duplicate_fraction: float = 1 / 3,
    confidence: float = 0.95,
    chunk_size: int = 4096,
) -> HullDistance:
    """Distance of every sample to the convex hull of its `num_vertices` nearest different training images.

    Few vertices are meant: the hull of the whole training set holds new images, too. Equal training images (in every
    entry) are one vertex, `num_duplicates` counts those that were dropped; and so are near-duplicates, as in `novelty`.

    Looks at values, so not traceable.

    Args:
        samples: generated images `(m, *shape)`.
        train: training images `(n, *shape)`.
        test: held-out images `(t, *shape)`.
        num_vertices: nearest training images whose blends count.
        duplicate_fraction: of the set's scale, below which training images are near-duplicates, in [0, 1); 0: none are.
        confidence: level of the bootstrap interval of the median ratio.
        chunk_size: as for `nearest_neighbours`.

    Raises:
        ValueError: for the input that `nearest_neighbours` rejects, more vertices than different training images,
            `duplicate_fraction` outside [0, 1), `confidence` outside (0, 1), traced arrays.

    Example:
        >>> import jax.numpy as jnp
        >>> train = jnp.asarray([[0.0, 0.0], [2.0, 0.0], [0.0, 5.0]])
        >>> found = hull_distance(jnp.asarray([[1.0, 0.5]]), train, num_vertices=2)
        >>> found.distances.tolist()  # half of one and half of the other is (1, 0)
        [0.5]
    """
    samples, train = check_pair("samples", samples, "train", train)
    _checks.concrete("hull_distance", samples=samples, train=train)
    summary.check_confidence(confidence)
    first = first_occurrences(train)
    distinct = train[first]
    if _checks.positive_int("num_vertices", num_vertices) > len(distinct):
        raise ValueError(
            f"num_vertices = {num_vertices} needs at least as many distinct training images, got {len(distinct)}"
        )
    search = search_in(distinct, chunk_size=chunk_size)
    among = near_duplicates(distinct, search, duplicate_fraction) if len(distinct) > 1 else None
    flat_train = np.asarray(distinct).reshape(len(distinct), -1)

    def measure(x, held_out):
        found = distinct_neighbours(x, num_vertices, among, repeat=True) if among else search(x, 1)
        vertices = flat_train[np.asarray(found.indices)]
        flat = np.asarray(x).reshape(len(x), -1)
        distances = [project_on_hull(one, few).distance for one, few in zip(flat, vertices, strict=True)]
        # Rounding of the nearest distance may be below that of the exact projection.
        nearest = np.asarray(found.distances[:, 0])
        distances = np.minimum(np.asarray(distances, nearest.dtype), nearest)
        return HullDistance(
            jnp.asarray(distances), jnp.asarray(nearest), held_out, int(num_vertices), float(confidence),
            len(train) - len(first), float(duplicate_fraction),
        )  # fmt: skip

    return measure(samples, None if test is None else measure(check_pair("test", test, "train", train)[0], None))
