"""The equivariant local denoiser (ELS) over an index: near patches exactly, the others by draws."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Integer, PRNGKeyArray

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics import batching, streaming
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.theory._index import Cells, Keys, checked_budget, estimate
from jaxcreativity.theory.patches._classes import Classes
from jaxcreativity.theory.patches._keys import KeyImages
from jaxcreativity.theory.patches.index import PatchIndex
from jaxcreativity.theory.patches.local import LocalDenoiser

_BYTES, _OF_A_CELL, _OF_A_DRAW = 2**30, 80, 176
"""Bytes that a group of examples holds at once, about, and what of them is for each cell and each draw of a query."""


@_pytree.dataclass
class IndexedLocalDenoiser:
    """The equivariant `LocalDenoiser` by a part of the patches, with an error bar.

    Of every pixel's posterior the patches of the nearest cells are summed one by one, `num_head` in all; from the
    others `num_tail` are drawn, each with a chance near its share of the posterior. `estimate` returns the standard
    error beside the estimate; both are NaN where no patch that counts is met. Draws are fixed by `key`, so that this is
    a function of `y`; its derivatives are those with the chosen patches and their chances held fixed.

    Args:
        index: of the training images, from `build_index`.
        num_head: patches that are summed one by one, about: whole cells are.
        num_tail: draws for each pixel, at least 3. What how many err is in results/benchmarks/indexed.json.
        key: random key of the draws.
        labels: as of `LocalDenoiser`, as the next three.
        label: the class that counts.
        excluded: index of an image that is left out; -1 for none.
        weights: how often each image counts.

    Batches, by `jax.vmap`, share what is looked up: pixels that look into one cell do so together.

    Raises:
        ValueError: for a head below 1 or a tail below 3, more head or tail than patches, and as `LocalDenoiser` for the
            others.

    Example:
        With all patches in the head it is exact:

        >>> import jax, jax.numpy as jnp, jaxcreativity as jc
        >>> x = jax.random.uniform(jax.random.key(0), (20, 8, 8, 1))
        >>> index = jc.theory.patches.build_index(x, 3, boundary="interior", num_cells=8, key=jax.random.key(1))
        >>> denoiser = jc.theory.patches.IndexedLocalDenoiser(index, num_head=720, num_tail=16, key=jax.random.key(2))
        >>> exact = jc.theory.patches.LocalDenoiser(x, 3, equivariant=True, boundary="interior")
        >>> bool(jnp.allclose(denoiser(x[0], 0.5), exact(x[0], 0.5), atol=1e-5))
        True
    """

    index: PatchIndex
    num_head: int = _pytree.static(kw_only=True)
    num_tail: int = _pytree.static(kw_only=True)
    key: PRNGKeyArray = dataclasses.field(kw_only=True)
    labels: Integer[ArrayLike, " n"] | None = dataclasses.field(default=None, kw_only=True)
    label: Integer[ArrayLike, ""] | int | None = dataclasses.field(default=None, kw_only=True)
    excluded: Integer[ArrayLike, ""] | int | None = dataclasses.field(default=None, kw_only=True)
    weights: Float[ArrayLike, " n"] | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self):
        if not isinstance(self.index, PatchIndex):
            raise ValueError(f"index must come from build_index, got {type(self.index).__name__}")
        largest = len(self.index.data) * max(kind.keys.shape[1] for kind in self.index.classes)
        checked_budget(self.num_head, self.num_tail, largest, "patches")
        exact = self._exact()
        for name in ("labels", "label", "excluded", "weights"):
            object.__setattr__(self, name, getattr(exact, name))

    def _exact(self) -> LocalDenoiser:
        index = self.index
        return LocalDenoiser(
            index.data, index.patch_size, equivariant=True, boundary=index.boundary,
            labels=self.labels, label=self.label, excluded=self.excluded, weights=self.weights,
        )  # fmt: skip

    def __call__(
        self, y: Float[ArrayLike, "height width channels"], sigma: NoiseLevel
    ) -> Float[Array, "height width channels"]:
        """Estimate `x` from `y`.

        Raises:
            ValueError: if `y` is not a floating-point image of the data's shape, or `sigma` is negative or NaN.
        """
        return self.estimate(y, sigma)[0]

    def estimate(
        self, y: Float[ArrayLike, "height width channels"], sigma: NoiseLevel
    ) -> tuple[Float[Array, "height width channels"], Float[Array, "height width channels"]]:
        """`(x_hat, standard_error)`, the error of each entry.

        Raises:
            ValueError: as of a call.
        """
        y = _checks.example("y", y, self.index.data.shape[1:])
        sigma = jnp.asarray(_checks.noise_level(sigma), y.dtype)
        stacked = IndexedLocalDenoiser._of_batch

        def one(self, y, sigma):
            return jax.tree.map(lambda x: x[0], stacked(self, y[None], sigma[None]))

        of_example = max(
            kind.queries.shape[1] * (_OF_A_DRAW * self.num_tail + _OF_A_CELL * self._num_cells(kind, cells))
            for kind, cells in zip(self.index.classes, self.index.cells, strict=True)
        )
        return batching.in_groups(one, one, max(1, _BYTES // of_example), stacked=stacked)(self, y, sigma)

    def _num_cells(self, kind, cells):
        """Cells that are summed patch by patch."""
        return cells.num_cells_of(self.num_head, len(self.index.data) * kind.keys.shape[-2])

    def _of_batch(self, y, sigma):
        source = self._exact().source(y.dtype)
        temperatures = jax.vmap(lambda s: streaming.as_temperature(s, y.dtype))(sigma)
        mean, error = jnp.zeros_like(y), jnp.zeros_like(y)

        def of_class(args):
            kind, cells, key = args
            return estimate(
                kind.cut_queries(y), temperatures, cells, _keys(kind, cells, source),
                num_cells=self._num_cells(kind, cells), num_draws=self.num_tail, key=key,
            )  # fmt: skip

        kind_keys = jax.random.split(self.key, len(self.index.classes))
        for kind, cells, key in zip(self.index.classes, self.index.cells, kind_keys, strict=True):
            found = jax.lax.map(of_class, (kind, cells, jax.random.split(key, len(kind.keys))))
            at = (slice(None), *jnp.moveaxis(kind.queries, -1, 0))
            mean, error = (x.at[at].set(jnp.moveaxis(part, 0, 1)) for x, part in zip((mean, error), found, strict=True))
        return mean + source.mean.reshape(1, 1, 1, -1), error


def _keys(kind: Classes, cells: Cells, source: KeyImages) -> Keys:
    """The patches of one class, by number: image by image, position by position; values less their mean."""
    num_positions, dtype = len(kind.keys), source.mean.dtype

    def places(numbers):
        numbers = jnp.maximum(numbers, 0)
        return numbers // num_positions, numbers % num_positions

    def cut(numbers):
        return kind.cut_keys(source.data, *places(numbers)).astype(dtype)

    def values(numbers):
        image, position = places(numbers)
        row, column = kind.keys[position].T
        return source.data[image, row, column].astype(dtype) - source.mean[None]

    def log_weights(numbers):
        image = places(numbers)[0]
        weights = jnp.zeros((), dtype) if source.log_weights is None else source.log_weights[image]
        return jnp.where((numbers >= 0) & source.valid[image], weights, -jnp.inf)

    return Keys(cut, values, log_weights, kind.own_pixel(cells.basis, source.data.shape[1:3]))
