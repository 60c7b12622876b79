"""The birthday test on laws whose support is known."""

import json
import math

import numpy as np
import pytest

from jaxcreativity.metrics.memorisation.birthday import birthday_test

TRAIN = np.random.default_rng(0).standard_normal((50, 6))


def copies(count, m, seed=1, noise=1e-3):
    rng = np.random.default_rng(seed)
    return TRAIN[rng.integers(0, count, m)] + noise * rng.standard_normal((m, 6))


def test_counts_pairs_below_the_tolerance():
    samples = np.array([[0.0, 0.0], [0.05, 0.0], [1.0, 0.0], [1.05, 0.0], [1.0, 0.05], [5.0, 5.0]])
    found = birthday_test(samples, samples, tolerance=0.1)
    assert found.collisions.tolist() == [1, 1, 2, 2, 2, 0]
    assert found.num_pairs == 4
    assert found.support_size == pytest.approx(6 * 5 / 2 / 4)


def test_the_default_tolerance_is_a_third_of_the_distance_between_training_images():
    line = np.array([[0.0], [3.0], [9.0], [18.0]])  # nearest others at 3, 3, 6, 9
    assert birthday_test(line, line).tolerance == pytest.approx(1.5)
    assert birthday_test(line, np.concatenate([line, line]), threshold=1.0).tolerance == pytest.approx(4.5)


@pytest.mark.parametrize("support", [5, 50])
def test_interval_covers_the_support_size(support):
    m, inside = 200, 0
    for seed in range(20):
        found = birthday_test(copies(support, m, seed), TRAIN, num_resamples=200, confidence=0.9)
        inside += found.support_low < support < found.support_high
        # Relative standard error of the pairs counted, sqrt(2 N) / m and less.
        assert found.support_size == pytest.approx(support, rel=4 * math.sqrt(2 * support) / m)
    # Of 20 intervals 18 are expected; 14 or fewer have a probability of 1 %.
    assert inside > 13


def test_new_images_do_not_come_twice():
    rng = np.random.default_rng(3)
    found = birthday_test(copies(50, 60), TRAIN, rng.standard_normal((60, 6)))
    assert found.held_out.num_pairs == 0
    assert found.held_out.support_size == math.inf
    assert found.held_out.support_low == pytest.approx(60 * 59 / 2 / -math.log(0.05))
    numbers = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert numbers["held_out_support_size"] is None
    assert numbers["support_low"] < numbers["support_size"] < numbers["support_high"]
    assert (numbers["count"], numbers["held_out_duplicate_pairs"]) == (60, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: birthday_test(TRAIN[:1], TRAIN), "samples needs at least 2"),
        (lambda: birthday_test(TRAIN, TRAIN, TRAIN[:1]), "test needs at least 2"),
        (lambda: birthday_test(TRAIN, np.ones((5, 6))), "train needs at least 2 distinct images"),
        (lambda: birthday_test(TRAIN, TRAIN, tolerance=0.0), "tolerance must be a positive distance"),
        (lambda: birthday_test(TRAIN, TRAIN, threshold=2.0), "threshold is a ratio"),
        (lambda: birthday_test(TRAIN, TRAIN, confidence=0.0), "confidence must lie between"),
        (lambda: birthday_test(TRAIN, TRAIN, num_resamples=0), "num_resamples"),
        (lambda: birthday_test(TRAIN[:, :3], TRAIN), "same shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
