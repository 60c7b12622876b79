import dataclasses
import shutil
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcreativity import networks, schedules, training
from jaxcreativity.theory import linear
from jaxcreativity.training import _loop, steps

SIGMAS = jnp.array([8.0, 1.0, 0.2, 0.0])
LEVELS = (8.0, 1.0, 0.2)
SMALL = {"num_steps": 40, "batch_size": 4, "checkpoint_every": 10, "steps_per_dispatch": 5, "progress": False}


@pytest.fixture(scope="module")
def x():
    # Correlated, of unequal variances, not centred.
    mixing = jnp.array([[1.0, 0.5, 0.0], [0.0, 0.4, 0.3], [0.0, 0.0, 0.2]])
    return jax.random.normal(jax.random.key(7), (200, 3)) @ mixing + jnp.array([[0.5, -0.2, 0.1]])


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("prediction", ["x", "noise", "v"])
def test_loss_is_the_weighted_output_error(x, prediction):
    module = networks.PixelwiseLinear(LEVELS)
    params = {"kernel": jnp.full((3, 3), 0.3), "bias": jnp.full((3, 3), 0.1)}
    objective = training.Objective(module, prediction, 0.8, weighting=lambda s: 1 + s, weight_penalty=0.01)
    images, noise = x[:6].reshape(3, 2, 3), jax.random.normal(jax.random.key(0), (3, 2, 3))
    expected = 0.01 * np.sum(np.square(params["kernel"]))
    for level in range(3):
        sigma = LEVELS[level]
        for i in range(2):
            y = images[level, i] + sigma * noise[level, i]
            error = networks.bind(module, params, prediction=prediction, sigma_data=0.8)(y, sigma) - images[level, i]
            c_out = {"x": 1, "noise": sigma, "v": sigma * 0.8 / np.sqrt(sigma**2 + 0.64)}[prediction]
            expected += (1 + sigma) * np.mean(np.square(error / c_out)) / 6
    np.testing.assert_allclose(objective(params, images, noise, SIGMAS[:-1]), expected, rtol=1e-12)
    without = dataclasses.replace(objective, weight_penalty=0.0)
    expected -= 0.01 * np.sum(np.square(params["kernel"]))
    np.testing.assert_allclose(without(params, images, noise, SIGMAS[:-1]), expected, rtol=1e-12)


@pytest.mark.parametrize("prediction", ["x", "noise", "v"])
def test_converges_to_the_closed_form(x, prediction):
    network = training.fit(
        networks.DenseLinear(LEVELS), x, SIGMAS, key=jax.random.key(0), prediction=prediction,
        num_steps=1500, batch_size=256, learning_rate=3e-2, progress=False,
    )  # fmt: skip
    exact = linear.fit(x, "full")
    y = jax.random.normal(jax.random.key(1), (50, 3))
    for sigma in LEVELS:
        scaled = y * np.sqrt(1 + sigma**2)
        got, expected = jax.vmap(network, (0, None))(scaled, sigma), jax.vmap(exact, (0, None))(scaled, sigma)
        # The learned map is a regression on some 1e5 noisy examples per level, of relative error sqrt(1e-5) times a
        # condition number of order 10.
        assert jnp.linalg.norm(got - expected) < 0.03 * jnp.linalg.norm(expected)


def test_step_is_pure_and_steps_per_dispatch_do_not_change_the_result(x):
    fit = partial(training.fit, networks.DenseLinear(LEVELS), x, SIGMAS, key=jax.random.key(0), num_steps=12)
    results = [fit(batch_size=4, steps_per_dispatch=n, progress=False).params for n in (1, 5, 12)]
    for other in results[1:]:
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-14), results[0], other)


def test_dispatch_compiles_once(x):
    traces = []

    class Counting(networks.DenseLinear):
        @nn.compact
        def __call__(self, y, sigma):
            traces.append(1)
            return super().__call__(y, sigma)

    training.fit(Counting(LEVELS), x, SIGMAS, key=jax.random.key(0), num_steps=10, steps_per_dispatch=4, progress=False)
    few = len(traces)
    traces.clear()
    training.fit(Counting(LEVELS), x, SIGMAS, key=jax.random.key(0), num_steps=57, steps_per_dispatch=4, progress=False)
    assert len(traces) == few  # remainders and more dispatches trace nothing anew


def test_convolutions_on_cpu_run_one_step_per_dispatch(x):
    class Conv(nn.Module):
        @nn.compact
        def __call__(self, y, sigma):
            return nn.Conv(1, (3, 3))(y)

    images = jnp.ones((4, 6, 6, 1))
    for module, expected in ((Conv(), 1), (networks.ConvLinear(LEVELS), 100)):
        objective = training.Objective(module, "x", 1.0)
        optimizer = optax.sgd(1e-2)
        state = training.init_state(objective, optimizer, jax.random.key(0), images)
        step = partial(training.train_step, objective, optimizer, None, SIGMAS[:-1], 2)
        if jax.default_backend() == "cpu":
            assert _loop.default_steps_per_dispatch(step, state, images, jax.random.key(0)) == expected


def test_average_follows_the_parameters(x):
    fit = partial(training.fit, networks.DenseLinear(LEVELS), x, SIGMAS, key=jax.random.key(0), num_steps=30)
    last = fit(ema_decay=None, progress=False).params["kernel"]
    averaged = fit(ema_decay=0.9, progress=False).params["kernel"]
    assert 0 < jnp.abs(last - averaged).max() < jnp.abs(last).max()


def test_decay_of_the_average_is_ramped_up(x):
    """Of an average that was 0, the new parameters' share is what the decay leaves."""
    objective, optimizer = training.Objective(networks.PixelwiseLinear(LEVELS), "x", 1.0), optax.sgd(0.1)
    start = training.init_state(objective, optimizer, jax.random.key(0), x)
    start = dataclasses.replace(start, average=jax.tree.map(jnp.zeros_like, start.params))
    step = jax.jit(partial(training.train_step, objective, optimizer, 0.9, SIGMAS[:-1], 2))
    for done, decay in ((0, 1 / 10), (5, 6 / 15), (1000, 0.9)):
        new, _ = step(dataclasses.replace(start, step=jnp.asarray(done, jnp.int32)), x, jax.random.key(1))
        assert new.step == done + 1
        expected = jax.tree.map(lambda value, rest=1 - decay: rest * value, new.params)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), new.average, expected)


def test_schedule_instead_of_a_grid(x):
    network = training.fit(
        networks.MLP(width=8, depth=1), x, schedules.cosine(), key=jax.random.key(0), num_steps=5, progress=False
    )
    assert jnp.isfinite(network(x[0], 0.3)).all()


def test_stratified_times_cover_the_schedule(x):
    _, _, levels = steps.draw(x, lambda t: t, 2, jax.random.key(0))
    strata = np.ceil(np.asarray(levels) * steps.NUM_STRATA)
    np.testing.assert_array_equal(np.sort(strata), np.arange(1, steps.NUM_STRATA + 1))
    assert (levels > 0).all()


def test_denoising_loss_of_the_wiener_filter_is_its_closed_form(x):
    # E|D - x|^2 = sum_i l_i s^2 / (l_i + s^2) over the training set, and every draw is independent.
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    draws = 400
    loss = training.denoising_loss(linear.fit(x, "full"), x, SIGMAS, jax.random.key(0), num_draws=draws)
    for got, sigma in zip(loss, LEVELS, strict=True):
        expected = np.mean(eigenvalues * sigma**2 / (eigenvalues + sigma**2))
        # |error|^2 has about one degree of freedom or more, so its standard deviation is below sqrt(2) of its mean.
        np.testing.assert_allclose(got, expected, rtol=4 * np.sqrt(2 / (draws * len(x))))


def test_resumes_to_the_same_parameters(x, tmp_path):
    fit = partial(training.fit, networks.DenseLinear(LEVELS), x, SIGMAS, key=jax.random.key(0), **SMALL)
    whole = fit(checkpoint_folder=tmp_path)
    assert sorted(p.name for p in (tmp_path / "steps").iterdir()) == ["30", "40"]  # the newest two
    same(fit(checkpoint_folder=tmp_path).params, whole.params)  # a finished run is only read
    shutil.rmtree(tmp_path / "steps" / "40")  # what a kill between the two leaves
    same(fit(checkpoint_folder=tmp_path).params, whole.params)


@pytest.mark.parametrize(("num_steps", "kept"), [(20, {"18", "20"}), (8, {"7", "8"})])
def test_a_tenth_of_the_run_is_between_checkpoints(x, tmp_path, num_steps, kept):
    training.fit(
        networks.DenseLinear(LEVELS), x, SIGMAS, key=jax.random.key(0), num_steps=num_steps, steps_per_dispatch=1,
        checkpoint_folder=tmp_path, progress=False,
    )  # fmt: skip
    assert {path.name for path in (tmp_path / "steps").iterdir()} == kept


def add(state, x, key):
    """A step that counts, of which two losses are shown."""
    return dataclasses.replace(state, step=state.step + 1, params=state.params + x), jnp.stack([x, 3 * x])


def test_loop_goes_on_where_it_was_and_stops_at_checkpoints(tmp_path, capsys):
    """What the identity says of the state is believed, so that another start is not looked at."""
    start = training.TrainState(jnp.zeros((), jnp.int32), jnp.ones(()), None, None)
    options = {"x": jnp.ones(()), "key": jax.random.key(0), "label": "run", "checkpoint_folder": tmp_path}
    options |= {"per_dispatch": 2, "checkpoint_every": 3, "identity": {"state": "all the same"}}
    assert training.loop(add, start, num_steps=6, **options).params == 7
    assert {path.name for path in (tmp_path / "steps").iterdir()} == {"3", "6"}
    assert "loss=2" in capsys.readouterr().err  # the mean
    other = dataclasses.replace(start, params=100 * start.params)
    new = training.loop(add, other, num_steps=7, **options)
    assert (new.step, new.params) == (7, 8)
    with pytest.raises(ValueError, match=r"another configuration \(data"):
        training.loop(add, other, num_steps=7, **options | {"x": jnp.full((), 2.0)})


@pytest.mark.parametrize(("per_dispatch", "seen"), [(1, 10), (2, 4)])
def test_losses_are_checked_at_checkpoints_and_where_several_steps_are_dispatched(per_dispatch, seen):
    """The loss of the third step is infinite, and of all that follow."""
    start = training.TrainState(jnp.zeros((), jnp.int32), None, None, None)
    step = lambda state, x, _: (dataclasses.replace(state, step=state.step + 1), x / (state.step < 2))  # noqa: E731
    options = {"num_steps": 20, "checkpoint_every": 10, "label": "", "progress": False, "per_dispatch": per_dispatch}
    with pytest.raises(FloatingPointError, match=f"the loss became inf before step {seen};"):
        training.loop(step, start, x=jnp.ones(()), key=jax.random.key(0), **options)


def test_checkpoint_of_another_configuration_is_refused_and_kept(x, tmp_path):
    fit = partial(training.fit, networks.DenseLinear(LEVELS), x, SIGMAS, key=jax.random.key(0), **SMALL)
    fit(checkpoint_folder=tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match=r"another configuration \(batch_size: 4 there, 5 here\)"):
        fit(checkpoint_folder=tmp_path, batch_size=5)
    with pytest.raises(ValueError, match="another configuration \\(data"):
        training.fit(
            networks.DenseLinear(LEVELS), x[:100], SIGMAS, key=jax.random.key(0), sigma_data=None, **SMALL,
            checkpoint_folder=tmp_path,
        )  # fmt: skip
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before


def test_corrupt_checkpoint_is_named_and_kept(x, tmp_path):
    fit = partial(training.fit, networks.DenseLinear(LEVELS), x, SIGMAS, key=jax.random.key(0), **SMALL)
    whole = fit(checkpoint_folder=tmp_path)
    for path in (tmp_path / "steps" / "40").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"steps.40 cannot be read .*delete that folder"):
        fit(checkpoint_folder=tmp_path)
    # Doing as the message says resumes from the checkpoint before, to the same end.
    shutil.rmtree(tmp_path / "steps" / "40")
    same(fit(checkpoint_folder=tmp_path).params, whole.params)


def test_checkpoint_folder_that_is_a_file(x, tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(ValueError, match="is a file"):
        training.fit(
            networks.DenseLinear(LEVELS), x, SIGMAS, key=jax.random.key(0), checkpoint_folder=path, progress=False
        )
    assert path.read_text() == "mine"


def test_divergence_is_an_error(x):
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        training.fit(
            networks.DenseLinear(LEVELS), x, SIGMAS, key=jax.random.key(0), optimizer=optax.sgd(1e4), num_steps=200,
            progress=False,
        )  # fmt: skip


def test_module_with_state_is_refused(x):
    class Normalised(nn.Module):
        @nn.compact
        def __call__(self, y, sigma):
            return nn.BatchNorm(use_running_average=False)(y)

    with pytest.raises(ValueError, match="batch_stats"):
        training.fit(Normalised(), x, SIGMAS, key=jax.random.key(0), progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 0}, "num_steps"),
        ({"batch_size": -1}, "batch_size"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"prediction": "score"}, "prediction"),
        ({"steps_per_dispatch": 0}, "steps_per_dispatch"),
        ({"x": jnp.ones((4, 3), int)}, "floating point"),
        ({"x": jnp.full((4, 3), jnp.nan)}, "NaN"),
        ({"x": jnp.ones((0, 3))}, "at least 1"),
        ({"sigmas": jnp.array([1.0, 2.0, 0.0])}, "strictly decreasing"),
    ],
)
def test_bad_input(x, changes, message, unchecked):
    arguments = {"x": x, "sigmas": SIGMAS, "num_steps": 2, "progress": False} | changes
    with pytest.raises(ValueError, match=message):
        training.fit(networks.DenseLinear(LEVELS), key=jax.random.key(0), **arguments)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="an option of XLA for CPUs")
def test_compiled_step_avoids_slow_convolutions_and_is_the_same_step():
    objective = training.Objective(networks.MinimalResNet(depth=1, width=4), "v", 0.5)
    optimizer, x = optax.adam(1e-3), jnp.asarray(np.random.default_rng(0).normal(size=(8, 5, 5, 1)), jnp.float32)
    state = training.init_state(objective, optimizer, jax.random.key(0), x)
    step = partial(training.train_step, objective, optimizer, 0.999, jnp.array([1.0, 0.1]), 2)
    arguments = (state, x, jax.random.key(1))
    plain = jax.jit(step).lower(*arguments).compile()
    ours = training.dispatcher(step).lower(*arguments, 1).compile()
    slow = lambda compiled: sum("kind=kCustom" in line and "conv" in line for line in compiled.as_text().splitlines())  # noqa: E731
    assert slow(ours) == 0
    expected, expected_loss = plain(*arguments)
    new, loss = ours(jax.tree.map(jnp.array, state), *arguments[1:], 1)  # donated
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    # Of the first moments, which are gradients; parameters move by the learning rate whatever their gradient's size.
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-7)
    jax.tree.map(close, new.opt_state[0].mu, expected.opt_state[0].mu)


def test_denoising_loss_takes_plain_functions_and_refuses_what_is_no_grid(x, unchecked):
    exact = linear.fit(x, "full")
    of = partial(training.denoising_loss, x=x, sigmas=SIGMAS, key=jax.random.key(0))
    np.testing.assert_allclose(of(lambda y, sigma: exact(y, sigma)), of(exact), rtol=1e-12)
    for changes, message in (({"sigmas": SIGMAS[:-1]}, "end at 0"), ({"x": jnp.ones((4, 3), int)}, "floating point"),
                             ({"num_draws": 0}, "num_draws"), ({"batch_size": 0}, "batch_size")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            of(exact, **changes)


@pytest.mark.parametrize("num_steps", [1, 10, 100])
def test_every_step_of_the_default_rate_moves(num_steps):
    rate = training.warmup_cosine(0.5, num_steps)
    rates = np.array([rate(step) for step in range(num_steps)])
    assert rates.min() > 0
    assert rates.max() == 0.5
    np.testing.assert_allclose(rate(num_steps), 0, atol=1e-15)
    warmup, step = max(1, num_steps // 20), np.arange(1, num_steps + 1)
    cosine = (1 + np.cos(np.pi * (step - warmup) / (num_steps + 1 - warmup))) / 2
    np.testing.assert_allclose(rates, 0.5 * np.where(step < warmup, step / warmup, cosine), rtol=1e-6)


@pytest.mark.parametrize("ema_decay", [None, 0.999])
def test_one_step_changes_the_parameters(x, ema_decay):
    module = networks.PixelwiseLinear(LEVELS)
    network = training.fit(
        module, x, SIGMAS, key=jax.random.key(0), num_steps=1, ema_decay=ema_decay, progress=False
    )  # fmt: skip
    init_key, _ = jax.random.split(jax.random.key(0))
    initial = module.init(init_key, x[0], jnp.ones(()))["params"]
    jax.tree.map(lambda new, old: np.testing.assert_array_less(0, np.abs(new - old).max()), network.params, initial)
