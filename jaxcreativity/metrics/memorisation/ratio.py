"""Novelty: how far is a generated image from the training set, and is it a copy?

Being near the training set is not copying it: in dense regions everything is near something. The ratio test
compares the distance to the nearest training image with that to the k-th nearest (docs/measures.md): a copy
of one image is much closer to it than to any other, `d_1 / d_k << 1`, whereas a new image has several at
about the same distance, `d_1 / d_k` near 1. The same numbers for a held-out set say what a genuinely new
image scores.

Near-duplicates in the training set would hide copies, since a copy is as near to its image's twin: the k-th nearest is
counted among images that are different.

Distances are Euclidean over all entries of an image, in the units of the data.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Shaped

from jaxcreativity import _checks, _pytree
from jaxcreativity.metrics import summary
from jaxcreativity.metrics._images import check_pair, first_occurrences
from jaxcreativity.metrics.memorisation._near_duplicates import distinct_neighbours, near_duplicates
from jaxcreativity.metrics.memorisation._search import search_in
from jaxcreativity.metrics.memorisation.neighbours import nearest_neighbours

RATIOS = ("distinct", "published")
"""Neighbours that the ratio counts: images that are different, or all."""


@_pytree.dataclass
class Novelty:
    """Distances of `m` samples to their nearest training images, and what follows; made by `novelty`.

    Args:
        distances: to the nearest `neighbour` different training images, nearest first.
        indices: their positions in the training set (the first of a group of equal images).
        held_out: the same for the held-out images, if there were any.
        threshold: ratio below which a sample counts as a copy.
        confidence: level of the interval of the memorised fraction.
        num_train: training images, duplicates included.
        num_duplicates: training images that were dropped, being equal to others.
        duplicate_fraction: below which share of the scale training images are near-duplicates; 0 if all were counted.
        neighbour_scale: distance of a training image to the nearest that is different; `None` if all were counted.
        near_duplicate_share: of the training images that have a near-duplicate; `None` if all were counted. Like the
            scale from 512 images at most, spread over the set.
    """

    distances: Float[Array, "m neighbour"]
    indices: Int[Array, "m neighbour"]
    held_out: "Novelty | None"
    threshold: float = _pytree.static()
    confidence: float = _pytree.static()
    num_train: int = _pytree.static()
    num_duplicates: int = _pytree.static()
    duplicate_fraction: float = _pytree.static()
    neighbour_scale: float | None = _pytree.static()
    near_duplicate_share: float | None = _pytree.static()

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

    def memorised_at(self, thresholds: Sequence[float] | Float[ArrayLike, " t"]) -> Float[Array, " t"]:
        """Fraction of the samples with a ratio below each of some thresholds: how much hangs on the choice.

        Copies are told from new images where this curve is flat.
        """
        return jnp.mean(self.ratio[None] < jnp.asarray(thresholds, self.ratio.dtype)[:, None], axis=1)

    @property
    def memorised_interval(self) -> tuple[float, float]:
        """Wilson score interval of the memorised fraction at `confidence`, the samples taken as independent."""
        memorised = self.memorised
        return summary.wilson_interval(int(memorised.sum()), memorised.shape[0], confidence=self.confidence)

    @property
    def ratio_quartiles(self) -> Float[Array, "3"]:
        """Lower quartile, median, upper quartile of `ratio`."""
        return summary.quartiles(self.ratio)

    def summary(self) -> dict[str, float | int | None]:
        """Return plain numbers for a table or JSON.

        `count`; the named quartiles of `ratio` and of `distance` (to the nearest); `memorised_fraction`,
        `memorised_low`, `memorised_high`, and the fraction at other thresholds, `memorised_at_half` and
        `memorised_at_double`; the settings `neighbour`, `threshold`, `confidence`, `duplicate_fraction`; `num_train`,
        `num_duplicates`, `near_duplicate_share`, `neighbour_scale`; and the first three groups again for the held-out
        set, prefixed with `held_out_`.
        """
        numbers = self._measured()
        settings = {
            "neighbour": self.distances.shape[1],
            "threshold": self.threshold,
            "confidence": self.confidence,
            "num_train": self.num_train,
            "num_duplicates": self.num_duplicates,
            "duplicate_fraction": self.duplicate_fraction,
            "neighbour_scale": self.neighbour_scale,
            "near_duplicate_share": self.near_duplicate_share,
        }
        reference = {} if self.held_out is None else self.held_out._measured()
        return numbers | settings | {f"held_out_{name}": value for name, value in reference.items()}

    def _measured(self) -> dict[str, float | int]:
        low, high = self.memorised_interval
        half, double = self.memorised_at((self.threshold / 2, self.threshold * 2)).tolist()
        return {
            "count": self.distances.shape[0],
            **summary.named_quartiles("ratio", self.ratio),
            **summary.named_quartiles("distance", self.distances[:, 0]),
            "memorised_fraction": float(self.memorised_fraction),
            "memorised_low": low,
            "memorised_high": high,
            "memorised_at_half": half,
            "memorised_at_double": double,
        }


def neighbour_ratio(
    samples: Shaped[ArrayLike, "m ..."], data: Shaped[ArrayLike, "n ..."], k: int = 2, *, chunk_size: int = 4096
) -> Float[Array, " m"]:
    """Distance to the nearest image over the distance to the k-th nearest, `d_1 / d_k` in [0, 1], per sample.

    The published ratio, which counts every image: an exact copy has ratio 0, also where `d_k = 0` because the data
    hold it more than once (0 / 0 is taken as 0), but a *near* copy of an image that the data hold k times, exactly or
    nearly, has ratio 1. `novelty` counts duplicates once.

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
    ratio: str = "distinct",
    duplicate_fraction: float = 1 / 3,
    shifts: int = 0,
    flips: bool = False,
    confidence: float = 0.95,
    chunk_size: int = 4096,
) -> Novelty:
    """Nearest training images of every sample, the ratio test for copies, and the held-out set's own numbers.

    A sample counts as memorised if `d_1 / d_neighbour < threshold` (Yoon et al. 2023: second neighbour, 1/3).
    A denoiser that generalises scores like the held-out set, not a fraction of exactly 0.

    With `ratio="distinct"` the neighbours are different images: the second is the nearest training image that is no
    near-duplicate of the first, the third no near-duplicate of those two, and so on. Training images are
    near-duplicates if they are nearer to each other than `duplicate_fraction` times the scale `neighbour_scale`: the
    distance of a training image to the nearest that is different, in the median over the set, or where the set is
    denser, the distance to the image's own 16th neighbour (the square root of n-th below n = 256). So up to 16 images
    can be near-duplicates of each other; a tight cluster of more is structure of the set. The scale is the largest
    at which half of the images have no neighbour between `duplicate_fraction` times the scale and the scale.
    With `ratio="published"` every training image counts, and copies of near-duplicates pass as new. Equal training
    images (in every entry) are one image in both; `num_duplicates` counts those that were dropped.

    With `shifts` or `flips`, the distance is the smallest over all shifts of the sample by so many pixels along each
    axis, and over its mirror image: a moved copy is a copy. A shifted image is compared where it overlaps the other
    (root mean square difference there, times the square root of the number of entries of an image), so how its border
    was filled does not matter. Takes `(2 shifts + 1)^2` times as long, twice that with flips.

    Looks at values, so not traceable; `neighbour_ratio` is. Memory beyond the arguments: that of `nearest_neighbours`
    for 17 neighbours; with shifts, also one copy of the training set.

    Args:
        samples: generated images `(m, *shape)`.
        train: the images that the denoiser was fitted to, `(n, *shape)`.
        test: images of the same source that it has not seen, `(t, *shape)`; a few hundred are enough.
        neighbour: k of the ratio.
        threshold: ratio below which a sample counts as a copy; `Novelty.memorised_at` shows others.
        ratio: of the distances to `"distinct"` neighbours, or the `"published"` one.
        duplicate_fraction: of the scale, below which training images are near-duplicates, in [0, 1).
        shifts: largest shift that is searched, in pixels; less than half an image.
        flips: whether mirror images (left to right) are searched.
        confidence: level of the interval of the memorised fraction.
        chunk_size: as for `nearest_neighbours`.

    Raises:
        ValueError: for the input that `nearest_neighbours` rejects, `neighbour < 2` or above the number of
            different training images, `threshold` outside (0, 1], `duplicate_fraction` outside [0, 1), shifts or flips
            of what is no image, `confidence` outside (0, 1), traced arrays.

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
    _checks.choice("ratio", ratio, RATIOS)
    first = first_occurrences(train)
    duplicates = train.shape[0] - first.size
    if neighbour > first.size:
        raise ValueError(
            f"neighbour = {neighbour} needs at least as many distinct training images, got {first.size} "
            f"({train.shape[0]} less {duplicates} duplicates)"
        )
    distinct = train[first] if duplicates else train
    search = search_in(distinct, shifts=shifts, flips=flips, chunk_size=chunk_size)
    among = near_duplicates(distinct, search, duplicate_fraction) if ratio == "distinct" else None

    def measure(x, held_out):
        nearest = distinct_neighbours(x, neighbour, among) if among else search(x, neighbour)
        return Novelty(
            distances=nearest.distances,
            indices=jnp.asarray(first, nearest.indices.dtype)[nearest.indices],
            held_out=held_out,
            threshold=float(threshold),
            confidence=float(confidence),
            num_train=train.shape[0],
            num_duplicates=duplicates,
            duplicate_fraction=among.fraction if among else 0.0,
            neighbour_scale=among.scale if among else None,
            near_duplicate_share=among.share if among else None,
        )

    reference = None if test is None else measure(check_pair("test", test, "train", train)[0], None)
    return measure(samples, reference)


def _ratio(distances):
    nearest, farthest = distances[:, 0], distances[:, -1]
    return jnp.where(farthest > 0, nearest / jnp.where(farthest > 0, farthest, 1.0), 0.0)
