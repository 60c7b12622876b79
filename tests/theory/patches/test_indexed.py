"""The indexed ELS denoiser against the exact one, with error bars; kept indices; bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity.theory import patches
from jaxcreativity.theory._index import build, keeping
from jaxcreativity.theory._index.draws import draw_cells, heaviest, pick
from jaxcreativity.theory._index.weighing import weigh

RNG = np.random.default_rng(0)
IMAGES = 5.0 + 0.3 * RNG.normal(size=(40, 8, 9, 2)).cumsum(axis=1)
"""Far from zero, smooth down the columns."""
NOISE = RNG.normal(size=(3, 8, 9, 2))


def index(boundary, num_cells=256, patch_size=3, **options):
    return patches.build_index(
        jnp.asarray(IMAGES), patch_size, boundary=boundary, num_cells=num_cells, key=jax.random.key(0), **options
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


@pytest.mark.parametrize(("num_head", "num_tail", "sigma"), [(100, 30, 1.5), (1, 40, 5.0), (1, 30, 3.0)])
def test_errors_are_those_of_the_draws(num_head, num_tail, sigma):
    """Over 40 sets of draws: unbiased to three standard errors, and off by twice the error or less for 90 to 99 %.

    Draws are few beside the patches. Neighbours tell errors up to half larger than they are: draws of one cell share
    its keys out among them, so that the sum of these errs less than their differences.
    """
    y = jnp.asarray(IMAGES[1] + sigma * NOISE[1])
    indexed, exact = both("interior", num_head, num_tail)
    draw = lambda key: jax.jit(type(indexed).estimate)(indexed_with(indexed, key), y, sigma)  # noqa: E731
    found, errors = (np.stack(x) for x in zip(*map(draw, range(40)), strict=True))
    off = found - np.asarray(exact(y, sigma))[None]
    assert 0.9 <= np.mean(np.abs(off) < 2 * errors) <= 0.99
    assert 0.65 < np.sqrt(np.mean(off**2) / np.mean(errors**2)) < 1.1
    bias = off.mean(axis=0) / np.sqrt(np.mean(errors**2, axis=0) / len(off))
    assert np.mean(np.abs(bias) < 3) > 0.95


def indexed_with(indexed, key):
    return patches.IndexedLocalDenoiser(
        indexed.index, num_head=indexed.num_head, num_tail=indexed.num_tail, key=jax.random.key(key)
    )


def test_batches_are_examples_one_by_one():
    """More pairs than fit in one tile; noise levels of their own."""
    indexed, _ = both("circular", 400)
    sigmas = jnp.array([0.3, 1.0, 4.0])
    y = IMAGES[:3] + sigmas[:, None, None, None] * NOISE
    batch = jax.jit(jax.vmap(indexed))(y, sigmas)
    one = jax.jit(indexed)
    for i in range(3):
        np.testing.assert_allclose(batch[i], one(y[i], sigmas[i]), atol=1e-12)


def test_derivatives_are_those_of_the_draws():
    """Draws and their chances held fixed: over 20 sets of draws, those of the exact form to four standard errors."""
    indexed, exact = both("interior", 100, 200)
    y, direction = IMAGES[1] + 2.0 * NOISE[1], jnp.asarray(NOISE[2])
    slope = lambda d: jax.jvp(lambda y: d(y, 2.0), (jnp.asarray(y),), (direction,))[1]  # noqa: E731
    slopes = np.stack([jax.jit(slope)(indexed_with(indexed, key)) for key in range(20)])
    off = slopes.mean(axis=0) - np.asarray(jax.jit(slope)(exact))
    assert np.mean(np.abs(off) < 4 * slopes.std(axis=0) / np.sqrt(20) + 1e-3) > 0.98
    assert np.sqrt(np.mean(off**2)) < 0.1 * slopes.std()


def test_what_no_patch_is_met_for_is_not_a_number():
    """Of images without weight: the head knows a patch that counts, or a draw is one, or nothing is known."""
    indexed, _ = both("interior", 1, num_tail=3, labels=(np.arange(40) == 39).astype(int), label=1)
    found, error = indexed.estimate(jnp.asarray(IMAGES[0]), 0.1)
    assert bool(jnp.isnan(found).any())
    assert bool((jnp.isnan(found) == jnp.isnan(error)).all())


def test_moments_of_cells_leave_empty_places_out():
    """1680 patches in 256 cells of 6 or 7, with 16 places each; coordinates are kept to a 254th of their range."""
    index_ = index("interior")
    cells, kind = (jax.tree.map(lambda x: np.asarray(x[0]), x[0]) for x in (index_.cells, index_.classes))
    points = kind.cut_keys(jnp.asarray(IMAGES), jnp.arange(1680) // 42, jnp.arange(1680) % 42)
    points = (np.asarray(points) - cells.mean) @ cells.basis
    assert cells.keys.shape == (256, 16)
    for i, keys in enumerate(cells.keys):
        some = points[keys[keys >= 0]]
        np.testing.assert_allclose(some.mean(axis=0), cells.centre[i], atol=1e-9)
        np.testing.assert_allclose(some.var(axis=0)[:16], cells.spread[i], atol=1e-9)
        off = np.abs(some - cells.centre[i])
        np.testing.assert_allclose(127 * cells.unit[i], off.max(axis=0), rtol=1e-12)
        kept = cells.unit[i] * cells.points[i].T
        assert np.all(np.abs(kept[keys >= 0] - (some - cells.centre[i])) <= 0.5001 * cells.unit[i])
        assert not kept[keys < 0].any()


@pytest.mark.parametrize("boundary", ["interior", "circular", "broken"])
def test_every_patch_is_in_one_cell(boundary):
    """Cells differ by one patch in size, and lie apart: of random ones of seven keys the spread is 6 times as large."""
    for kind, cells in zip(index(boundary).classes, index(boundary).cells, strict=True):
        in_cells = np.sum(cells.keys >= 0, axis=2)
        assert np.ptp(in_cells, axis=1).max() <= 1
        for keys in np.asarray(cells.keys):
            np.testing.assert_array_equal(np.sort(keys[keys >= 0]), np.arange(40 * kind.keys.shape[1]))
    cells = index(boundary).cells[0]
    assert cells.spread.sum(axis=-1).mean() < cells.centre.var(axis=-2).sum(axis=-1).mean()


def test_an_index_does_not_depend_on_how_many_patches_are_held_at_once(monkeypatch):
    """Most patches are one and the same, as those of the background of digits are, and fill the first cells."""
    images = np.concatenate([np.full((60, 8, 9, 2), IMAGES.max() + 1), IMAGES]).astype(np.float32)
    build_index = functools.partial(patches.build_index, jnp.asarray(images), 3, boundary="interior", num_cells=256)
    at_once = build_index(key=jax.random.key(0))
    monkeypatch.setattr(build, "_AT_ONCE", 2000)
    in_runs = build_index(key=jax.random.key(0))
    np.testing.assert_array_equal(at_once.cells[0].keys, in_runs.cells[0].keys)
    kept = (index.cells[0].unit[..., None] * index.cells[0].points for index in (at_once, in_runs))
    np.testing.assert_allclose(*kept, atol=1e-5)
    (cells,) = at_once.cells
    assert float((cells.unit[..., 0] < cells.unit[..., 0].max() / 100).mean()) > 0.5  # each cell has its own unit
    said = build.size_in_bytes(100 * 42, 256, entries=18)
    assert said == sum(x.nbytes for x in jax.tree.leaves(cells))


@pytest.mark.parametrize(("cells", "num"), [(8, 3), (256, 3), (256, 7), (1024, 1)])
def test_the_heaviest_cells_are_found_block_by_block(cells, num):
    """Several may be in one block."""
    masses = RNG.normal(size=(5, cells))
    masses[0, 64:70] += 10.0 * (cells > 64)
    wanted = np.argsort(-masses, axis=1)[:, :num]
    np.testing.assert_array_equal(heaviest(jnp.asarray(masses), num), wanted)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.5, 1.0])
def test_what_weighs_nothing_is_not_picked(place):
    """Not at the ends, either, where rounding may bring a place."""
    weights = jnp.asarray([0.0, 1.0, 0.0, 3.0, 0.0], jnp.float32)
    for places in (jnp.float32(place), jnp.full(2, place, jnp.float32)):
        index, share, rest = (np.asarray(x).ravel()[0] for x in pick(weights, places))
        assert index == (1 if place < 0.25 else 3)
        assert share == weights[index] / 4
        np.testing.assert_allclose(rest, place * 4 if place < 0.25 else (place * 4 - 1) / 3, atol=1e-6)


def test_chances_of_draws_are_how_often_they_are_drawn():
    """Over 300 sets of 200 draws, to four standard errors of each key's count; what is far is drawn, too."""
    cells = jax.tree.map(lambda x: x[0], index("interior", 16).cells[0])
    z = jnp.zeros((1, cells.centre.shape[1])).at[0, :2].set(1.0)
    temperature, sets, m = jnp.asarray([2.0]), 300, 200
    readout = jnp.eye(len(z[0]))[:, :2]
    masked = np.asarray(cells.keys[5])[:9]
    log_weights = lambda numbers: jnp.where((numbers < 0) | jnp.isin(numbers, masked), -jnp.inf, 5e-4 * numbers)  # noqa: E731

    def one(key):
        start, turn = jax.random.split(key)
        turns = jax.random.uniform(turn, (16,))
        masses = cells.log_masses(z, temperature[0]).at[0, 3].set(-jnp.inf)
        places = draw_cells(masses, cells, jax.random.uniform(start, (1,)), turns, m)
        return places, weigh(z, temperature, cells, places, log_weights, readout)

    places, found = jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), sets)))
    for i in range(16):  # what is said of a cell and of its keys, against sums by hand
        keys = np.asarray(cells.keys[i])
        points = (np.asarray(cells.points[i]) * np.asarray(cells.unit[i])[:, None]).T
        logs = -np.square(np.asarray(z) - np.asarray(cells.centre[i]) - points).sum(axis=1) / 2 + log_weights(keys)
        here = places.cell == i
        if i == 3:
            assert not here.any()
            continue
        weights = np.exp(logs)
        np.testing.assert_allclose(found.log_mass[here], np.log(weights.sum()), atol=1e-9)
        mean = weights @ points[:, :2] / weights.sum()
        np.testing.assert_allclose(found.mean[here], np.broadcast_to(mean, found.mean[here].shape), atol=1e-9)
        at = np.argmax(found.number[here][:, None] == keys[None], axis=1)
        np.testing.assert_array_equal(keys[at], found.number[here])
        np.testing.assert_allclose(found.log_weight[here], logs[at], atol=1e-9)
        np.testing.assert_allclose(found.value[here], points[at, :2], atol=1e-9)
    numbers = found.number.ravel()
    chance = np.zeros(1680)
    chance[numbers] = np.exp(places.log_chance + found.log_weight - found.log_mass).ravel()
    expected = sets * m * chance
    counts = np.bincount(numbers, minlength=1680)
    assert not counts[masked].any()
    assert abs(expected.sum() / (sets * m) - 1) < 0.01  # nearly all keys have been drawn
    assert np.mean(np.abs(counts - expected) <= 4 * np.sqrt(expected) + 1) > 0.999
    energies = np.square(np.asarray(z) - np.asarray(cells.centre)).sum(axis=1)
    far = np.asarray(cells.keys[energies.argmax()])
    assert counts[far[far >= 0]].sum() > 0


SIGMAS = jnp.array([8.0, 2.0, 0.5, 0.0])


def by_level(patch_sizes, tolerance, num_tail=256, indices=None):
    return patches.indexed_by_level(
        indices or [index("interior"), index("interior", patch_size=5)], SIGMAS, patch_sizes, num_head=1,
        num_tail=num_tail, key=jax.random.key(3), tolerance=tolerance,
    )  # fmt: skip


def test_draws_are_as_many_as_an_error_takes():
    """The error at each level is at most the wanted one, but for other images than it was measured on."""
    tolerance = 0.06
    machine = by_level((5, 5, 3), tolerance)
    draws = [d.num_tail for d in machine.denoisers]
    assert [d.index.patch_size for d in machine.denoisers] == [5, 5, 3][-len(draws) :]
    assert 16 < max(draws) < 256
    for denoiser, sigma in zip(machine.denoisers, SIGMAS[-1 - len(draws) : -1], strict=True):
        y = jnp.asarray(IMAGES[:3]) + sigma * jnp.asarray(NOISE)
        errors = jax.jit(jax.vmap(denoiser.estimate, (0, None)))(y, sigma)[1]
        assert np.sqrt(np.mean(errors**2)) < 1.5 * tolerance
        np.testing.assert_array_equal(machine(y[0], sigma), denoiser(y[0], sigma))
    assert [d.num_tail for d in by_level((3, 3, 3), 1e3).denoisers] == [16]
    assert [d.num_tail for d in by_level((3, 3, 3), 1e-9).denoisers] == [256]
    assert [d.num_tail for d in by_level((3, 3, 3), None).denoisers] == [256]


def test_bad_indices_by_level():
    other = patches.build_index(jnp.asarray(IMAGES[::-1].copy()), 5, boundary="interior", key=jax.random.key(0))
    for options, message in (
        ({"patch_sizes": (7, 5, 3), "tolerance": None}, "patch size 7 has no index among those of"),
        ({"patch_sizes": (5, 3), "tolerance": None}, "patch_sizes"),
        ({"patch_sizes": (5, 5, 3), "tolerance": 0.0}, "tolerance must be positive"),
        ({"patch_sizes": (5, 5, 3), "tolerance": None, "indices": [index("interior"), other]}, "same images"),
        (
            {"patch_sizes": (3, 3, 3), "tolerance": None, "indices": [index("interior"), index("circular")]},
            "one boundary",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            by_level(**options)


def test_an_index_is_kept_known_again_and_resumed(tmp_path, monkeypatch):
    first = index("interior", cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    monkeypatch.setattr(keeping, "build", None)  # nothing is built again
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
        ({"num_tail": 2}, "num_tail must be at least 3"),
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
