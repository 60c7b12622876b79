"""Realism: do the samples, as a set, look like the data? Distances between sets, with the data's own as the floor.

One report holds several measures because they answer different questions (and none sees copies: a model that copies
the training set is perfectly realistic, so read it beside `novelty`):

| measure                          | in           | sees                                        | perfect |
|----------------------------------|--------------|---------------------------------------------|---------|
| Frechet distance                 | features     | means and covariances                       | 0       |
| kernel distance (KID)            | features     | moments up to order 3                       | 0, also below |
| precision, density               | features     | samples where no data are                   | held out |
| recall, coverage                 | features     | data where no samples are                   | held out |
| covariance error                 | features     | covariances                                 | held out |
| spectrum error                   | pixels       | power per spatial frequency (blur, noise)   | held out |

Every number depends on the count, so samples and held-out images are compared with the same training images, all three
sets subsampled to one count: what held-out images score is what a perfect model would, and is the floor.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Shaped

from jaxcreativity import _checks, _pytree
from jaxcreativity.distributions import gaussian
from jaxcreativity.metrics import features as feature_spaces
from jaxcreativity.metrics import summary
from jaxcreativity.metrics._images import check_pair
from jaxcreativity.metrics.covariances import covariance_error
from jaxcreativity.metrics.fidelity._sets import host_rng
from jaxcreativity.metrics.fidelity.frechet import FrechetDistance, frechet_extrapolated
from jaxcreativity.metrics.fidelity.kernel import KernelDistance, check_subsets, kernel_distance
from jaxcreativity.metrics.fidelity.overlap import Overlap, overlap
from jaxcreativity.metrics.fidelity.spectrum import spectrum_error


class Settings(NamedTuple):
    """What the numbers depend on beside the images.

    Args:
        num_features: of the feature space.
        neighbour: k of the overlap.
        num_subsets: of the kernel distance's interval.
        subset_size: of the same.
        confidence: level of all intervals.
    """

    num_features: int
    neighbour: int
    num_subsets: int
    subset_size: int
    confidence: float


@_pytree.dataclass
class Realism:
    """Distances of a set of images from the training images; made by `realism`.

    Args:
        frechet: Frechet distance of the features.
        kernel: kernel distance of the features.
        overlap: precision, recall, density and coverage of the features.
        covariance_error: of the features.
        spectrum_error: of the images.
        held_out: the same for the held-out images, if there were any: what a perfect model would score.
        features: name of the feature space.
        count: images of every set.
        settings: what else the numbers depend on.
    """

    frechet: FrechetDistance
    kernel: KernelDistance
    overlap: Overlap
    covariance_error: float
    spectrum_error: float
    held_out: "Realism | None"
    features: str = _pytree.static()
    count: int = _pytree.static()
    settings: Settings = _pytree.static()

    def summary(self) -> dict[str, float | int]:
        """Return plain numbers for a table or JSON.

        `count`; `frechet`, `frechet_half_count` (the same at half the count) and `frechet_extrapolated` (to infinite
        count); `kernel_distance`, `kernel_distance_low`, `kernel_distance_high`; `precision`, `recall`, `density`,
        `coverage`, and Wilson intervals of the fractions among them, `..._low` and `..._high`, the other set taken as
        given; `covariance_error`; `spectrum_error`; the `Settings`; and all but these again for the held-out set,
        prefixed with `held_out_`.
        """
        reference = {} if self.held_out is None else self.held_out._measured()
        settings = self.settings._asdict()
        return self._measured() | settings | {f"held_out_{name}": value for name, value in reference.items()}

    def _measured(self):
        intervals = {}
        for name in ("precision", "recall", "coverage"):
            fraction = getattr(self.overlap, name)
            ends = summary.wilson_interval(
                round(fraction * self.count), self.count, confidence=self.settings.confidence
            )
            intervals |= {name: fraction, f"{name}_low": ends[0], f"{name}_high": ends[1]}
        return {
            "count": self.count,
            "frechet": self.frechet.value,
            "frechet_half_count": self.frechet.half_count,
            "frechet_extrapolated": self.frechet.extrapolated,
            "kernel_distance": self.kernel.value,
            "kernel_distance_low": self.kernel.low,
            "kernel_distance_high": self.kernel.high,
            **intervals,
            "density": self.overlap.density,
            "covariance_error": self.covariance_error,
            "spectrum_error": self.spectrum_error,
        }


def check_counts(num_samples: int, num_train: int, num_held_out: int | None, num_features: int) -> int:
    """The count at which `realism` compares, the smallest of the three; call it before a long training.

    Args:
        num_samples: images that will be generated.
        num_train: training images.
        num_held_out: held-out images, if any.
        num_features: of the feature space.

    Raises:
        ValueError: if that count is below `2 (num_features + 1)`, which a covariance of half the images needs.
    """
    counts = {"samples": num_samples, "train": num_train}
    if num_held_out is not None:
        counts["held_out"] = num_held_out
    for name, value in counts.items():
        _checks.positive_int(f"the count of {name}", value)
    needed = 2 * (_checks.positive_int("num_features", num_features) + 1)
    name = min(counts, key=counts.get)
    if counts[name] < needed:
        raise ValueError(
            f"{name} has {counts[name]} images, but {num_features} features need at least {needed} of every set (half "
            "of them must have a regular covariance). Use more images, or fewer features, e.g. "
            f"features.pca(train, {max(1, counts[name] // 2 - 1)})"
        )
    return counts[name]


def realism(
    samples: Shaped[ArrayLike, "m h w c"],
    train: Shaped[ArrayLike, "n h w c"],
    held_out: Shaped[ArrayLike, "t h w c"] | None = None,
    *,
    features: feature_spaces.Features | None = None,
    key: PRNGKeyArray,
    neighbour: int = 5,
    num_subsets: int = 100,
    subset_size: int | None = None,
    confidence: float = 0.95,
) -> Realism:
    """Distances of samples from training images in a feature space, and the held-out set's own as the floor.

    All sets are subsampled at random to the count of the smallest. Looks at values, so not traceable.

    Args:
        samples: generated images `(m, h, w, c)`.
        train: images of the data, `(n, h, w, c)`; not necessarily only those that a denoiser was fitted to.
        held_out: images of the same source that are not among `train`, `(t, h, w, c)`.
        features: images -> `(n, d)`, see `features`; pixels if not given.
        key: random key of the subsampling; the same key chooses the same training and held-out images for every set
            of samples.
        neighbour: k of `precision_recall` and `density_coverage` (Naeem et al. 2020 compare them at 5).
        num_subsets: as for `kernel_distance`.
        subset_size: as for `kernel_distance`.
        confidence: level of all intervals.

    Raises:
        ValueError: for images that do not fit together, too few for the number of features (`check_counts`) or
            neighbours, features that are no finite `(n, d)`, settings out of range; before the measures are computed.

    Example:
        >>> import jax, jaxcreativity as jc
        >>> train, held_out, noise = jax.random.normal(jax.random.key(0), (3, 60, 4, 4, 1))
        >>> found = jc.metrics.realism(2 * noise, train, held_out, key=jax.random.key(1))
        >>> found.frechet.value > found.held_out.frechet.value  # further from the data than new images are
        True
    """
    features = feature_spaces.pixels() if features is None else features
    sets = _check_images(samples, train, held_out)
    num_features = _features(features, "train", sets["train"][:2]).shape[1]
    count = check_counts(len(samples), len(train), None if held_out is None else len(held_out), num_features)
    summary.check_confidence(confidence)
    if _checks.positive_int("neighbour", neighbour) >= count:
        raise ValueError(f"neighbour must be below the common count of images, {count}; got {neighbour}")
    subset_size = check_subsets(num_subsets, subset_size, count)
    settings = Settings(num_features, neighbour, num_subsets, subset_size, float(confidence))
    chosen = {name: _subsample(x, count, host_rng(key, i)) for i, (name, x) in enumerate(sets.items())}
    mapped = {name: _features(features, name, x) for name, x in chosen.items()}
    law = gaussian.fit(mapped["train"])

    def measure(name, reference):
        x, y = mapped[name], mapped["train"]
        return Realism(
            frechet=frechet_extrapolated(x, y),
            kernel=kernel_distance(
                x, y, num_subsets=num_subsets, subset_size=subset_size, key=key, confidence=confidence
            ),
            overlap=overlap(x, y, neighbour),
            covariance_error=float(covariance_error(x, law.covariance)),
            spectrum_error=float(spectrum_error(chosen[name], chosen["train"])),
            held_out=reference,
            features=feature_spaces.name_of(features),
            count=count,
            settings=settings,
        )

    return measure("samples", None if held_out is None else measure("held_out", None))


def _check_images(samples, train, held_out) -> dict[str, Float[Array, "_ h w c"]]:
    _checks.concrete("realism", samples=samples, train=train, held_out=held_out)
    samples, train = check_pair("samples", samples, "train", train)
    _checks.examples("samples", samples[:1], ndim=4)
    sets = {"samples": samples, "train": train}
    # The training images are many and were looked at above.
    return sets if held_out is None else sets | {"held_out": check_pair("held_out", held_out, "train", train[:1])[0]}


def _subsample(x, count, rng):
    return x[np.sort(rng.permutation(len(x))[:count])]


def _features(features, name, images) -> Float[Array, "n d"]:
    out = features(images)
    if not isinstance(out, jax.Array) and not hasattr(out, "__array__"):
        raise ValueError(f"features must return an array (n, d), got {type(out).__name__} for {name}")
    out = jnp.asarray(out)
    if out.ndim != 2 or out.shape[0] != images.shape[0]:
        raise ValueError(
            f"features must map {images.shape[0]} images to ({images.shape[0]}, d), got {out.shape} for {name}"
        )
    return _checks.examples(f"features of {name}", out)
