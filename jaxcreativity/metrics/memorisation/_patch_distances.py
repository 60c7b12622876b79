"""Distances of patches to their nearest training patches, a block at a time."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcreativity._numerics import windows
from jaxcreativity.metrics.memorisation.neighbours import nearest_neighbours

# Query patches, and training patches, compared at once: so few shapes that each patch size compiles once.
_BLOCK = 256
_PATCHES = 2**16


class PatchDistances(NamedTuple):
    """Distances of `p` patches to their nearest training patches, and the image that each belongs to.

    Args:
        distances: root mean square per entry, in the units of the data.
        owners: index of the image.
        num_images: images in all.
        share: share of all patches that have enough contrast to be here.
    """

    distances: Float[np.ndarray, " p"]
    owners: Int[np.ndarray, " p"]
    num_images: int
    share: float


def with_contrast(images: Float[Array, "n h w c"], size: int, threshold: float) -> tuple[Int[np.ndarray, "p 2"], float]:
    """Image and place of every patch with enough contrast, and their share of all patches.

    Args:
        images: `(n, h, w, c)`.
        size: side of the patches.
        threshold: standard deviation of a patch's entries, from which on it counts.
    """
    contrast = np.concatenate([np.asarray(_contrast(part, size)) for _, part in _parts(images, size)])
    kept = contrast >= threshold
    return np.argwhere(kept), float(kept.mean())


def patch_distances(
    images: Float[Array, "m h w c"],
    train: Float[Array, "n h w c"],
    size: int,
    places: Int[np.ndarray, "p 2"],
    share: float,
    same_location: bool,
) -> PatchDistances:
    """Distances of the patches at the given places to the nearest training patches.

    Args:
        images: `(m, h, w, c)`.
        train: training images `(n, h, w, c)`.
        size: side of the patches.
        places: image and place of each patch, as `with_contrast` returns them.
        share: of all patches that they are.
        same_location: whether a patch is compared only with training patches at its own place.
    """
    patches = _patches(images, size, places)
    nearest = np.full(len(patches), np.inf, patches.dtype)
    step = min(_images_at_once(train, size), train.shape[0])
    for start in range(0, train.shape[0], step):
        # The slice is moved back to end with the data: one shape, and a minimum does not mind.
        keys = _cut(jax.lax.dynamic_slice_in_dim(train, start, step), size)
        for begin in range(0, len(patches), _BLOCK):
            rows = np.resize(np.arange(begin, min(begin + _BLOCK, len(patches))), _BLOCK)
            if same_location:
                found = _nearest_in_place(patches[rows], places[rows, 1], keys)
            else:
                found = nearest_neighbours(patches[rows], keys.reshape(-1, keys.shape[2])).distances[:, 0]
            nearest[rows] = np.minimum(nearest[rows], found)
    return PatchDistances(nearest / patches.shape[1] ** 0.5, places[:, 0], len(images), share)


@partial(jax.jit, static_argnums=1)
def _cut(images, size):
    """All k x k patches `(n, places, d)`."""
    rows, columns = (length - size + 1 for length in images.shape[1:3])
    patches = windows.cut(images, (size, size), (0, rows), (0, columns))
    return patches.reshape(images.shape[0], rows * columns, -1)


@partial(jax.jit, static_argnums=1)
def _contrast(images, size):
    """Standard deviation of the entries of each patch, `(n, places)`."""
    patches = _cut(images, size).reshape(images.shape[0], -1, size * size, images.shape[3])
    return jnp.sqrt(jnp.mean(jnp.var(patches, axis=2), axis=2))


def _patches(images, size, places):
    """The patches at the given `(image, place)`, `(p, d)`, on the host."""
    found = [np.zeros((0, size * size * images.shape[3]), images.dtype)]
    for start, part in _parts(images, size):
        here = places[(places[:, 0] >= start) & (places[:, 0] < start + part.shape[0])]
        found.append(np.asarray(_cut(part, size))[here[:, 0] - start, here[:, 1]])
    return np.concatenate(found)


def _parts(images, size):
    """First index and images, as many at a time as have `_PATCHES` patches."""
    step = _images_at_once(images, size)
    return ((start, images[start : start + step]) for start in range(0, images.shape[0], step))


def _images_at_once(images, size):
    return max(1, _PATCHES // ((images.shape[1] - size + 1) * (images.shape[2] - size + 1)))


@jax.jit
def _nearest_in_place(patches, places, keys):
    one = lambda inputs: jnp.min(jnp.sum(jnp.square(keys[:, inputs[1]] - inputs[0][None]), axis=1))  # noqa: E731
    return jnp.sqrt(jax.lax.map(one, (patches, places), batch_size=16))
