"""Distance to the convex hull of few training images against a constrained optimiser and geometry."""

import json

import numpy as np
import pytest
import scipy.optimize

from jaxcreativity import metrics


def by_slsqp(x, vertices):
    k = len(vertices)
    found = scipy.optimize.minimize(
        lambda a: np.square(a @ vertices - x).sum(), np.full(k, 1 / k), bounds=[(0, 1)] * k, method="SLSQP",
        constraints={"type": "eq", "fun": lambda a: a.sum() - 1}, options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    return np.sqrt(found.fun)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_equals_a_constrained_optimiser(seed, scale):
    rng = np.random.default_rng(seed)
    vertices, x = rng.standard_normal((6, 9)), 0.5 * rng.standard_normal(9)
    distance, weights = metrics.project_on_hull(scale * x, scale * vertices)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)
    assert distance == pytest.approx(scale * np.linalg.norm(weights @ vertices - x))
    assert distance == pytest.approx(scale * by_slsqp(x, vertices), rel=1e-5)


def test_inside_is_zero_and_outside_is_to_the_face():
    square = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert metrics.project_on_hull(np.array([0.2, 0.7]), square).distance < 1e-12
    assert metrics.project_on_hull(np.array([2.0, 0.3]), square).distance == pytest.approx(1)
    assert metrics.project_on_hull(np.array([2.0, 2.0]), square).distance == pytest.approx(np.sqrt(2))
    assert metrics.project_on_hull(square[1], square).distance < 1e-12
    assert metrics.project_on_hull(square[1], square[1:2]).distance == 0


def test_blends_and_copies_are_told_from_new_images(digits):
    train, test = digits[:40], digits[40:]
    flat = train.reshape(40, -1)
    nearest = np.argsort(np.square(flat[:, None] - flat).sum(axis=2), axis=1)[:10, :3]
    blends = train[nearest].mean(axis=1)
    found = metrics.hull_distance(np.concatenate([blends, train[:3]]), train, test, num_vertices=6)
    assert np.quantile(found.ratio[:10], 0.75) < 0.25  # nearly all vertices of a blend are among its nearest
    np.testing.assert_array_equal(found.ratio[10:], 0)
    assert np.quantile(found.held_out.ratio, 0.1) > 0.6
    assert (found.held_out.ratio <= 1).all()
    numbers = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert (numbers["count"], numbers["held_out_count"], numbers["num_vertices"]) == (13, 24, 6)
    assert numbers["hull_ratio_low"] <= numbers["hull_ratio_median"] <= numbers["hull_ratio_high"]
    assert numbers["held_out_hull_ratio_low"] > numbers["hull_ratio_high"]


def test_duplicates_are_one_vertex(digits):
    train = np.concatenate([digits[:8], digits[:8], digits[:3]])
    found = metrics.hull_distance(digits[20:30], train, num_vertices=4)
    alone = metrics.hull_distance(digits[20:30], digits[:8], num_vertices=4)
    np.testing.assert_array_equal(found.distances, alone.distances)
    assert (found.summary()["num_duplicates"], alone.summary()["num_duplicates"]) == (11, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_vertices": 9}, "num_vertices = 9 needs at least as many distinct training images, got 8"),
        ({"num_vertices": 0}, "num_vertices must be an integer of at least 1"),
        ({"confidence": 95.0}, "confidence must lie between 0 and 1"),
    ],
)
def test_bad_input(digits, options, message):
    with pytest.raises(ValueError, match=message):
        metrics.hull_distance(digits[:3], digits[:8], **options)
    with pytest.raises(ValueError, match="same shape"):
        metrics.hull_distance(digits[:3, :4], digits[:8])
