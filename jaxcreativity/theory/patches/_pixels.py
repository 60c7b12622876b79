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


def border_means(
    y: Float[Array, "height width c"],
    source: KeyImages,
    temperature: Float[Array, ""],
    weights: Float[Array, "edges width"],
    columns: tuple[int, ...],
    radius: int,
) -> streaming.Partial:
    """Posterior of the pixels of some columns over all images and rows, each in its own column.

    Queries `(edges, h)` and keys are the rows at least r from both ends. The energy of rows a and a' is
    `sum_{|i| <= r} sum_j weights[e, j] |y_{a+i,j} - x_{a'+i,j}|^2`: along a row, windows are 0 and 1 in `weights`.
    """
    height, width, channels = y.shape
    h = height - 2 * radius

    def one_chunk(total, images, penalty, first):
        differences = y[None, :, None] - images[:, None]  # (n, row of y, row of x, column, c)
        squares = jnp.sum(jnp.square(differences), axis=-1)
        squares = jnp.einsum("ec,nstc->esnt", weights, squares, precision="highest")
        energies = sum(squares[:, i : i + h, :, i : i + h] for i in range(2 * radius + 1))  # down both images
        energies = (energies + penalty.reshape(1, 1, -1, 1)).reshape(*energies.shape[:2], -1)
        values = images[:, radius : radius + h, jnp.asarray(columns)]  # (n, row, edge, c)
        values = values.reshape(-1, len(columns), channels)
        part = streaming.partial(energies, values, temperature, subscripts="eqk,kec->eqc")
        return streaming.merge(total, part, temperature)

    start = no_keys((len(columns), h), channels, y.dtype)
    return source.scan(one_chunk, start, temperature, streaming.default_chunk_size(height * height * width))
