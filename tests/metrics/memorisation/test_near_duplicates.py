"""Copies of images that a set holds nearly twice, and moved copies, against float64 brute force."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxcreativity import metrics

DIGITS = (load_digits().images[np.random.default_rng(0).permutation(1797), :, :, None] / 8 - 1).astype(np.float32)


def nearly(x, seed=1):
    return (x + 1e-3 * np.random.default_rng(seed).standard_normal(x.shape)).astype(x.dtype)


def pairwise(a, b, shifts=0, flips=False):
    """Distances `(len(a), len(b))`, the smallest over flips and shifts, by loops over pixels of the overlap."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if not (shifts or flips):
        return np.sqrt(np.square(a[:, None] - b[None]).reshape(len(a), len(b), -1).sum(axis=2))
    height, width = a.shape[1:3]
    found = []
    for x in (a, a[:, :, ::-1])[: 1 + flips]:
        for dy in range(-shifts, shifts + 1):
            for dx in range(-shifts, shifts + 1):
                here = [
                    np.square(x[:, None, i + dy, j + dx] - b[None, :, i, j]).mean(axis=-1)
                    for i in range(height) for j in range(width)
                    if 0 <= i + dy < height and 0 <= j + dx < width
                ]  # fmt: skip
                found.append(np.sqrt(np.mean(here, axis=0) * a[0].size))
    return np.min(found, axis=0)


def brute_force(samples, train, k=2, fraction=1 / 3, **moves):
    """Distances, indices, scale and share by the definition, from all distances between all images."""
    among = pairwise(train, train, **moves)
    np.fill_diagonal(among, np.inf)
    size = min(16, len(train) - 1, int(np.ceil(len(train) ** 0.5)))
    outermost = np.sort(among, axis=1)[:, size - 1]
    scale = np.median(outermost)
    for _ in range(100):
        limits = fraction * np.minimum(scale, outermost)
        scale = np.median([row[row > limit].min() for row, limit in zip(among, limits, strict=True)])
    near = among <= limits[:, None]
    distances = pairwise(samples, train, **moves)
    indices = np.zeros((len(samples), k), int)
    for i, row in enumerate(distances):
        left = row.copy()
        for rank in range(k):
            indices[i, rank] = left.argmin()
            left[near[indices[i, rank]]] = left[indices[i, rank]] = np.inf
    return np.take_along_axis(distances, indices, axis=1), indices, scale, near.any(axis=1).mean()


def with_twins(kind):
    """Training images, nearly all of one number, and images whose copies are looked for."""
    a = DIGITS[:72]
    return {
        "none": (a, a),
        "one each": (np.concatenate([a[:36], nearly(a[:36])]), a[:36]),
        "five each": (np.concatenate([a[:12], *(nearly(a[:12], seed) for seed in range(2, 7))]), a[:12]),
        "some": (np.concatenate([a[:60], nearly(a[:12])]), a[:12]),
        "eight of one": (np.concatenate([a[:64], nearly(np.repeat(a[:1], 8, axis=0))]), a[:1]),
        "three": (np.concatenate([a[:2], nearly(a[:1])]), a[:1]),
    }[kind]


@pytest.mark.parametrize("kind", ["none", "one each", "five each", "some", "eight of one", "three"])
def test_copies_of_near_duplicates_are_memorised_and_new_images_are_not(kind):
    train, copied = with_twins(kind)
    samples, held_out = nearly(copied, 9), DIGITS[200:260]
    found = metrics.novelty(samples, train, held_out)
    assert found.memorised.all()
    assert not found.held_out.memorised.any()
    for result, x in ((found, samples), (found.held_out, held_out)):
        distances, indices, scale, share = brute_force(x, train)
        np.testing.assert_allclose(result.distances, distances, rtol=1e-5)
        np.testing.assert_array_equal(result.indices, indices)
        assert result.neighbour_scale == pytest.approx(scale, rel=1e-5)
        assert result.near_duplicate_share == pytest.approx(share)
        assert result.duplicate_fraction == 1 / 3
    published = metrics.novelty(samples, train, ratio="published")
    assert published.memorised_fraction == (kind == "none")
    np.testing.assert_allclose(published.distances, np.sort(pairwise(samples, train))[:, :2], rtol=1e-5)
    assert (published.duplicate_fraction, published.neighbour_scale, published.near_duplicate_share) == (0, None, None)


@pytest.mark.parametrize(
    ("num_train", "count", "is_group"), [(316, 16, True), (316, 17, False), (100, 10, True), (100, 11, False)]
)
def test_groups_of_up_to_sixteen_are_near_duplicates(num_train, count, is_group):
    """An image and others nearly the same; in sets of less than 256, the square root of their number."""
    train = np.concatenate([DIGITS[: num_train + 1 - count], nearly(np.repeat(DIGITS[:1], count - 1, axis=0))])
    sample = nearly(DIGITS[:1], 9)
    found = metrics.novelty(sample, train)
    assert found.memorised.all() == is_group
    np.testing.assert_array_equal(found.indices, brute_force(sample, train)[1])


def test_the_share_of_near_duplicates_is_of_512_images():
    train = np.concatenate([DIGITS[:360], nearly(DIGITS[:243])])
    share = metrics.novelty(DIGITS[:1], train).near_duplicate_share
    assert share == pytest.approx(2 * 243 / 603, abs=0.01)
    assert share * 512 % 1 == 0


def test_no_share_of_the_scale_is_no_near_duplicate():
    """Two different images are at distance 0, as the square of their difference underflows."""
    train = np.array([[0.0], [1e-200], [1.0], [3.0]])
    counted = metrics.novelty(train[:1], train, duplicate_fraction=0.0)
    assert counted.indices.tolist() == [[0, 1]]
    assert (counted.near_duplicate_share, counted.ratio.tolist()) == (0, [0])
    found = metrics.novelty(train[:1], train)
    assert found.indices.tolist() == [[0, 2]]
    assert found.near_duplicate_share == 0.5


def test_the_third_neighbour_is_no_near_duplicate_of_the_first_two():
    x = np.array([[0.0], [0.01], [0.02], [5.0], [5.01], [9.0], [14.0], [20.0], [20.01]])
    found = metrics.novelty(np.array([[1.0], [6.0]]), x, neighbour=4)
    assert found.indices[:, 1:].tolist() == [[3, 5, 6], [5, 2, 6]]
    np.testing.assert_allclose(found.distances, brute_force(np.array([[1.0], [6.0]]), x, 4)[0])
    with pytest.raises(ValueError, match="6 different neighbours need more training images"):
        metrics.novelty(x, x, neighbour=6)


def test_clusters_are_structure_of_the_set():
    x = np.random.default_rng(3).standard_normal((900, 16))
    x[:600:5] *= 0.01
    x[600::5] *= 0.01
    train, new = x[:600], x[600:]
    found, published = (metrics.novelty(new, train, ratio=name) for name in ("distinct", "published"))
    np.testing.assert_array_equal(found.memorised, published.memorised)
    assert found.near_duplicate_share == 0
    # From 512 of the 600 images, whose nearest others are as far as those of any.
    nearest = np.sort(pairwise(train, train))[:, 1]
    low, high = np.quantile(nearest, (0.46, 0.54))
    assert low < found.neighbour_scale < high


@pytest.mark.parametrize("kind", ["one each", "five each", "some"])
def test_samples_of_near_duplicates_come_twice_as_those_of_their_images_do(kind):
    train, _ = with_twins(kind)
    samples = nearly(DIGITS[np.random.default_rng(2).integers(0, 12, 40)], 9)
    found, alone = (metrics.birthday_test(samples, x) for x in (train, DIGITS[:72]))
    assert found.tolerance == pytest.approx(brute_force(samples, train)[2] / 3, rel=1e-5)
    assert found.num_pairs == alone.num_pairs > 40
    fooled = metrics.birthday_test(samples, train, duplicate_fraction=0.0)
    assert (fooled.num_pairs < found.num_pairs) == (kind != "some")


def test_near_duplicates_are_one_vertex():
    train, images = with_twins("five each")
    others = pairwise(images, images) + np.diag(np.full(12, np.inf))
    blends = (0.6 * images + 0.4 * images[others.argmin(axis=1)]).astype(np.float32)
    found = metrics.hull_distance(blends, train, DIGITS[200:203], num_vertices=3)
    for x, result in ((blends, found), (DIGITS[200:203], found.held_out)):
        vertices = train[brute_force(x, train, 3)[1]].reshape(len(x), 3, -1)
        expected = [metrics.project_on_hull(one.ravel(), few).distance for one, few in zip(x, vertices, strict=True)]
        np.testing.assert_allclose(result.distances, expected, rtol=1e-3, atol=1e-4)
    assert np.median(found.ratio) < 0.01
    assert np.median(metrics.hull_distance(blends, train, num_vertices=3, duplicate_fraction=0.0).ratio) > 0.9


def test_a_hull_of_fewer_different_images_than_vertices(digits):
    train = np.concatenate([digits[:5], nearly(digits[:2])])
    found = metrics.hull_distance(digits[20:24], train, num_vertices=7)
    alone = metrics.hull_distance(digits[20:24], digits[:5], num_vertices=5)
    np.testing.assert_allclose(found.distances, alone.distances, rtol=1e-2)
    # The nearest comes again, not the second nearest, which is its twin.
    corners = np.array([[0.0, 0.0], [0.0, 1.0], [10.0, 0.0], [10.0, 10.0]])
    for num_vertices in (1, 4):
        found = metrics.hull_distance(np.array([[-1.0, 0.4]]), corners, num_vertices=num_vertices)
        np.testing.assert_allclose(found.distances, np.sqrt(1.16), rtol=1e-6)


@pytest.mark.parametrize(("shifts", "flips"), [pytest.param(0, True, marks=pytest.mark.slow), (1, True)])
def test_moved_copies_are_memorised_where_moves_are_searched(shifts, flips):
    train, held_out = np.concatenate([DIGITS[:60], nearly(DIGITS[:20])]), DIGITS[100:120]
    moved = DIGITS[:30]
    if shifts:
        moved = np.roll(moved, (1, -1), axis=(1, 2))
        moved[:, 0] = moved[:, :, -1] = 1  # whatever a border was filled with
    moved = nearly(moved[:, :, ::-1] if flips else moved, 9)
    options = {"shifts": shifts, "flips": flips}
    found = metrics.novelty(moved, train, held_out, **options)
    assert found.memorised.all()
    np.testing.assert_array_equal(found.indices[20:, 0], np.arange(20, 30))
    assert metrics.novelty(moved, train).memorised_fraction < 0.1
    assert found.held_out.memorised_fraction < 0.1
    for result, x in ((found, moved), (found.held_out, held_out)):
        np.testing.assert_allclose(result.distances, brute_force(x, train, **options)[0], rtol=1e-5)


def test_moved_images_of_unequal_sides():
    """All images count, so that the second neighbour is another image and not the first one moved."""
    train, x = (np.random.default_rng(seed).standard_normal((12, 3, 4, 2)) for seed in (4, 5))
    found = metrics.novelty(x, train, ratio="published", shifts=1)
    np.testing.assert_allclose(found.distances, np.sort(pairwise(x, train, shifts=1))[:, :2], rtol=1e-12)


def test_fractions_at_other_thresholds():
    changed = DIGITS[:72] + np.linspace(0, 0.5, 72, dtype=np.float32)[:, None, None, None]
    found = metrics.novelty(changed, DIGITS[:72], DIGITS[72:122])
    thresholds = np.array([0.1, 1 / 6, 1 / 3, 2 / 3, 1.0])
    ratio = np.asarray(found.ratio)
    np.testing.assert_allclose(found.memorised_at(thresholds), [(ratio < t).mean() for t in thresholds], rtol=1e-6)
    numbers = found.summary()
    assert numbers["memorised_at_half"] < numbers["memorised_fraction"] < numbers["memorised_at_double"]
    assert numbers["memorised_at_half"] == pytest.approx((ratio < 1 / 6).mean())
    assert numbers["distance_median"] == pytest.approx(np.median(found.distances[:, 0]))
    assert numbers["held_out_memorised_at_double"] == pytest.approx(float(found.held_out.memorised_at([2 / 3])[0]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": "other"}, "ratio must be one of 'distinct', 'published'"),
        ({"duplicate_fraction": 1.0}, r"duplicate_fraction is a ratio of distances in \[0, 1\)"),
        ({"shifts": -1}, "shifts must be a number of pixels"),
        ({"shifts": 4}, r"shifts must be less than half an image of \(8, 8\), got 4"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        metrics.novelty(DIGITS[:3], DIGITS[:9], **options)


def test_shifts_are_less_than_half_the_shorter_side():
    with pytest.raises(ValueError, match=r"less than half an image of \(4, 8\), got 2"):
        metrics.novelty(DIGITS[:3, :4], DIGITS[:9, :4], shifts=2)


def test_only_images_can_be_moved():
    with pytest.raises(ValueError, match=r"train, for shifts and flips, must have shape \(n, height"):
        metrics.novelty(np.eye(4), np.eye(4), shifts=1)
