"""Windows of images: which pixels a k x k patch holds at each position, and how to cut it out.

A window reaches `before` pixels up (left) and `after` pixels down (right) of its pixel. Where it wraps, every pixel
counts once: a window as long as the axis holds the whole axis and grows no further.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcreativity import _pytree

Reach = tuple[int, int]
Range = tuple[int, int]


def reach(patch_size: int, length: int, *, wraps: bool) -> Reach:
    """`(before, after)` of a window on an axis.

    Args:
        patch_size: side of the window, odd.
        length: pixels of the axis.
        wraps: whether windows wrap at the ends.
    """
    if wraps and patch_size >= length:
        return (length - 1) // 2, length // 2
    return patch_size // 2, patch_size // 2


def pad(x: Float[Array, "*n h w c"], rows: Reach, columns: Reach) -> Float[Array, "*n a b c"]:
    """`x` with wrapped margins in which every window of the given reach lies.

    Args:
        x: images.
        rows: margins above and below.
        columns: margins left and right.
    """
    return jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [rows, columns, (0, 0)], mode="wrap")


def cut(x: Float[Array, "*n h w c"], size: tuple[int, int], rows: Range, columns: Range) -> Float[Array, "*n a b d"]:
    """The windows of `size` whose first row and column lie in the given ranges, flattened (row, column, channel).

    By slices, not by a gather, which XLA copies much more slowly.

    Args:
        x: images.
        size: height and width of a window.
        rows: range of the first rows.
        columns: range of the first columns.
    """
    axis = x.ndim - 3
    x = jnp.stack([jax.lax.slice_in_dim(x, rows[0] + i, rows[1] + i, axis=axis) for i in range(size[0])], axis=-2)
    start, stop = columns
    x = jnp.stack([jax.lax.slice_in_dim(x, start + i, stop + i, axis=axis + 1) for i in range(size[1])], axis=-2)
    return x.reshape(*x.shape[:-3], -1)


def band(length: int, patch_size: int, *, wraps: bool) -> np.ndarray:
    """`(length, length)`: 1 where the pixel of a column lies in the window around the pixel of a row, else 0.

    Args:
        length: pixels of the axis.
        patch_size: side of the window, odd.
        wraps: whether windows wrap at the ends.
    """
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


@_pytree.dataclass
class Windows:
    """`h x w` windows of an image, all of one size.

    Args:
        margins: what the image is padded with by wrapping, `(rows, columns)`.
        size: height and width of a window.
        centre: row and column of the window's own pixel in it.
        rows: range of the first rows of the windows, in the padded image.
        columns: range of their first columns.
    """

    margins: tuple[Reach, Reach] = _pytree.static()
    size: tuple[int, int] = _pytree.static()
    centre: tuple[int, int] = _pytree.static()
    rows: Range = _pytree.static()
    columns: Range = _pytree.static()

    @property
    def shape(self) -> tuple[int, int]:
        """`(h, w)`."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    @property
    def region(self) -> tuple[slice, slice]:
        """Rows and columns of the windows' own pixels, in the image as it was before padding."""
        ranges = zip((self.rows, self.columns), self.centre, self.margins, strict=True)
        return tuple(slice(start + c - before, stop + c - before) for (start, stop), c, (before, _) in ranges)

    def cut(self, images: Float[Array, "n height width c"]) -> Float[Array, "n h w d"]:
        """All windows, flattened."""
        return cut(pad(images, *self.margins), self.size, self.rows, self.columns)

    def num_strips(self, height: int) -> int:
        """Strips of so many rows in a column of windows."""
        return self.shape[0] + self.size[0] - height

    def strips(self, images: Float[Array, "n height width c"], height: int) -> Float[Array, "n w strips e"]:
        """All that the windows have as `height` rows one below the other, columns of windows first.

        Window (a, b) consists, for a height of 1, of strips a to a + size[0] - 1 of column b.
        """
        rows = self.rows[0], self.rows[0] + self.num_strips(height)
        return jnp.swapaxes(cut(pad(images, *self.margins), (height, self.size[1]), rows, self.columns), 1, 2)

    def centres(self, images: Float[Array, "n height width c"]) -> Float[Array, "n w h c"]:
        """The windows' own pixels, columns first."""
        images = pad(images, *self.margins)
        (down, right), (h, w) = self.centre, self.shape
        top, left = self.rows[0] + down, self.columns[0] + right
        return jnp.swapaxes(images[:, top : top + h, left : left + w], 1, 2)

    def cut_column(
        self, image: Float[Array, "height width c"], column: Int[Array, ""]
    ) -> tuple[Float[Array, "h d"], Float[Array, "h c"]]:
        """Windows of one of the w columns, and their own pixels."""
        image = pad(image, *self.margins)
        strip = jax.lax.dynamic_slice_in_dim(image, self.columns[0] + column, self.size[1], axis=1)
        (down, right), top = self.centre, self.rows[0]
        return cut(strip, self.size, self.rows, (0, 1))[:, 0], strip[top + down : top + down + self.shape[0], right]
