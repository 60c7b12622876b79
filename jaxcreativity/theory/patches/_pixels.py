"""Posteriors of windows that are compared at one position only, by differences.

The energy of window (a, b) of y and the same window of an image x is

    E = sum_ij rows[a, i] columns[b, j] |y_ij - x_ij|^2,

in which a window is 0 and 1, or fades. All terms are positive, so that nothing cancels. Over chunks of images, which
come first and are summed over in the innermost loop of pixels; columns of windows come before rows.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcreativity._numerics import batching, streaming
from jaxcreativity.theory.patches._keys import KeyImages

TOGETHER = 8
"""Examples of a batch that are compared with a chunk of images at once."""


class Extents(NamedTuple):
    """How much each pixel belongs to each window.

    Attributes:
        rows: of each row of windows.
        columns: of each column of windows.
    """

    rows: Float[Array, "a height"]
    columns: Float[Array, "b width"]


def in_small_groups(function: Callable) -> Callable:
    """`function(..., at_once=)` of which batches are worked off in groups of `TOGETHER`; `at_once` is their size."""
    return batching.in_groups(
        lambda *args: function(*args, at_once=1), lambda *args: function(*args, at_once=TOGETHER), TOGETHER
    )


def local_means(
    y: Float[Array, "height width c"],
    source: KeyImages,
    temperature: Float[Array, ""],
    extents: Extents,
    *,
    at: tuple[Sequence[int], Sequence[int]] | None = None,
    at_once: int = 1,
) -> Float[Array, "a b c"]:
    """Posterior mean over the images of each window's own pixel.

    Args:
        y: image, less the source's mean.
        source: training images.
        temperature: `2 sigma^2`.
        extents: the windows.
        at: rows and columns of their own pixels; by default each pixel has a window.
        at_once: examples that are computed together.
    """
    (a, _), (b, _), channels = extents.rows.shape, extents.columns.shape, y.shape[2]

    def one_chunk(total, images, penalty, first):
        energies = _energies(y, images, penalty, extents)
        own = images if at is None else images[:, jnp.asarray(at[0])][:, :, jnp.asarray(at[1])]
        smallest = jax.lax.stop_gradient(energies.min(axis=0))
        weights = jnp.exp((smallest[None] - energies) / temperature)
        part = streaming.Partial(smallest, _sum(weights, jnp.swapaxes(own, 1, 2)), weights.sum(axis=0))
        return streaming.merge(total, part, temperature)

    start = streaming.nothing((b, a), channels, y.dtype)
    return jnp.swapaxes(source.scan(one_chunk, start, temperature, _chunk_size(a * b, at_once)).mean, 0, 1)


def composite_means(
    y: Float[Array, "height width c"],
    source: KeyImages,
    temperature: Float[Array, ""],
    extents: Extents,
    *,
    at_once: int = 1,
) -> Float[Array, "height width c"]:
    """Sum over the windows of the posterior mean of all their pixels, by how much each belongs to them.

    With w_pi the weight of image i for window p this is, at a pixel, `sum_i (sum_p extent_p w_pi) x_i`: weights are
    summed, not windows. A first run over the images finds what normalises them.

    Args:
        y: image, less the source's mean.
        source: training images.
        temperature: `2 sigma^2`.
        extents: the windows.
        at_once: examples that are computed together.
    """
    (a, height), (b, width) = extents.rows.shape, extents.columns.shape
    chunk_size = _chunk_size(max(a, height) * max(b, width), at_once)

    def normalise(total, images, penalty, first):
        energies = _energies(y, images, penalty, extents)
        smallest = jax.lax.stop_gradient(energies.min(axis=0))
        weight = jnp.sum(jnp.exp((smallest[None] - energies) / temperature), axis=0)
        return streaming.merge(total, streaming.Partial(smallest, no_values, weight), temperature)

    no_values = jnp.zeros((b, a, 0), y.dtype)
    whole = source.scan(normalise, streaming.nothing((b, a), 0, y.dtype), temperature, chunk_size)

    def add(total, images, penalty, first):
        energies = _energies(y, images, penalty, extents)
        weights = jnp.exp((whole.min_energy[None] - energies) / temperature) / whole.weight[None]
        return total + _sum(_along_both(weights, extents.rows, extents.columns), images)

    return source.scan(add, jnp.zeros_like(y), temperature, chunk_size)


def _energies(y, images, penalty, extents) -> Float[Array, "n b a"]:
    channels = range(y.shape[2])  # summed by hand: as an axis XLA would walk along three numbers
    squares = sum(jnp.square(images[..., c] - y[None, ..., c]) for c in channels)
    return _along_both(squares, extents.columns.T, extents.rows.T) + penalty[:, None, None]


def _along_both(x, last, first) -> Float[Array, "n q p"]:
    """`sum_ij x[n, i, j] last[j, q] first[i, p]`, as two products of matrices."""
    x = jnp.swapaxes(_along_last(x, last), 1, 2)
    return _along_last(x, first)


def _along_last(x, matrix):
    return jnp.matmul(x.reshape(-1, x.shape[2]), matrix, precision="highest").reshape(*x.shape[:2], -1)


def _sum(weights, values) -> Float[Array, "p q c"]:
    """`sum_n weights[n, p, q] values[n, p, q, c]`."""
    return jnp.stack([jnp.sum(weights * values[..., c], axis=0) for c in range(values.shape[3])], axis=-1)


def _chunk_size(num_windows, at_once):
    return streaming.default_chunk_size(at_once * num_windows, on_cpu=2**19)
