"""Posteriors of single pixels whose windows are compared at one position (or in one column) only, by differences.

Softmax-means of `reduce` with temperature `2 sigma^2`, over chunks of images. All terms of an energy are positive, so
that nothing cancels.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcreativity._numerics import streaming
from jaxcreativity.theory.patches._keys import KeyImages, no_keys


def local_means(
    y: Float[Array, "height width c"],
    source: KeyImages,
    temperature: Float[Array, ""],
    row_weights: Float[Array, "height height"],
    column_weights: Float[Array, "width width"],
) -> streaming.Partial:
    """Posterior of every pixel over the images, at its own position only.

    The energy at (a, b) is `sum_ij row_weights[a, i] column_weights[b, j] |y_ij - x_ij|^2`: windows are 0 and 1 there.
    """

    def one_chunk(total, images, penalty, first):
        squares = jnp.sum(jnp.square(images - y[None]), axis=-1)
        energies = jnp.einsum("ai,nij,bj->abn", row_weights, squares, column_weights, precision="highest")
        energies = energies + penalty.reshape(1, 1, -1)
        part = streaming.partial(energies, images, temperature, subscripts="abn,nabc->abc")
        return streaming.merge(total, part, temperature)

    start = no_keys(y.shape[:2], y.shape[2], y.dtype)
    return source.scan(one_chunk, start, temperature, streaming.default_chunk_size(y.size))
