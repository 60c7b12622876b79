"""Novelty: how far is a generated image from the training set, and is it a copy?

Being near the training set is not copying it: in dense regions everything is near something. The ratio test
compares the distance to the nearest training image with that to the k-th nearest (docs/measures.md): a copy
of one image is much closer to it than to any other, `d_1 / d_k << 1`, whereas a new image has several at
about the same distance, `d_1 / d_k` near 1. The same numbers for a held-out set say what a genuinely new
image scores.

Distances are Euclidean over all entries of an image, in the units of the data.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Shaped

from jaxcreativity import _checks, _pytree
from jaxcreativity.metrics import summary
from jaxcreativity.metrics._images import check_pair, first_occurrences
from jaxcreativity.metrics.memorisation.neighbours import nearest_neighbours


@_pytree.dataclass
class Novelty:
    """Distances of `m` samples to their nearest training images, and what follows; made by `novelty`.

    Args:
        distances: to the nearest `neighbour` distinct training images, nearest first.
        indices: their positions in the training set (the first of a group of duplicates).
        held_out: the same for the held-out images, if there were any.
        threshold: ratio below which a sample counts as a copy.
        confidence: level of the interval of the memorised fraction.
        num_train: training images, duplicates included.
        num_duplicates: training images that were dropped, being equal to others.
    """

    distances: Float[Array, "m neighbour"]
    indices: Int[Array, "m neighbour"]
    held_out: "Novelty | None"
    threshold: float = _pytree.static()
    confidence: float = _pytree.static()
    num_train: int = _pytree.static()
    num_duplicates: int = _pytree.static()

    @property
    def ratio(self) -> Float[Array, " m"]:
        """Distance to the nearest over distance to the `neighbour`-th nearest, in [0, 1]."""
        return _ratio(self.distances)

    @property
    def memorised(self) -> Bool[Array, " m"]:
        """Which samples count as copies of their nearest training image: `ratio < threshold`."""
        return self.ratio < self.threshold

    @property
    def memorised_fraction(self) -> Float[Array, ""]:
        """Fraction of the samples that count as copies."""
        return jnp.mean(self.memorised.astype(self.distances.dtype))

    @property
    def memorised_interval(self) -> tuple[float, float]:
        """Wilson score interval of the memorised fraction at `confidence`, the samples taken as independent."""
        memorised = self.memorised
        return summary.wilson_interval(int(memorised.sum()), memorised.shape[0], confidence=self.confidence)

    @property
    def ratio_quartiles(self) -> Float[Array, "3"]:
        """Lower quartile, median, upper quartile of `ratio`."""
        return summary.quartiles(self.ratio)

    def summary(self) -> dict[str, float | int]:
        """Return plain numbers for a table or JSON.

        `count`; the named quartiles of `ratio` and of `distance` (to the nearest); `memorised_fraction`,
        `memorised_low`, `memorised_high`; the settings `neighbour`, `threshold`, `confidence`; `num_train`,
        `num_duplicates`; and the first three groups again for the held-out set, prefixed with `held_out_`.
        """
        numbers = self._measured()
        settings = {
            "neighbour": self.distances.shape[1],
            "threshold": self.threshold,
            "confidence": self.confidence,
            "num_train": self.num_train,
            "num_duplicates": self.num_duplicates,
        }
        reference = {} if self.held_out is None else self.held_out._measured()
        return numbers | settings | {f"held_out_{name}": value for name, value in reference.items()}

    def _measured(self) -> dict[str, float | int]:
        low, high = self.memorised_interval
        return {
            "count": self.distances.shape[0],
            **summary.named_quartiles("ratio", self.ratio),
            **summary.named_quartiles("distance", self.distances[:, 0]),
            "memorised_fraction": float(self.memorised_fraction),
            "memorised_low": low,
            "memorised_high": high,
        }


def neighbour_ratio(
    samples: Shaped[ArrayLike, "m ..."], data: Shaped[ArrayLike, "n ..."], k: int = 2, *, chunk_size: int = 4096
) -> Float[Array, " m"]:
    """Distance to the nearest image over the distance to the k-th nearest, `d_1 / d_k` in [0, 1], per sample.

    An exact copy has ratio 0, also where `d_k = 0` because the data hold it more than once (0 / 0 is taken as
    0). A *near* copy of an image that the data hold k times has ratio 1, though: `novelty` removes duplicates
    first.

    Traceable, and differentiable where `d_1 > 0`.

    Args:
        samples: generated images `(m, *shape)`.
        data: `(n, *shape)`.
        k: number of the neighbour to compare with.
        chunk_size: as for `nearest_neighbours`.

    Raises:
        ValueError: if `k < 2`, or for the input that `nearest_neighbours` rejects.
    """
    if _checks.positive_int("k", k) < 2:
        raise ValueError("k must be at least 2: the ratio of the nearest distance to itself says nothing")
    return _ratio(nearest_neighbours(samples, data, k, chunk_size=chunk_size).distances)


def novelty(
    samples: Shaped[ArrayLike, "m ..."],
    train: Shaped[ArrayLike, "n ..."],
    test: Shaped[ArrayLike, "t ..."] | None = None,
    *,
    neighbour: int = 2,
    threshold: float = 1 / 3,
    confidence: float = 0.95,
    chunk_size: int = 4096,
) -> Novelty:
    """Nearest training images of every sample, the ratio test for copies, and the held-out set's own numbers.

    A sample counts as memorised if `d_1 / d_neighbour < threshold` (Yoon et al. 2023: second neighbour, 1/3).
    A denoiser that generalises scores like the held-out set, not a fraction of exactly 0.

    Duplicate training images (equal in every entry) are one image here: with both kept, a slightly noisy copy
    of a duplicated image would have `d_1 = d_2` and pass as new. `num_duplicates` counts those that were
    dropped.

    Looks at values, so not traceable; `neighbour_ratio` is.

    Args:
        samples: generated images `(m, *shape)`.
        train: the images that the denoiser was fitted to, `(n, *shape)`.
        test: images of the same source that it has not seen, `(t, *shape)`; a few hundred are enough.
        neighbour: k of the ratio.
        threshold: ratio below which a sample counts as a copy.
        confidence: level of the interval of the memorised fraction.
        chunk_size: as for `nearest_neighbours`.

    Raises:
        ValueError: for the input that `nearest_neighbours` rejects, `neighbour < 2` or above the number of
            distinct training images, `threshold` outside (0, 1], `confidence` outside (0, 1), traced arrays.

    Example:
        >>> import jax, jaxcreativity as jc
        >>> train, test, new = jax.random.normal(jax.random.key(0), (3, 50, 64))
        >>> half_copied = train.at[25:].set(new[25:])
        >>> found = jc.metrics.novelty(half_copied, train, test)
        >>> float(found.memorised_fraction), [round(end, 2) for end in found.memorised_interval]
        (0.5, [0.37, 0.63])
        >>> float(found.held_out.memorised_fraction)
        0.0
    """
    samples, train = check_pair("samples", samples, "train", train)
    _checks.concrete("novelty, unlike neighbour_ratio,", samples=samples, train=train)
    if _checks.positive_int("neighbour", neighbour) < 2:
        raise ValueError(f"neighbour must be at least 2, got {neighbour}")
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is a ratio of distances in (0, 1], got {threshold}")
    summary.check_confidence(confidence)
    first = first_occurrences(train)
    duplicates = train.shape[0] - first.size
    if neighbour > first.size:
        raise ValueError(
            f"neighbour = {neighbour} needs at least as many distinct training images, got {first.size} "
            f"({train.shape[0]} less {duplicates} duplicates)"
        )
    distinct = train[first] if duplicates else train

    def measure(x, held_out):
        nearest = nearest_neighbours(x, distinct, neighbour, chunk_size=chunk_size)
        return Novelty(
            distances=nearest.distances,
            indices=jnp.asarray(first, nearest.indices.dtype)[nearest.indices],
            held_out=held_out,
            threshold=float(threshold),
            confidence=float(confidence),
            num_train=train.shape[0],
            num_duplicates=duplicates,
        )

    reference = None if test is None else measure(check_pair("test", test, "train", train)[0], None)
    return measure(samples, reference)


def _ratio(distances):
    nearest, farthest = distances[:, 0], distances[:, -1]
    return jnp.where(farthest > 0, nearest / jnp.where(farthest > 0, farthest, 1.0), 0.0)
