"""Windows of images: which pixels a k x k patch holds at each position, and how to cut it out.

A window reaches `before` pixels up (left) and `after` pixels down (right) of its pixel. Where it wraps, every pixel
counts once: a window as long as the axis holds the whole axis and grows no further.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Reach = tuple[int, int]
Range = tuple[int, int]


def reach(patch_size: int, length: int, *, wraps: bool) -> Reach:
    """`(before, after)` of a window of `patch_size` (odd) on an axis of `length` pixels."""
    if wraps and patch_size >= length:
        return (length - 1) // 2, length // 2
    return patch_size // 2, patch_size // 2


def pad(x: Float[Array, "*n h w c"], rows: Reach, columns: Reach) -> Float[Array, "*n a b c"]:
    """`x` with wrapped margins in which every window of the given reach lies."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [rows, columns, (0, 0)], mode="wrap")


def cut(x: Float[Array, "*n h w c"], size: tuple[int, int], rows: Range, columns: Range) -> Float[Array, "*n a b d"]:
    """The windows of `size` whose first row and column lie in the given ranges, flattened (row, column, channel).

    By slices, not by a gather, which XLA copies much more slowly.
    """
    axis = x.ndim - 3
    x = jnp.stack([jax.lax.slice_in_dim(x, rows[0] + i, rows[1] + i, axis=axis) for i in range(size[0])], axis=-2)
    start, stop = columns
    x = jnp.stack([jax.lax.slice_in_dim(x, start + i, stop + i, axis=axis + 1) for i in range(size[1])], axis=-2)
    return x.reshape(*x.shape[:-3], -1)


def band(length: int, patch_size: int, *, wraps: bool) -> np.ndarray:
    """`(length, length)`: 1 where the pixel of a column lies in the window around the pixel of a row, else 0."""
    before, after = reach(patch_size, length, wraps=wraps)
    offset = np.arange(length)[None, :] - np.arange(length)[:, None]
    if wraps:
        offset = (offset + before) % length - before
    return ((offset >= -before) & (offset <= after)).astype(np.float64)


def interior_and_edges(length: int, radius: int) -> tuple[Range, tuple[int, ...]]:
    """Range of the positions at least `radius` from both ends, which are alike, and all others, no two of them alike.

    The signature of a position is its distance to either end, cut off at `radius`.
    """
    if length <= 2 * radius:
        return (0, 0), tuple(range(length))
    interior = (radius, length - radius)
    return interior, (*range(radius), *range(length - radius, length))
