"""How the posterior over patches changes with what it is made of: its derivative, which streams the keys once more.

With p_j the weights, which sum to 1, and a_j the change of `-E_j / T`, the mean m changes by

    sum_j p_j a_j (t_j - m) + sum_j p_j dt_j.

The normaliser is known (`Posterior.free_energy`), so every chunk of images adds to the sums what it has to, whatever
the others are: the loop carries nothing that is not a sum, and its transpose, a gradient, keeps nothing of it.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcreativity._numerics.changes import change
from jaxcreativity._numerics.exponential import exp2
from jaxcreativity._numerics.windows import Windows
from jaxcreativity.theory.patches._blocks import contract, with_one
from jaxcreativity.theory.patches._energies import SMALL, Precision, Tiles
from jaxcreativity.theory.patches._keys import KeyImages
from jaxcreativity.theory.patches._posterior import Posterior, keys_of_blocks, numbers_of_blocks, over_queries

LEAST = -100.0
"""Logarithm of a weight that is none; its change is none, too, however fast its energy changes."""

COLDEST = 1e-15
"""Temperature that energies from products, of `streaming.MASKED` too, can be divided by in float32."""


class Moves(NamedTuple):
    """Changes of what a posterior is made of; `None` is no change.

    Attributes:
        y: of the image.
        data: of the training images.
        penalty: of what is added to the energies of each (`KeyImages.penalty`).
        temperature: of the temperature.
        weights: of what squared differences are multiplied by.
    """

    y: Float[Array, "height width c"] | None
    data: Float[Array, "n height width c"] | None
    penalty: Float[Array, " n"] | None
    temperature: Float[Array, ""] | None
    weights: Float[Array, " d"] | None = None


def posterior_change(
    moves: Moves,
    found: Posterior,
    y: Float[Array, "height width c"],
    queries: Windows,
    keys: Windows,
    source: KeyImages,
    temperature: Float[Array, ""],
    *,
    weights: Float[Array, " d"] | None = None,
    precision: Precision | None = None,
) -> Posterior:
    """The change of a posterior, linear in `moves`; its `kept` is `None`.

    Args:
        moves: what changes.
        found: the posterior.
        y: as it was given.
        queries: as they were given.
        keys: as they were given.
        source: as it was given.
        temperature: as it was given.
        weights: as they were given.
        precision: as it was given.
    """
    height = 1 if weights is None else keys.size[0]
    options = {"height": height, "size": SMALL, "weights": weights, "precision": precision}
    tiles = Tiles.of(y, queries, keys, source, **options)
    log_share, mean = jnp.zeros_like(found.free_energy), jnp.zeros_like(found.mean)
    if weights is None:  # with weights, none are kept apart
        log_share, mean = jax.lax.cond(
            jnp.any(found.kept >= 0),
            lambda moves: _of_blocks(moves, found, y, queries, keys, source, temperature),
            lambda _: (log_share, mean),
            moves,
        )
    strips = None if moves.y is None else Tiles.of(moves.y, queries, keys, source, **options).strips
    sums = _of_others(moves, strips, found, tiles, source, temperature, log_share)
    weight = sums[..., -1]
    mean = mean + sums[..., :-1] - found.mean * weight[..., None]
    # All weights relative to the free energy sum to 1, however it changes.
    is_none = log_share <= LEAST
    own = weight / jnp.exp(jnp.where(is_none, 0, log_share))
    if moves.temperature is not None:
        own = own + log_share * moves.temperature / temperature
    return Posterior(mean, jnp.where(is_none, 0, -temperature * own), None)


def _of_others(moves, strips_move, found, tiles, source, temperature, log_share) -> Float[Array, "h w c1"]:
    """Change of `sum_j p_j (t_j, 1)` over the keys outside the kept blocks, whose weights sum to their share."""
    keys, dtype, num_columns = tiles.keys, tiles.strips.dtype, tiles.keys.shape[1]
    inverse = 1 / (jnp.maximum(temperature, COLDEST) * math.log(2))
    # Weights are relative to all keys; of their own energies' rounding they are at most their share.
    reference = found.free_energy * inverse + log_share / math.log(2)
    most = log_share / math.log(2) + 1
    inverse_moves = _of_inverse(moves, temperature)
    own = tiles.off_grid((reference, most, found.kept))

    def one_chunk(sums, images, penalty, first, moved):
        images_move, penalty_moves = moved
        images_move = None if images_move is None else images_move.astype(dtype)
        numbers = first * num_columns + jnp.arange(len(images) * num_columns)

        @functools.partial(jax.checkpoint, prevent_cse=False)  # in a loop nothing is taken twice
        def one_tile(inputs):
            (strips, strips_move), (reference, most, kept) = inputs
            reference, most = (x.reshape(1, 1, -1) for x in (reference, most))
            is_kept = jnp.any(numbers[:, None, None] == kept[None], axis=1)

            def of_tile(strips, images, penalty, relative, weights):
                energies = dataclasses.replace(tiles, weights=weights).energies(
                    images, penalty, inverse * relative, whole=True
                )(strips)
                log_p = reference * relative - energies
                p = exp2(jnp.where(log_p < most, log_p, most))
                # `exp2` is never 0, and energies of masked keys change without bound.
                p = jnp.where(is_kept[:, None] | (log_p < -125), 0, p).reshape(-1, tiles.q)
                return contract("kc,kq->cq", with_one(keys.centres(images).reshape(-1, images.shape[-1])), p)

            args = strips, images, penalty, jnp.ones((), dtype), tiles.weights
            return change(of_tile, args, (strips_move, images_move, penalty_moves, inverse_moves, moves.weights))

        return sums + jax.lax.map(one_tile, ((tiles.strips, strips_move), own))

    start = jnp.zeros((len(tiles.strips), source.data.shape[-1] + 1, tiles.q), dtype)
    rows = moves.data, moves.penalty
    return tiles.on_grid(source.scan(one_chunk, start, temperature, tiles.chunk_size, rows))


def _of_blocks(moves, found, y, queries, keys, source, temperature) -> tuple[Array, Array]:
    """Logarithm of the share of all other keys, and what the kept blocks change in the mean."""
    penalty, numbers = source.penalty(temperature), numbers_of_blocks(keys, source)
    patches = queries.cut(y[None])[0]

    def normaliser(inputs):
        query, kept, free_energy = inputs
        energies, _ = keys_of_blocks(query, kept, keys, source, penalty)
        least = jnp.minimum(energies.min(), free_energy)
        log_share = (least - free_energy) / temperature
        log_total = jnp.log(jnp.exp(log_share) + jnp.sum(jnp.exp((least - energies) / temperature)))
        return least, log_total, jnp.maximum(log_share - log_total, LEAST)

    inverse_moves = _of_inverse(moves, temperature)
    least, log_total, log_share = over_queries(normaliser, (patches, found.kept, found.free_energy), numbers)

    @functools.partial(jax.checkpoint, prevent_cse=False)  # in a loop nothing is taken twice
    def one_query(inputs):
        query, query_moves, kept, mean, least, log_total = inputs

        def of_keys(query, data, penalty, relative):
            energies, values = keys_of_blocks(query, kept, keys, dataclasses.replace(source, data=data), penalty)
            log_p = jnp.maximum((least - energies) / temperature - log_total, LEAST) * relative
            return contract("k,kc->c", jnp.exp(log_p), values - mean[None])

        args = query, source.data, penalty, jnp.ones_like(temperature)
        return change(of_keys, args, (query_moves, moves.data, moves.penalty, inverse_moves))

    patches_move = None if moves.y is None else queries.cut(moves.y[None])[0]
    inputs = patches, patches_move, found.kept, found.mean, least, log_total
    return log_share, over_queries(one_query, inputs, numbers)


def _of_inverse(moves, temperature):
    """The change of the inverse temperature, relative to it."""
    return None if moves.temperature is None else -moves.temperature / temperature
