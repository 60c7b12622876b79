"""Products of a matrix with vectors, some rows at a time: twice as quick as at once for a batch of vectors on CPUs."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxcreativity._numerics import streaming
from jaxcreativity._numerics.arithmetic import dot


def times(rows: Float[Array, "n d"], u: Float[Array, " d"], chunk_size: int) -> Float[Array, " n"]:
    """`rows u`, a chunk after the other.

    Args:
        rows: a matrix.
        u: vector.
        chunk_size: rows in a product.
    """
    return _in_chunks(lambda rows: dot(rows, u), rows, chunk_size=chunk_size)


def combine(b: Float[Array, " n"], rows: Float[Array, "n d"], chunk_size: int) -> Float[Array, " d"]:
    """`b rows`, a chunk after the other.

    Args:
        b: vector.
        rows: a matrix.
        chunk_size: rows in a product.
    """

    def add(total, first, is_new):
        numbers, chunk = run_of((b, rows), first, is_new.size)
        return total + dot(numbers * is_new, chunk)

    return streaming.fold_chunks(add, len(rows), chunk_size, jnp.zeros(rows.shape[1], b.dtype))


def inner(a: Float[Array, "n d"], b: Float[Array, "n d"]) -> Float[Array, " n"]:
    """Inner products of the rows of two matrices, some rows at a time: products of all entries may not fit.

    Args:
        a: a matrix.
        b: another of its shape.
    """
    # As a product with ones: XLA sums the rows of a matrix ten times slower on CPUs.
    ones, most = jnp.ones(a.shape[1], a.dtype), streaming.default_chunk_size(a.shape[1], on_cpu=2**24)
    return _in_chunks(lambda a, b: dot(a * b, ones), a, b, chunk_size=most)


def run_of(arrays: Sequence[Array | None], first: Int[Array, ""], size: int) -> tuple[Array | None, ...]:
    """Neighbouring entries of some arrays.

    Args:
        arrays: all of one length, or `None`, which is kept.
        first: index of the first entry.
        size: number of entries.
    """
    if size == len(arrays[0]):
        return tuple(arrays)
    return tuple(None if x is None else jax.lax.dynamic_slice_in_dim(x, first, size) for x in arrays)


class RelativeRows:
    """Rows of a matrix, less the row of the nearest point, the leading ones in full precision.

    Args:
        rows: the matrix.
        near: index of the nearest.
        leading: indices of the rows that are subtracted, or `None` for all; the others come from products.
        chunk_size: rows in a product.
    """

    def __init__(self, rows, near, leading, chunk_size):
        self.rows, self.index, self.leading, self.chunk_size = rows, near, leading, chunk_size
        self.near = rows[near]
        self.exact = self.leading_of(rows) - self.near[None]

    def of(self, rows):
        """The same of another matrix, which may be wide: all its rows are never subtracted."""
        leading = self.index[None] if self.leading is None else self.leading
        return RelativeRows(rows, self.index, leading, self.chunk_size)

    def leading_of(self, rows):
        """Rows of another matrix that belong to `exact`."""
        return rows if self.leading is None else rows[self.leading]

    def replace(self, others, exact):
        """Numbers by row: those of leading rows are `exact`."""
        return exact if self.leading is None else others().at[self.leading].set(exact, unique_indices=True)

    def times(self, u):
        """`(row_i - near) . u`."""
        return self.replace(lambda: times(self.rows, u, self.chunk_size) - dot(self.near, u), dot(self.exact, u))

    def combine(self, b):
        """`sum_i b_i (row_i - near)`."""
        if self.leading is None:
            return dot(b, self.exact)
        others = b.at[self.leading].set(0, unique_indices=True)
        return dot(b[self.leading], self.exact) + combine(others, self.rows, self.chunk_size) - others.sum() * self.near


def _in_chunks(function, *arrays, chunk_size):
    """A function that takes rows to numbers, of all rows of some arrays, a chunk after the other."""
    whole = len(arrays[0]) // chunk_size
    if whole <= 1:
        return function(*arrays)
    first = jax.lax.map(lambda i: function(*run_of(arrays, i * chunk_size, chunk_size)), jnp.arange(whole))
    return jnp.concatenate([first.ravel(), function(*(x[whole * chunk_size :] for x in arrays))])
