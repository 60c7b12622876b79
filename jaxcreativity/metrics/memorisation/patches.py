"""Are local patches copied while the whole is new? Distances to the nearest training patch at several patch sizes.

A patch mosaic is new as an image, although each of its patches is some training image's. Small patches of really new
images resemble training patches, too, so only the comparison with held-out images tells: `nearer` is the probability
that a patch of a sample is nearer to the training patches than a patch of a held-out image is (ties count half),

    1: copied, as no held-out image's patches are    1/2: as new as held-out images    0: unlike anything in the data

read as a function of the patch size, and of the whole image (`image_nearer`). It is the Mann-Whitney statistic over the
number of pairs. Source: Mann & Whitney (1947); the question is that of Kamb & Ganguli (2025).
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcreativity import _checks, _pytree
from jaxcreativity.metrics import summary
from jaxcreativity.metrics._images import check_pair
from jaxcreativity.metrics.memorisation._patch_distances import PatchDistances, patch_distances, with_contrast
from jaxcreativity.metrics.memorisation.neighbours import nearest_neighbours


@_pytree.dataclass
class PatchNovelty:
    """Distances at every patch size, of samples and of held-out images; made by `patch_novelty`.

    Args:
        samples: by patch size; size 0 stands for the whole image.
        held_out: the same of the held-out images.
        same_location: whether patches were compared at their own place only.
        min_contrast: below which patches were left out.
        confidence: level of the intervals.
    """

    samples: dict[int, PatchDistances]
    held_out: dict[int, PatchDistances]
    same_location: bool = _pytree.static()
    min_contrast: float = _pytree.static()
    confidence: float = _pytree.static()

    def nearer(self, patch_size: int) -> tuple[float, float, float] | None:
        """The probability of this module's docstring and its interval, `(value, low, high)`.

        The interval is Gaussian, cut to [0, 1], with the standard error of the statistic for patches that come in
        independent images, of samples and of held-out images alike; at 0 and 1 it shrinks to a point, and with only
        one image it is all of [0, 1]. `None` if no patch of any sample has enough contrast.

        Source: Obuchowski (1997).
        """
        found, reference = self.samples[patch_size], self.held_out[patch_size]
        if not found.distances.size:
            return None
        scores = 1 - _share_below(found.distances, reference.distances)
        value = float(scores.mean())
        variance = _variance(scores, found.owners)
        variance += _variance(_share_below(reference.distances, found.distances), reference.owners)
        half_width = summary.half_width(variance, self.confidence)
        return value, max(0.0, value - half_width), min(1.0, value + half_width)

    def summary(self) -> dict[str, float | int | None]:
        """Return plain numbers for a table or JSON, `None` where no patch has enough contrast.

        For every patch size k: `patch{k}_nearer`, `patch{k}_nearer_low`, `patch{k}_nearer_high`, `patch{k}_share` (of
        the patches that have enough contrast) and the named quartiles of `patch{k}_distance`; the same for the whole
        image, `image_...`; `count`; the settings `same_location`, `min_contrast`, `confidence`; and count, shares and
        quartiles again for the held-out set, prefixed with `held_out_`.
        """
        numbers = {name: getattr(self, name) for name in ("same_location", "min_contrast", "confidence")}
        for size in self.samples:
            name = f"patch{size}" if size else "image"
            ends = self.nearer(size) or (None,) * 3
            numbers |= dict(zip((f"{name}_nearer{end}" for end in ("", "_low", "_high")), ends, strict=True))
        reference = {f"held_out_{name}": value for name, value in _measured(self.held_out).items()}
        return _measured(self.samples) | numbers | reference


def patch_novelty(
    samples: Shaped[ArrayLike, "m h w c"],
    train: Shaped[ArrayLike, "n h w c"],
    held_out: Shaped[ArrayLike, "t h w c"],
    *,
    patch_sizes: tuple[int, ...] = (3, 5, 7),
    same_location: bool = False,
    min_contrast: float = 0.1,
    confidence: float = 0.95,
) -> PatchNovelty:
    """Nearest training patch of every k x k patch of samples and of held-out images, for several k.

    Flat patches (background) are left out: all images share them. The training images are those whose patches could
    have been copied, i.e. all that the denoiser was fitted to; the held-out set is needed, since the distances alone
    say little. Looks at values, so not traceable.

    Memory beyond the images: about `65536 d` numbers for d entries of a patch, the query patches, and what
    `nearest_neighbours` needs; nothing of size (queries x training patches). Time: about 1e8
    pairs of query and training patch per second of one CPU core (64 + 64 images against 1 000 of 14 x 14: 34 s).

    Args:
        samples: generated images `(m, h, w, c)`.
        train: training images `(n, h, w, c)`.
        held_out: images of the same source that are not among `train`, `(t, h, w, c)`; a few dozen are enough.
        patch_sizes: sides k of the patches, odd, at most that of the image.
        same_location: whether a patch is compared only with training patches at its own place.
        min_contrast: patches whose entries' standard deviation (about each channel's mean in the patch) is below this
            share of that of all training entries are left out; 0 keeps all.
        confidence: level of the intervals.

    Raises:
        ValueError: for images that do not fit together, patch sizes that are even, too large, repeated or none, a
            negative `min_contrast`, held-out images without contrast, `confidence` outside (0, 1), traced arrays.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> train, held_out = rng.uniform(-1, 1, (20, 6, 6, 1)), rng.uniform(-1, 1, (8, 6, 6, 1))
        >>> found = patch_novelty(train[:8], train, held_out, patch_sizes=(3,))  # samples that are copies
        >>> found.nearer(3)[0]
        1.0
    """
    summary.check_confidence(confidence)
    _checks.concrete("patch_novelty", samples=samples, train=train, held_out=held_out)
    for name, x in (("samples", samples), ("train", train), ("held_out", held_out)):
        _checks.examples(name, x, ndim=4)
    samples, train = check_pair("samples", samples, "train", train)
    held_out = check_pair("held_out", held_out, "train", train)[0].astype(train.dtype)
    if not patch_sizes or len(set(patch_sizes)) < len(patch_sizes):
        raise ValueError(f"patch_sizes must be different sizes, at least one, got {patch_sizes}")
    for size in patch_sizes:
        _checks.odd_size("patch_sizes", size, min(train.shape[1:3]))
    if not min_contrast >= 0:
        raise ValueError(f"min_contrast must be at least 0, got {min_contrast}")
    threshold = float(min_contrast * jnp.std(train))
    queries = {name: {k: with_contrast(x, k, threshold) for k in patch_sizes} for name, x in
               (("samples", samples), ("held_out", held_out))}  # fmt: skip
    for size, (_, share) in queries["held_out"].items():
        if not share:
            raise ValueError(f"no {size} x {size} patch of held_out has min_contrast = {min_contrast}; lower it")

    def measure(name, x):
        sizes = {k: patch_distances(x, train, k, *queries[name][k], same_location) for k in patch_sizes}
        whole = nearest_neighbours(x, train).distances[:, 0] / x[0].size ** 0.5
        return sizes | {0: PatchDistances(np.asarray(whole), np.arange(len(x)), len(x), 1.0)}

    return PatchNovelty(
        measure("samples", samples), measure("held_out", held_out), bool(same_location), float(min_contrast),
        float(confidence),
    )  # fmt: skip


def _share_below(values, reference):
    """Share of the reference that is below each value, equal ones counting half."""
    ordered = np.sort(reference)
    return sum(np.searchsorted(ordered, values, side) for side in ("left", "right")) / (2 * ordered.size)


def _variance(scores, owners):
    """Variance of the mean of scores that are independent between owners only."""
    groups, inverse = np.unique(owners, return_inverse=True)
    if groups.size < 2:
        return np.inf
    deviations = np.bincount(inverse, scores - scores.mean())
    return groups.size / (groups.size - 1) * float(np.square(deviations).sum()) / scores.size**2


def _measured(sizes):
    numbers = {"count": sizes[0].num_images}
    for size, found in sizes.items():
        name = f"patch{size}" if size else "image"
        quartiles = dict.fromkeys(f"{name}_distance_{at}" for at in ("q25", "median", "q75"))
        if found.distances.size:
            quartiles = summary.named_quartiles(f"{name}_distance", found.distances)
        numbers |= {f"{name}_share": found.share, **quartiles}
    return numbers
