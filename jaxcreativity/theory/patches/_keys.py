"""The training images that a patch denoiser compares with, in chunks."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics import streaming


@_pytree.dataclass
class KeyImages:
    """The training images, and which of them count.

    Args:
        data: images.
        mean: what is subtracted from every pixel before patches are compared.
        valid: which images count.
        log_weights: logarithm of how much they count, or `None` for all the same.
        chunk_size: images held at once; need not divide their number. By default as many as suit the caller.
        turned: whether rows and columns are exchanged.
        in_runs: whether a scan is handed images in runs, of which a gradient is quick, instead of picking them; copied
            if their number cannot be divided into such runs.
    """

    data: Float[Array, "n height width c"]
    mean: Float[Array, "c"]
    valid: Bool[Array, " n"]
    log_weights: Float[Array, " n"] | None = None
    chunk_size: int | None = _pytree.static(default=None)
    turned: bool = _pytree.static(default=False)
    in_runs: bool = _pytree.static(default=False)

    def transposed(self) -> "KeyImages":
        """The same images, rows and columns exchanged."""
        return dataclasses.replace(self, turned=not self.turned)

    def penalty(self, temperature: Float[Array, ""]) -> Float[Array, " n"]:
        """What is added to an image's energies: `-T log(weight)`, and `streaming.MASKED` if it does not count."""
        weighted = jnp.zeros((), self.mean.dtype) if self.log_weights is None else -temperature * self.log_weights
        return jnp.where(self.valid, weighted, streaming.MASKED)

    def scan(
        self, one_chunk: Callable, carry: Any, temperature: Float[Array, ""], chunk_size: int, rows: Any = None
    ) -> Any:
        """Fold `one_chunk(carry, images, penalty, first) -> carry` over chunks of centred images.

        Args:
            one_chunk: carry, images of a chunk, what is added to the energies of each, number of the first -> carry.
            carry: what the first chunk is given.
            temperature: `2 sigma^2`.
            chunk_size: images in a chunk, at most, if this source does not say.
            rows: arrays of one entry an image, whose entries of a chunk `one_chunk` is given as a last argument.
        """
        n = self.data.shape[0]
        penalty = self.penalty(temperature)

        def fold(carry, first, is_new, rows):
            # Indexed, not sliced: a slice would be taken again wherever it is used.
            chosen, (own, others) = first + jnp.arange(is_new.size), rows
            images, penalties = own or (self.data[chosen], penalty[chosen])
            new = jnp.where(is_new, penalties, streaming.MASKED)
            return one_chunk(carry, self.centred(images), new, first, *(() if others is None else (others,)))

        own = (self.data, penalty) if self.in_runs else None
        return streaming.fold_chunks(fold, n, self.chunk_size or chunk_size, carry, (own, rows))

    def centred(self, images: Array) -> Array:
        """Some of the images, less the mean."""
        images = jnp.swapaxes(images, -3, -2) if self.turned else images
        return images.astype(self.mean.dtype) - self.mean.reshape((1,) * (images.ndim - 1) + (-1,))


def checked_choice(
    n: int, labels: ArrayLike | None, label: ArrayLike | None, excluded: ArrayLike | None
) -> tuple[Array | None, Array | None, Array | None]:
    """Return labels, label and excluded as arrays after checking that they leave some of n images to compare with.

    Args:
        n: number of images.
        labels: class of each image, or `None`.
        label: the class that counts, or `None`.
        excluded: the image that does not count, -1 or `None` for none.

    Raises:
        ValueError: for labels of the wrong length or type, a label without an image, labels without label or the
            reverse, `excluded` out of range or the only image that counts.
    """
    choice = []
    for name, value in (("labels", labels), ("label", label), ("excluded", excluded)):
        value = None if value is None else jnp.asarray(value)
        if value is not None and not jnp.issubdtype(value.dtype, jnp.integer):
            raise ValueError(f"{name} must be integer, got {value.dtype}")
        if value is not None and value.ndim and name != "labels":
            raise ValueError(f"{name} must be one integer, got shape {value.shape}; map over it with jax.vmap")
        choice.append(value)
    if (labels is None) != (label is None):
        raise ValueError("labels (of the images) and label (the class to use) go together: pass both or neither")
    if labels is not None and choice[0].shape != (n,):
        raise ValueError(f"labels must have one entry per image, shape {(n,)}, got {choice[0].shape}")
    labels, label, excluded = (None if x is None else _checks.known(x) for x in choice)
    counts = np.ones(n, bool)
    if labels is not None and label is not None:
        counts = labels == label
        if not counts.any():
            raise ValueError(f"label {label} has no image; labels are {np.unique(labels).tolist()}")
    if excluded is not None:
        if not -1 <= excluded < n:
            raise ValueError(f"excluded must be the index of one of {n} images, or -1 for none, got {excluded}")
        if excluded >= 0 and counts[excluded] and counts.sum() == 1:
            raise ValueError(f"image {excluded} is the only one that counts; nothing is left if it is excluded")
    return tuple(choice)
