"""Quartiles against NumPy, the Wilson interval against SciPy."""

import numpy as np
import pytest
import scipy.stats

from jaxcreativity.metrics import summary


@pytest.mark.parametrize("n", [1, 2, 5, 100])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_quartiles_equal_numpy(n, dtype):
    values = np.random.default_rng(n).normal(size=n).astype(dtype)
    result = summary.quartiles(values)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, np.quantile(values, [0.25, 0.5, 0.75]), rtol=10 * np.finfo(dtype).eps)
    named = summary.named_quartiles("x", values)
    assert list(named) == ["x_q25", "x_median", "x_q75"]
    assert all(type(value) is float for value in named.values())


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 100), (3, 10), (50, 100), (100, 100)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_wilson_interval_equals_scipy(successes, trials, confidence):
    expected = scipy.stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    low, high = summary.wilson_interval(successes, trials, confidence=confidence)
    np.testing.assert_allclose((low, high), (expected.low, expected.high), atol=1e-12)
    assert 0 <= low <= successes / trials <= high <= 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: summary.quartiles(np.zeros((2, 2))), "non-empty floating-point"),
        (lambda: summary.quartiles(np.zeros(0)), "non-empty floating-point"),
        (lambda: summary.quartiles(np.zeros(3, int)), "non-empty floating-point"),
        (lambda: summary.wilson_interval(3, 2), "successes must lie between 0 and trials = 2"),
        (lambda: summary.wilson_interval(-1, 2), "successes must lie"),
        (lambda: summary.wilson_interval(0, 0), "trials must be an integer of at least 1"),
        (lambda: summary.wilson_interval(1, 2, confidence=1.0), "confidence must lie between 0 and 1"),
    ],
)
def test_bad_input_raises(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bootstrap_interval_is_that_of_the_mean_and_covers_it():
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(50):
        values = rng.exponential(size=200)
        low, high = summary.bootstrap_interval(values, confidence=0.9, num_resamples=400, seed=seed)
        inside += low < 1 < high
        # Width of the Gaussian interval, 2 * 1.645 standard errors, to its own error of a few per cent.
        assert high - low == pytest.approx(3.29 * values.std() / np.sqrt(200), rel=0.2)
    assert inside > 38  # 45 expected; 38 or fewer have a probability of 0.2 %


def test_bootstrap_interval_of_another_statistic_and_of_equal_values():
    low, high = summary.bootstrap_interval(np.arange(101.0), np.median)
    assert 30 < low < 50 < high < 70
    assert summary.bootstrap_interval(np.ones(5)) == (1.0, 1.0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("values", "options"),
    [(np.zeros(0), {}), (np.zeros((2, 2)), {}), (np.ones(3), {"confidence": 1.0}), (np.ones(3), {"num_resamples": 0})],
)
def test_bootstrap_bad_input(values, options):
    with pytest.raises(ValueError, match=r"values must be|confidence must|num_resamples must"):
        summary.bootstrap_interval(values, **options)
