"""The pixels whose window the border cuts, where the border breaks equivariance.

Such a pixel is compared with those of its border signature: at the left and right edge with pixels of its own column,
at the upper and lower edge with pixels of its own row, in a corner with itself in other images.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcreativity._numerics import streaming, windows
from jaxcreativity.theory.patches._keys import KeyImages
from jaxcreativity.theory.patches._pixels import Extents, local_means


def border_means(
    y: Float[Array, "height width c"], source: KeyImages, temperature: Float[Array, ""], patch_size: int
) -> Float[Array, "height width c"]:
    """Posterior means of all pixels whose window is cut by the border; 0 elsewhere.

    Args:
        y: image, less the source's mean.
        source: training images.
        temperature: `2 sigma^2`.
        patch_size: side of the window.
    """
    radius = patch_size // 2
    (rows, row_edges), (columns, column_edges) = (windows.interior_and_edges(n, radius) for n in y.shape[:2])
    out = jnp.zeros_like(y)
    if row_edges and column_edges:
        corners = row_edges, column_edges
        bands = (windows.band(n, patch_size, wraps=False)[list(at)] for n, at in zip(y.shape, corners, strict=False))
        extents = Extents(*(jnp.asarray(band, y.dtype) for band in bands))
        means = local_means(y, source, temperature, extents, at=corners)
        out = out.at[np.ix_(*corners)].set(means)
    if column_edges and rows[1]:
        means = _along_columns(y, source, temperature, column_edges, radius)
        out = out.at[rows[0] : rows[1], column_edges].set(means)
    if row_edges and columns[1]:
        means = _along_columns(jnp.swapaxes(y, 0, 1), source.transposed(), temperature, row_edges, radius)
        out = out.at[row_edges, columns[0] : columns[1]].set(jnp.swapaxes(means, 0, 1))
    return out


def _along_columns(y, source, temperature, columns, radius) -> Float[Array, "h edges c"]:
    """Posterior means of the pixels of some columns over all images and rows, each in its own column.

    Queries and keys are the rows at least r from both ends. The energy of rows a and a' is
    `sum_{|i| <= r} sum_j weights[e, j] |y_{a+i,j} - x_{a'+i,j}|^2`: along a row, windows are 0 and 1 in `weights`. All
    terms are positive, so that nothing cancels.
    """
    height, width, channels = y.shape
    h = height - 2 * radius
    weights = jnp.asarray(windows.band(width, 2 * radius + 1, wraps=False)[list(columns)], y.dtype)

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

    start = streaming.nothing((len(columns), h), channels, y.dtype)
    chunk_size = streaming.default_chunk_size(height * height * width)
    return jnp.swapaxes(source.scan(one_chunk, start, temperature, chunk_size).mean, 0, 1)
