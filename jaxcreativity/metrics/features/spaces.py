"""Feature spaces, in which sets of images are compared: callables `(n, h, w, c) images -> (n, d)` with a `name`.

| space                       | d         | needs                      |
|-----------------------------|-----------|----------------------------|
| `pixels()`                  | h w c     | nothing                    |
| `pca(train, rank)`          | rank      | training images            |
| `classifier(images, ...)`   | 64        | labels, a minute or a few  |
| `inception(weights)`        | 2048      | the user's weights         |

Any other such callable will do, too.
"""

import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity.distributions import gaussian

Features = Callable[[Array], Array]


@_pytree.dataclass
class Pixels:
    """Images -> their entries; made by `pixels`."""

    name: str = _pytree.static(default="pixels")

    def __call__(self, images: Shaped[ArrayLike, "n h w c"]) -> Float[Array, "n d"]:
        """Flatten images.

        Raises:
            ValueError: for anything but floating-point images `(n, h, w, c)`.
        """
        images = _checks.examples("images", images, ndim=4)
        return images.reshape(images.shape[0], -1)


@_pytree.dataclass
class PCA:
    """Images -> coordinates along the leading principal axes of a training set, not whitened; made by `pca`.

    Args:
        mean: of the training set.
        axes: the leading ones, in columns.
        explained: share of the training set's variance.
    """

    mean: Float[Array, "h w c"]
    axes: Float[Array, "d rank"]
    explained: float = _pytree.static()

    @property
    def name(self) -> str:
        """What the features are, for a table."""
        return f"PCA (rank {self.axes.shape[1]}, {self.explained:.1%} of the variance)"

    def __call__(self, images: Shaped[ArrayLike, "n h w c"]) -> Float[Array, "n rank"]:
        """Coordinates of images.

        Raises:
            ValueError: if the images differ in shape from those that the axes were fitted to.
        """
        images = _checks.examples("images", images, ndim=4)
        if images.shape[1:] != self.mean.shape:
            raise ValueError(f"these principal axes are of images {self.mean.shape}, got {images.shape[1:]}")
        centred = (images - self.mean[None]).reshape(images.shape[0], -1)
        return dot(centred, self.axes.astype(centred.dtype))


def pixels() -> Pixels:
    """The entries of the image themselves."""
    return Pixels()


def pca(train: Shaped[ArrayLike, "n h w c"], rank: int) -> PCA:
    """Coordinates along the `rank` leading eigenvectors of the covariance of `train`.

    Raises:
        ValueError: if `train` is not a set of images, or `rank` exceeds the number of directions in which it varies at
            most, `min(n - 1, h w c)`.

    Example:
        >>> import jax
        >>> train = jax.random.normal(jax.random.key(0), (50, 4, 4, 1))
        >>> features = pca(train, 10)
        >>> features(train).shape, features.name[:13]
        ((50, 10), 'PCA (rank 10,')
    """
    train = _checks.examples("train", train, ndim=4, min_count=2)
    largest = min(train.shape[0] - 1, train[0].size)
    if _checks.positive_int("rank", rank) > largest:
        raise ValueError(f"rank must be at most {largest} for {train.shape[0]} images {train.shape[1:]}, got {rank}")
    law = gaussian.fit(train)
    values, vectors = np.linalg.eigh(np.asarray(law.covariance, np.float64))
    explained = float(values[-rank:].sum() / values.sum()) if values.sum() > 0 else 1.0
    axes = jnp.asarray(vectors[:, : -rank - 1 : -1], train.dtype)
    return PCA(law.mean.reshape(train.shape[1:]), axes, explained)


def inception(weights: str | Path | Features | None, *, batch_size: int = 64) -> Features:
    """The 2048 pooled features of InceptionV3, in which the FID and the KID are published. Downloads nothing.

    Args:
        weights: the weights `weights-inception-2015-12-05-6726825d.pth` of torch-fidelity (the network of the original
            FID, converted), as a path on this machine; or your own network, a callable `(n, h, w, c) in [-1, 1] ->
            (n, d)`.
        batch_size: images evaluated at once.

    Returns:
        Images, grey or in colour, in [-1, 1] -> features. Values are rounded to 8 bits and images resized to 299
        pixels, bilinearly, as for published numbers; grey images are used for all three channels.

    Raises:
        ValueError: if there is no such file.
        ImportError: if a path was given but torch-fidelity is not installed.
    """
    _checks.positive_int("batch_size", batch_size)
    if callable(weights):
        return Named(weights, "Inception, as passed")
    if weights is None or not Path(weights).is_file():
        raise ValueError(
            f"Inception features need weights, got {weights!r}: pass the path of torch-fidelity's "
            "weights-inception-2015-12-05-6726825d.pth, or a callable images (n, h, w, c) in [-1, 1] -> (n, d); "
            "nothing is downloaded. features.classifier needs no weights"
        )
    for package in ("torch", "torch_fidelity"):
        if importlib.util.find_spec(package) is None:
            raise ImportError(
                f"Inception features from a weights file need {package.replace('_', '-')}: pip install "
                "'jaxcreativity[interop]', or pass your own network as a callable"
            )
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(weights))
    return Inception(network, batch_size)


@dataclasses.dataclass(frozen=True)
class Named:
    """A callable with a name."""

    function: Features
    name: str

    def __call__(self, images: Shaped[ArrayLike, "n h w c"]) -> Array:
        """Features of images.

        Raises:
            ValueError: for anything but floating-point images `(n, h, w, c)`.
        """
        return self.function(_checks.examples("images", images, ndim=4))


@dataclasses.dataclass(frozen=True)
class Inception:
    """Images -> features of a PyTorch network that takes bytes `(n, 3, h, w)`; made by `inception`.

    Args:
        network: PyTorch module.
        batch_size: images evaluated at once.
        name: for a table.
    """

    network: Any
    batch_size: int
    name: str = "Inception (2048 features)"

    def __call__(self, images: Shaped[ArrayLike, "n h w c"]) -> Float[Array, "n d"]:
        """Features of images.

        Raises:
            ValueError: if the images have neither one nor three channels.
        """
        import torch

        images = np.asarray(_checks.examples("images", images, ndim=4))
        if images.shape[3] not in (1, 3):
            raise ValueError(f"Inception needs images of 1 or 3 channels, got {images.shape}")
        parts = []
        for start in range(0, len(images), self.batch_size):
            batch = np.rint((images[start : start + self.batch_size].clip(-1, 1) + 1) * 127.5).astype(np.uint8)
            batch = np.broadcast_to(batch, (*batch.shape[:3], 3)).transpose(0, 3, 1, 2)
            with torch.no_grad():
                parts.append(self.network(torch.from_numpy(np.ascontiguousarray(batch)))[0].numpy())
        return jnp.asarray(np.concatenate(parts))


def name_of(features: Features) -> str:
    """The name of a feature space: its attribute `name`, or what Python calls it."""
    return str(getattr(features, "name", None) or getattr(features, "__name__", None) or type(features).__name__)
