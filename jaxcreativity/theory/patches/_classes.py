"""Positions whose windows are compared with each other, class by class, as an index of patches needs them."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcreativity import _pytree
from jaxcreativity._numerics import windows
from jaxcreativity.theory.patches._geometry import Boundary, queries_and_keys


@_pytree.dataclass
class Classes:
    """Classes of as many positions each; windows of one class are compared with each other.

    Args:
        queries: row and column of the pixels of a noisy image.
        keys: those of a training image.
        mask: which pixels of a window lie in the image.
        before: rows and columns of a window above and left of its pixel.
        size: height and width of a window.
        wraps: whether windows of training images wrap; those of noisy images do unless the border is broken.
        is_broken: whether a window that would reach over the border is moved inside, and cut by its mask.
    """

    queries: Int[Array, "*classes q 2"]
    keys: Int[Array, "*classes p 2"]
    mask: Float[Array, "*classes kh kw"]
    before: tuple[int, int] = _pytree.static()
    size: tuple[int, int] = _pytree.static()
    wraps: bool = _pytree.static()
    is_broken: bool = _pytree.static()

    def cut_queries(self, y: Float[Array, "b h w c"]) -> Float[Array, "b q d"]:
        """Windows of some noisy images, of one class."""
        cut = lambda y: self._cut(  # noqa: E731
            y[None], jnp.zeros(len(self.queries), int), self.queries, wraps=not self.is_broken
        )
        return jax.vmap(cut)(y)

    def cut_keys(
        self, images: Float[Array, "n h w c"], image: Int[Array, " m"], position: Int[Array, " m"]
    ) -> Float[Array, "m d"]:
        """Windows of training images, of one class.

        Args:
            images: all of them.
            image: which one, for each window.
            position: which of the class's positions.
        """
        return self._cut(images, image, self.keys[position], wraps=self.wraps)

    def own_pixel(self, entries: Float[Array, "d p"], shape: tuple[int, int]) -> Float[Array, "p c"]:
        """What belongs to the channels of a window's own pixel, of something for each of its entries, of one class.

        Args:
            entries: one row for each entry of a window.
            shape: height and width of an image.
        """
        row, column = self.keys[0] - self._start(self.keys[:1], shape, self.wraps)[0]
        return entries.reshape(*self.size, -1, entries.shape[1])[row, column].T

    def _start(self, at, shape, wraps):
        start = at - jnp.asarray(self.before)[None]
        return start if wraps else jnp.clip(start, 0, jnp.asarray(shape)[None] - jnp.asarray(self.size)[None])

    def _cut(self, images, image, at, wraps):
        shape, size = images.shape[1:3], self.size
        start = self._start(at, shape, wraps)
        if wraps:
            rows, columns = ((start[:, i, None] + jnp.arange(size[i])[None]) % shape[i] for i in (0, 1))
            cut = images[image[:, None, None], rows[:, :, None], columns[:, None, :]]
        else:
            cut = jax.vmap(functools.partial(self._window, images))(image, start.astype(image.dtype))
        return (cut * self.mask[None, :, :, None]).reshape(len(image), -1)

    def _window(self, images, image, start):
        first = image, start[0], start[1], jnp.zeros_like(image)
        return jax.lax.dynamic_slice(images, first, (1, *self.size, images.shape[3]))[0]


def classes(shape: tuple[int, int], patch_size: int, boundary: Boundary) -> Iterator[Classes]:
    """All classes of an image, those with as many positions together.

    Args:
        shape: height and width.
        patch_size: side of a window.
        boundary: what windows do at the border.
    """
    if boundary != "broken":
        queries, keys = queries_and_keys(shape, patch_size, boundary)
        mask = jnp.ones((1, *keys.size), jnp.float32)
        places = (_positions(window, shape)[None] for window in (queries, keys))
        yield Classes(*map(jnp.asarray, places), mask, keys.centre, keys.size, boundary == "circular", False)
        return
    radius = patch_size // 2
    (rows, row_edges), (columns, column_edges) = (windows.interior_and_edges(n, radius) for n in shape)
    rows, columns = [range(*rows)], [range(*columns)]
    row_edges, column_edges = ([[i] for i in edges] for edges in (row_edges, column_edges))
    for down in (rows, row_edges):
        for across in (columns, column_edges):
            if positions := [_product(a, b) for a in down for b in across if len(a) and len(b)]:
                yield _broken(np.stack(positions), shape, patch_size)


def _positions(window, shape):
    return _product(*(np.arange(n)[part] for n, part in zip(shape, window.region, strict=True)))


def _broken(positions, shape, patch_size) -> Classes:
    size = tuple(min(patch_size, n) for n in shape)
    radius = patch_size // 2
    masks = []
    for first in positions[:, 0]:  # all positions of a class have one signature
        start = np.clip(first - radius, 0, np.subtract(shape, size))
        near = [abs(s + np.arange(n) - at) <= radius for s, n, at in zip(start, size, first, strict=True)]
        masks.append(np.outer(*near))
    positions = jnp.asarray(positions, jnp.int32)
    mask = jnp.asarray(np.stack(masks), jnp.float32)
    return Classes(positions, positions, mask, (radius, radius), size, False, True)


def _product(rows, columns) -> np.ndarray:
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.int32)
