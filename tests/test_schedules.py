import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from jaxcreativity import schedules

TIMES = np.linspace(0, 1, 7)
ALL = {
    "cosine": schedules.cosine(),
    "linear_beta": schedules.linear_beta(),
    "karras": schedules.karras(0.002, 80.0),
    "log_linear": schedules.log_linear(0.002, 80.0),
}
every_schedule = pytest.mark.parametrize("schedule", ALL.values(), ids=ALL.keys())


def test_cosine_is_the_variance_preserving_process():
    """Kamb & Ganguli: beta = 1 - cos(pi t / 2.016)^2, x_t = sqrt(1 - beta) x + sqrt(beta) noise."""
    beta = 1 - np.cos(np.pi * TIMES / 2.016) ** 2
    np.testing.assert_allclose(schedules.cosine()(TIMES), np.sqrt(beta / (1 - beta)), rtol=1e-12, atol=1e-15)
    assert float(schedules.cosine()(1.0)) == pytest.approx(80, rel=0.01)


def test_linear_beta_is_the_integral_of_its_rate():
    low, high = 0.2, 15.0
    for t in TIMES:
        area, _ = scipy.integrate.quad(lambda s: low + s * (high - low), 0, t)
        a = np.exp(-0.5 * area)  # dx = -beta/2 x dt + sqrt(beta) dW
        expected = np.sqrt(1 - a**2) / a
        np.testing.assert_allclose(schedules.linear_beta(low, high)(t), expected, rtol=1e-10, atol=1e-15)


def test_karras_is_equation_5():
    """Karras et al. count steps i = 0 ... N - 1 from the highest level."""
    low, high, rho, n = 0.002, 80.0, 7.0, 9
    i = np.arange(n)
    expected = (high ** (1 / rho) + i / (n - 1) * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    np.testing.assert_allclose(schedules.karras(low, high, rho)(1 - i / (n - 1)), expected, rtol=1e-12)
    np.testing.assert_allclose(schedules.grid(schedules.karras(low, high, rho), n)[:-1], expected, rtol=1e-12)


def test_log_linear_has_equal_ratios():
    levels = np.asarray(schedules.log_linear(0.01, 10.0)(TIMES))
    np.testing.assert_allclose(levels[1:] / levels[:-1], 1000 ** (1 / 6), rtol=1e-12)
    np.testing.assert_allclose(levels[[0, -1]], [0.01, 10.0], rtol=1e-12)


@every_schedule
def test_grid(schedule):
    for steps in (1, 2, 20, 1000):
        sigmas = np.asarray(schedules.grid(schedule, steps))
        assert sigmas.shape == (steps + 1,)
        assert (np.diff(sigmas) < 0).all()
        assert sigmas[-1] == 0
        assert sigmas[0] == pytest.approx(float(schedule(1.0)), rel=1e-12)


def test_grid_ends():
    # Lowest level above 0: it is the last positive entry. Lowest level 0: it is the last entry, met once.
    assert schedules.grid(ALL["karras"], 5)[-2] == pytest.approx(0.002)
    np.testing.assert_allclose(schedules.grid(ALL["cosine"], 4), ALL["cosine"](np.arange(4, -1, -1) / 4), atol=1e-15)


@every_schedule
def test_vectorised_as_scalar(schedule):
    np.testing.assert_allclose(schedule(TIMES), [schedule(t) for t in TIMES], rtol=1e-14)


def test_traced_parameters_and_their_derivatives():
    maker = {
        "karras": lambda p: schedules.karras(0.01, p),
        "log_linear": lambda p: schedules.log_linear(0.01, p),
        "linear_beta": lambda p: schedules.linear_beta(0.1, p),
        "cosine": lambda p: schedules.cosine(p),
    }
    for name, at in {"karras": 10.0, "log_linear": 10.0, "linear_beta": 12.0, "cosine": 2.1}.items():
        levels = jax.jit(lambda p, make=maker[name]: schedules.grid(make(p), 6))
        np.testing.assert_allclose(levels(at), schedules.grid(maker[name](at), 6), rtol=1e-13)
        derivative = jax.jit(jax.jacrev(levels))(at)
        h = 1e-5
        numeric = (levels(at + h) - levels(at - h)) / (2 * h)
        np.testing.assert_allclose(derivative, numeric, rtol=1e-6, atol=1e-9)


def test_constants_of_traced_code():
    low, high = jnp.asarray(0.1), jnp.asarray(3.0)
    makers = [
        lambda: schedules.karras(low, high, high),
        lambda: schedules.log_linear(low, high),
        lambda: schedules.linear_beta(low, high),
        lambda: schedules.cosine(high),
    ]
    for make in makers:
        assert jax.eval_shape(lambda make=make: schedules.grid(make(), 4)).shape == (5,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.cosine(2.0), "period must be above 2"),
        (lambda: schedules.cosine(np.nan), "period must be above 2"),
        (lambda: schedules.linear_beta(0.0, 1.0), "0 < beta_min <= beta_max"),
        (lambda: schedules.linear_beta(2.0, 1.0), "0 < beta_min <= beta_max"),
        (lambda: schedules.karras(0.0, 1.0), "0 < sigma_min < sigma_max"),
        (lambda: schedules.karras(1.0, 1.0), "0 < sigma_min < sigma_max"),
        (lambda: schedules.karras(0.1, np.inf), "0 < sigma_min < sigma_max"),
        (lambda: schedules.karras(0.1, 1.0, 0.0), "rho must be positive"),
        (lambda: schedules.log_linear(2.0, 1.0), "0 < sigma_min < sigma_max"),
        (lambda: schedules.log_linear(np.nan, 1.0), "0 < sigma_min < sigma_max"),
        (lambda: schedules.grid(ALL["cosine"], 0), "num_steps must be an integer of at least 1, got 0"),
        (lambda: schedules.grid(ALL["cosine"], 2.5), "num_steps must be an integer of at least 1, got 2.5"),
        (lambda: schedules.grid(lambda t: 1.0 + 0 * jnp.asarray(t), 4), "strictly decreasing"),
        (lambda: schedules.grid(lambda t: 2.0 - jnp.asarray(t), 4), "strictly decreasing"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
