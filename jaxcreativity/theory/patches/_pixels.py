"""Posteriors of windows that are compared at one position only, by differences.

Softmax-means of `_numerics.streaming` with temperature `2 sigma^2`, over chunks of images. All terms of an energy are
positive, so that nothing cancels.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcreativity._numerics import streaming
from jaxcreativity.theory.patches._keys import KeyImages, no_keys


def local_means(
    y: Float[Array, "height width c"],
    source: KeyImages,
    temperature: Float[Array, ""],
    row_weights: Float[Array, "a height"],
    column_weights: Float[Array, "b width"],
    values: Callable[[Float[Array, "n height width c"]], Float[Array, "n a b d"]] = lambda images: images,
) -> Float[Array, "a b d"]:
    """Posterior mean of every window over the images, at its own position only.

    The energy at (a, b) is `sum_ij row_weights[a, i] column_weights[b, j] |y_ij - x_ij|^2`: a window is 0 and 1 there,
    or fades.

    Args:
        y: image, less the source's mean.
        source: training images.
        temperature: `2 sigma^2`.
        row_weights: rows of each row of windows.
        column_weights: columns of each column of windows.
        values: what is averaged for each window, of some images; by default its own pixel, where each has a window.
    """

    def one_chunk(total, images, penalty, first):
        squares = jnp.sum(jnp.square(images - y[None]), axis=-1)
        energies = jnp.einsum("ai,nij,bj->abn", row_weights, squares, column_weights, precision="highest")
        energies = energies + penalty.reshape(1, 1, -1)
        part = streaming.partial(energies, values(images), temperature, subscripts="abn,nabd->abd")
        return streaming.merge(total, part, temperature)

    *_, a, b, d = jax.eval_shape(values, y[None]).shape
    chunk_size = streaming.default_chunk_size(a * b * d)
    return source.scan(one_chunk, no_keys((a, b), d, y.dtype), temperature, chunk_size).mean


def group_size(num_images: int, chunk_size: int | None, numbers_per_image: int) -> int:
    """Examples for which `local_means` are computed together, for `batching.in_groups`.

    Args:
        num_images: number of training images.
        chunk_size: the source's.
        numbers_per_image: `a b d`.
    """
    chunk_size = min(num_images, chunk_size or streaming.default_chunk_size(numbers_per_image))
    return streaming.default_group_size(chunk_size * numbers_per_image)
