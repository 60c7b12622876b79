"""Tables of one entry for each noise level: which entry a noise level finds."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcreativity._numerics.levels import LevelTable, nearest_level


def test_nearest_level_is_nearest_in_ratio():
    levels = np.array([8.0, 2.0, 0.5])
    for sigma, index in [(100.0, 0), (4.1, 0), (3.9, 1), (1.01, 1), (0.99, 2), (1e-4, 2)]:
        assert nearest_level(levels, sigma) == index


def test_a_table_gives_all_entries_of_one_level():
    levels = jnp.asarray([10.0, 1.0, 0.1])
    table = LevelTable(levels, {"matrix": jnp.arange(12.0).reshape(3, 2, 2), "bias": jnp.arange(3.0)})
    sigmas = jnp.asarray([20.0, 1.3, 0.05])
    found = jax.jit(jax.vmap(lambda sigma: table.at(sigma)))(sigmas)
    np.testing.assert_array_equal(found["bias"], [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(found["matrix"], table.entries["matrix"])
    assert table.level(1.3) == 1.0
