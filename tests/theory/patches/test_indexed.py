"""The indexed ELS denoiser against the exact one, with error bars; kept indices; bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity.theory import patches
from jaxcreativity.theory._index import Cells, Draws, build
from jaxcreativity.theory._index.cells import into_cells

RNG = np.random.default_rng(0)
IMAGES = 5.0 + 0.3 * RNG.normal(size=(40, 8, 9, 2)).cumsum(axis=1)
"""Far from zero, smooth down the columns."""
NOISE = RNG.normal(size=(3, 8, 9, 2))


def index(boundary, num_cells=256, **options):
    return patches.build_index(
        jnp.asarray(IMAGES), 3, boundary=boundary, num_cells=num_cells, key=jax.random.key(0), **options
    )


def both(boundary, num_head, num_tail=64, key=1, **options):
    """The indexed denoiser and the exact one."""
    indexed = patches.IndexedLocalDenoiser(
        index(boundary), num_head=num_head, num_tail=num_tail, key=jax.random.key(key), **options
    )
    return indexed, patches.LocalDenoiser(jnp.asarray(IMAGES), 3, equivariant=True, boundary=boundary, **options)


WHO = {
    "all": {},
    "label": {"labels": np.arange(40) % 3, "label": 1},
    "weights": {"weights": np.arange(40.0), "excluded": 39},
}


@pytest.mark.parametrize(("boundary", "who"), [
    ("interior", "all"),
    pytest.param("circular", "label", marks=pytest.mark.slow),
    pytest.param("broken", "weights", marks=pytest.mark.slow),
])  # fmt: skip
def test_with_all_patches_in_the_head_it_is_exact(boundary, who):
    """Values and gradients, at each noise level of a batch; the errors are 0."""
    indexed, exact = both(boundary, 2880 if boundary == "circular" else 1680, **WHO[who])
    sigmas = jnp.array([1e-3, 0.3, 3.0])
    y = IMAGES[:3] + sigmas[:, None, None, None] * NOISE
    got, error = jax.jit(jax.vmap(indexed.estimate))(y, sigmas)
    np.testing.assert_allclose(got, jax.jit(jax.vmap(exact))(y, sigmas), atol=1e-9)
    np.testing.assert_array_equal(error, np.zeros_like(y))
    gradients = (jax.jit(jax.grad(lambda y, d=d: jnp.sum(NOISE[0] * d(y, 0.3)))) for d in (indexed, exact))
    np.testing.assert_allclose(*(gradient(y[1]) for gradient in gradients), atol=1e-9)


@pytest.mark.parametrize(("num_head", "num_tail", "sigma"), [(100, 600, 2.0), (1, 300, 5.0), (600, 900, 1.5)])
def test_errors_are_those_of_the_draws(num_head, num_tail, sigma):
    """Over 40 sets of draws: unbiased to three standard errors, as far off as it says, twice that for 90 to 99 %."""
    y = jnp.asarray(IMAGES[1] + sigma * NOISE[1])
    indexed, exact = both("interior", num_head, num_tail)
    draw = lambda key: jax.jit(type(indexed).estimate)(indexed_with(indexed, key), y, sigma)  # noqa: E731
    found, errors = (np.stack(x) for x in zip(*map(draw, range(40)), strict=True))
    off = found - np.asarray(exact(y, sigma))[None]
    assert 0.9 <= np.mean(np.abs(off) < 2 * errors) <= 0.99
    np.testing.assert_allclose(np.sqrt(np.mean(off**2)), np.sqrt(np.mean(errors**2)), rtol=0.15)
    bias = off.mean(axis=0) / np.sqrt(np.mean(errors**2, axis=0) / len(off))
    assert np.mean(np.abs(bias) < 3) > 0.95


def indexed_with(indexed, key):
    return patches.IndexedLocalDenoiser(
        indexed.index, num_head=indexed.num_head, num_tail=indexed.num_tail, key=jax.random.key(key)
    )


def test_batches_are_examples_one_by_one_and_derivatives_hold_the_choice():
    """More pairs than fit in one tile; noise levels of their own. Forward differences within one choice of cells."""
    indexed, _ = both("circular", 400)
    sigmas = jnp.array([0.3, 1.0, 4.0])
    y = IMAGES[:3] + sigmas[:, None, None, None] * NOISE
    batch = jax.jit(jax.vmap(indexed))(y, sigmas)
    one = jax.jit(indexed)
    for i in range(3):
        np.testing.assert_allclose(batch[i], one(y[i], sigmas[i]), atol=1e-12)
    step = 1e-7
    slope = jax.jvp(lambda y: indexed(y, 1.0), (y[1],), (jnp.asarray(NOISE[2]),))[1]
    finite = (one(y[1] + step * NOISE[2], 1.0) - one(y[1] - step * NOISE[2], 1.0)) / (2 * step)
    np.testing.assert_allclose(slope, finite, atol=1e-5)


def test_cells_of_one_patch():
    """Each is drawn whole, so that what is near is exact."""
    few = jnp.asarray(IMAGES[:2, :4, :4])
    cells = patches.build_index(few, 3, boundary="interior", num_cells=8, key=jax.random.key(0))
    indexed = patches.IndexedLocalDenoiser(cells, num_head=1, num_tail=2, key=jax.random.key(1))
    found, error = indexed.estimate(few[0], 1.0)
    exact = patches.LocalDenoiser(few, 3, equivariant=True, boundary="interior")
    np.testing.assert_allclose(found, exact(few[0], 1.0), atol=1e-12)
    np.testing.assert_array_equal(error, np.zeros_like(found))


def test_what_no_patch_is_met_for_is_not_a_number():
    """Patches of one image of 40 count, and no draw is one of them: the head knows them, or nothing does."""
    indexed, _ = both("interior", 1, labels=(np.arange(40) == 39).astype(int), label=1)
    object.__setattr__(indexed, "draws", jax.tree.map(lambda x: jnp.full_like(x, -1), indexed.draws))
    found, error = indexed.estimate(jnp.asarray(IMAGES[0]), 0.5)
    assert bool(jnp.isnan(found).any())
    assert bool((jnp.isnan(found) == jnp.isnan(error)).all())


def test_moments_of_cells_leave_empty_places_out():
    """1680 patches in 256 cells of 6 or 7 places; of 6 places all are looked at."""
    index_ = index("interior")
    cells, kind = (jax.tree.map(lambda x: x[0], x[0]) for x in (index_.cells, index_.classes))
    points = kind.cut_keys(jnp.asarray(IMAGES), jnp.arange(1680) // 42, jnp.arange(1680) % 42)
    points = (np.asarray(points) - np.asarray(cells.mean)) @ np.asarray(cells.basis)
    for keys, centre, spread in zip(*map(np.asarray, (cells.keys, cells.centre, cells.spread)), strict=True):
        some = points[[key for key in keys[:6] if key >= 0]]
        np.testing.assert_allclose(some.mean(axis=0), centre, atol=1e-9)
        np.testing.assert_allclose(some.var(axis=0), spread, atol=1e-9)


@pytest.mark.parametrize("boundary", ["interior", "circular", "broken"])
def test_every_patch_is_in_one_cell(boundary):
    """Cells differ by one patch in size, and lie apart: of random ones of seven keys the spread is 6 times as large."""
    for kind, cells in zip(index(boundary).classes, index(boundary).cells, strict=True):
        assert int((cells.keys < 0).sum(axis=-1).max()) <= 1
        for keys in np.asarray(cells.keys):
            np.testing.assert_array_equal(np.sort(keys[keys >= 0]), np.arange(40 * kind.keys.shape[1]))
    cells = index(boundary).cells[0]
    assert cells.spread.sum(axis=-1).mean() < cells.centre.var(axis=-2).sum(axis=-1).mean()


def test_draws_are_without_replacement():
    """From each cell, and from each block; 1000 keys in 256 cells of 3 or 4."""
    keys = jnp.asarray(into_cells(np.arange(1000), 256, np.random.default_rng(0)))
    nothing = jnp.zeros((256, 1))
    cells = Cells(keys, jnp.zeros(1), jnp.ones((1, 1)), nothing, nothing)
    for num_far in (5, 128, 256):
        draws = Draws.of(cells, 3, num_far, jax.random.key(0))
        assert draws.near.shape == (2, 3 * 128)
        assert draws.far.shape == (2, num_far)
        for row in (*np.asarray(draws.near).reshape(256, 3), *np.asarray(draws.far)):
            row = row[row >= 0]
            assert len(set(row.tolist())) == len(row)


def test_an_index_is_kept_known_again_and_resumed(tmp_path, monkeypatch):
    first = index("interior", cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    monkeypatch.setattr(build, "build", None)  # nothing is built again
    again = index("interior", cache_dir=tmp_path)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"damaged.*delete the file"):
        index("interior", cache_dir=tmp_path)
    path.unlink()
    monkeypatch.undo()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "into_cells", stop)
    with pytest.raises(KeyboardInterrupt):
        index("interior", cache_dir=tmp_path)
    monkeypatch.undo()
    (parts,) = tmp_path.iterdir()
    (part,) = parts.rglob("*.npy")
    np.save(part, np.load(part)[::-1])  # what was found before the kill is not computed again
    resumed = index("interior", cache_dir=tmp_path)
    assert [p.suffix for p in tmp_path.iterdir()] == [".npz"]
    assert bool((resumed.cells[0].keys != first.cells[0].keys).any())
    index("interior", 128, cache_dir=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("options", "message"), [
    ({"num_cells": 100}, "power of two"),
    ({"num_cells": 2**11}, "no cell without keys"),
    ({"boundary": "zero"}, "boundary"),
    ({"patch_size": 4}, "patch_size"),
])  # fmt: skip
def test_bad_indices(options, message):
    arguments = {"patch_size": 3, "boundary": "interior", "key": jax.random.key(0)} | options
    with pytest.raises(ValueError, match=message):
        patches.build_index(jnp.asarray(IMAGES), **arguments)


def test_bad_budgets_and_images(unchecked):
    of = index("interior")
    options = {"num_head": 10, "num_tail": 10, "key": jax.random.key(0)}
    for wrong, message in (
        ({"num_head": 1681}, "num_head must be at most the number of patches, 1680"),
        ({"num_tail": 0}, "num_tail"),
        ({"excluded": 40}, "excluded"),
        ({"labels": np.arange(40) % 3, "label": 7}, "label 7 has no image"),
    ):
        with pytest.raises(ValueError, match=message):
            patches.IndexedLocalDenoiser(of, **options | wrong)
    with pytest.raises(ValueError, match="build_index"):
        patches.IndexedLocalDenoiser(jnp.asarray(IMAGES), **options)
    denoiser = patches.IndexedLocalDenoiser(of, **options)
    with pytest.raises(ValueError, match="shape"):
        denoiser(jnp.zeros((8, 8, 2)), 1.0)
    with pytest.raises(ValueError, match="sigma must be at least 0"):
        denoiser.estimate(jnp.zeros((8, 9, 2)), -1.0)
