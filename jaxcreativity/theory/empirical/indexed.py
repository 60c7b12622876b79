"""The empirical denoiser over an index: near images exactly, the others by draws."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics import batching, streaming
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.theory._index import Cells, Keys, checked_budget, estimate
from jaxcreativity.theory._index.build import Source
from jaxcreativity.theory._index.keeping import found_or_built

_BYTES, _OF_A_DRAW = 2**28, 12
"""Bytes that a group of examples holds at once, about, and what of them is for each entry of each draw."""


@_pytree.dataclass
class ImageIndex:
    """The images of a training set in cells of images that are near each other; made by `build_index`.

    Args:
        data: `(n, *shape)`.
        cells: of the images.
    """

    data: Float[Array, "n *shape"]
    cells: Cells

    @property
    def num_bytes(self) -> int:
        """Bytes in memory, without the data."""
        return sum(x.nbytes for x in jax.tree.leaves(self.cells))


def build_index(
    data: Float[ArrayLike, "n *shape"],
    *,
    num_cells: int | None = None,
    key: PRNGKeyArray,
    cache_dir: str | Path | None = None,
) -> ImageIndex:
    """Index of the images of a training set, for `IndexedEmpiricalDenoiser`; as `theory.patches.build_index`.

    Args:
        data: training images, floating point.
        num_cells: a power of two; by default about 600 images are in a cell.
        key: random key.
        cache_dir: folder that keeps indices under a digest of data and settings; `None` keeps nothing.

    Raises:
        ValueError: for bad data, more cells than images, or a damaged file in `cache_dir`.

    Example:
        >>> import jax, jaxcreativity as jc
        >>> x = jax.random.uniform(jax.random.key(0), (100, 8, 8, 1))
        >>> jc.theory.empirical.build_index(x, num_cells=4, key=jax.random.key(1)).cells.keys.shape
        (4, 32)
    """
    data = _checks.examples("data", data)
    source = Source(len(data), 1, data[0].size, _cut, data)
    (cells,) = found_or_built([[source]], data, num_cells, key, cache_dir, "images")
    return ImageIndex(data, jax.tree.map(lambda x: x[0], cells))


def _cut(data, numbers):
    return data[numbers].reshape(len(numbers), -1)


@_pytree.dataclass
class IndexedEmpiricalDenoiser:
    """The `EmpiricalDenoiser` by a part of the images, with an error bar.

    The images of the nearest cells are summed one by one, `num_head` in all; from the others `num_tail` are drawn, each
    with a chance near its share of the posterior. `estimate` returns the standard error beside the estimate. Draws are
    fixed by `key`, so that this is a function of `y`; its derivatives are those with the chosen images and their
    chances held fixed. For the method see `theory.patches.IndexedLocalDenoiser`.

    Args:
        index: of the training images, from `build_index`.
        num_head: images that are summed one by one, about: whole cells are.
        num_tail: draws, at least 3.
        key: random key of the draws.

    Raises:
        ValueError: for a head below 1 or a tail below 3, more head or tail than images, or something else for an index.

    Example:
        With all images in the head it is exact:

        >>> import jax, jax.numpy as jnp, jaxcreativity as jc
        >>> x = jax.random.uniform(jax.random.key(0), (100, 8, 8, 1))
        >>> index = jc.theory.empirical.build_index(x, num_cells=4, key=jax.random.key(1))
        >>> options = {"num_head": 100, "num_tail": 8, "key": jax.random.key(2)}
        >>> denoiser = jc.theory.empirical.IndexedEmpiricalDenoiser(index, **options)
        >>> bool(jnp.allclose(denoiser(x[0], 1.0), jc.theory.empirical.EmpiricalDenoiser(x)(x[0], 1.0), atol=1e-5))
        True
    """

    index: ImageIndex
    num_head: int = _pytree.static(kw_only=True)
    num_tail: int = _pytree.static(kw_only=True)
    key: PRNGKeyArray = dataclasses.field(kw_only=True)

    def __post_init__(self):
        if not isinstance(self.index, ImageIndex):
            raise ValueError(f"index must come from build_index, got {type(self.index).__name__}")
        checked_budget(self.num_head, self.num_tail, len(self.index.data), "images")

    def __call__(self, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `y`.

        Raises:
            ValueError: if `y` is not floating point or has another shape, or `sigma` is negative or NaN.
        """
        return self.estimate(y, sigma)[0]

    def estimate(
        self, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel
    ) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        """`(x_hat, standard_error)`, the error of each entry.

        Raises:
            ValueError: as of a call.
        """
        y = _checks.example("y", y, self.index.data.shape[1:])
        sigma = jnp.asarray(_checks.noise_level(sigma), y.dtype)
        stacked = IndexedEmpiricalDenoiser._of_batch

        def one(self, y, sigma):
            return jax.tree.map(lambda x: x[0], stacked(self, y[None], sigma[None]))

        group = max(1, _BYTES // (_OF_A_DRAW * self.num_tail * y.size))
        return batching.in_groups(one, one, group, stacked=stacked)(self, y, sigma)

    def _of_batch(self, y, sigma):
        cells, data = self.index.cells, self.index.data.astype(y.dtype)
        # Distances do not depend on the mean; their rounding does.
        mean = cells.mean.astype(y.dtype)

        def images(numbers):
            return _cut(data, jnp.maximum(numbers, 0)) - mean[None]

        def log_weights(numbers):
            return jnp.where(numbers >= 0, jnp.zeros((), y.dtype), -jnp.inf)

        temperatures = jax.vmap(lambda s: streaming.as_temperature(s, y.dtype))(sigma)
        around_mean = dataclasses.replace(cells, mean=jnp.zeros_like(cells.mean))
        found = estimate(
            y.reshape(len(y), 1, -1) - mean[None, None], temperatures, around_mean,
            Keys(images, images, log_weights, None),  # reading out an image for each draw would cost as much as one
            num_cells=cells.num_cells_of(self.num_head, len(data)), num_draws=self.num_tail, key=self.key,
        )  # fmt: skip
        x_hat, error = (x.reshape(y.shape) for x in found)
        return x_hat + mean.reshape(y.shape[1:])[None], error
