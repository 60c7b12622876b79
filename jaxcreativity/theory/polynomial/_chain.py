"""Phi, the map from the seed of one coordinate to its sample along a finite noise grid with eta = 0."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcreativity.sampling import step_coefficients
from jaxcreativity.theory.polynomial import _expansion
from jaxcreativity.theory.polynomial.separable import PolynomialDenoiser, coordinate_shift, tabulate

Chain: TypeAlias = Callable[..., jax.Array]
"""`chain(z, frozen=False)`: samples of seeds `z`; with `frozen` nothing but z is differentiated."""


def over_coordinates(
    denoiser: PolynomialDenoiser,
    sigmas: Float[Array, " levels"],
    function: Callable[[Chain, Any], jax.Array],
    columns: Any,
) -> Float[Array, "d *values"]:
    """`function(chain, column)` for each coordinate's chain, stacked.

    Args:
        denoiser: separable.
        sigmas: noise grid.
        function: of one coordinate.
        columns: what goes with each coordinate, stacked, or `None`.
    """
    table = tabulate(denoiser, sigmas).table.entries
    d = denoiser.target.mean.size
    num_coords = denoiser.target.mean.ndim

    def flatten(leaf):
        leaf = leaf.reshape(leaf.shape[0], d, *leaf.shape[1 + num_coords :])
        return jnp.moveaxis(leaf, 1, 0).astype(sigmas.dtype)

    def one(inputs):
        table, shift, column = inputs
        return function(partial(_chain, table, sigmas, shift), column)

    shift = coordinate_shift(denoiser).astype(sigmas.dtype)
    return jax.lax.map(one, (jax.tree.map(flatten, table), shift, columns))


def with_slope(chain: Chain, z: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Phi and Phi' at `z`."""
    return jax.jvp(chain, (z,), (jnp.ones_like(z),))


def _chain(table, sigmas, shift, z, frozen=False):
    """The sampler's deterministic chain."""
    if frozen:
        table, sigmas, shift = jax.lax.stop_gradient((table, sigmas, shift))

    def step(y, inputs):
        projection, sigma, sigma_next = inputs
        c, _ = step_coefficients(sigma, sigma_next, 0.0)
        kept = jnp.where(sigma_next > 0, c * y, 0.0)  # 0 times infinity in the last step
        return (1 - c) * _expansion.evaluate_once(projection, y) + kept, None

    return jax.lax.scan(step, sigmas[0] * z - shift, (table, sigmas[:-1], sigmas[1:]))[0]
