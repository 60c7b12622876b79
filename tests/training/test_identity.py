"""What belongs to a checkpoint: whatever changes the parameters does, in every process, and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcreativity import schedules, training

PROJECT = Path(__file__).resolve().parents[2]
X = jnp.asarray(np.random.default_rng(0).standard_normal((20, 3)))
TABLE = jnp.asarray([1.0, 2.0, 3.0])


class Bent(nn.Module):
    """Has functions as attributes."""

    bend: Callable = nn.tanh
    start: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, y, sigma):
        return nn.Dense(3, kernel_init=self.start)(self.bend(y)) / (1 + sigma)


def fit(folder, **changes):
    settings = {
        "module": Bent(), "x": X, "sigmas": schedules.cosine(), "key": jax.random.key(0), "num_steps": 4,
        "batch_size": 2, "weighting": lambda s: TABLE[0] + s, "optimizer": optax.sgd(lambda step: 0.1 / (1 + step)),
    }  # fmt: skip
    return training.fit(**{"steps_per_dispatch": 2} | settings | changes, checkpoint_folder=folder, progress=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    fit(folder)
    return folder


def test_goes_on_in_another_process(folder):
    """Functions of which a repr holds an address, other hashes of strings, and a module that is not `__main__`'s."""
    code = "import tests.conftest; from tests.training import test_identity as t; import numpy, sys; " \
        "n = t.fit(sys.argv[1]); print(*(float(v) for v in n.params['Dense_0']['kernel'].ravel()))"  # fmt: skip
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=PROJECT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    kernel = np.array([float(word) for word in done.stdout.split()]).reshape(3, 3)
    np.testing.assert_array_equal(kernel, fit(folder).params["Dense_0"]["kernel"])


def late(step):
    """Another rate at the last step only."""
    return jnp.where(step == 3, 0.05, 0.1 / (1 + step))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": optax.sgd(lambda step: 0.2 / (1 + step))}, "optimizer, step"),
        ({"optimizer": optax.sgd(late)}, "optimizer, step"),
        ({"optimizer": optax.sgd(lambda step: 0.1 / (1 + step), momentum=0.9)}, "optimizer"),
        ({"weighting": None}, "weighting: 'program [0-9a-f]{16}' there, None here"),
        ({"weighting": lambda s: TABLE[1] + s}, "weighting"),
        ({"weighting": lambda s: TABLE[0] + jnp.where(s == 1, 2 * s, s)}, "weighting"),
        ({"sigmas": schedules.cosine(2.1)}, "sigmas"),
        ({"sigmas": jnp.array([2.0, 1.0, 0.0])}, "sigmas"),
        ({"module": Bent(nn.relu)}, "module: .*tanh.* there, .*relu.* here"),
        ({"module": Bent(lambda h: nn.tanh(h))}, "module"),
        ({"module": Bent(start=nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal"))}, "state"),
        ({"x": X.astype(jnp.float32)}, "dtype: 'float64' there, 'float32' here"),
        ({"x": X[::-1]}, "data: '[0-9a-f]{16}' there, '[0-9a-f]{16}' here"),
        ({"key": jax.random.key(1)}, "key"),
        ({"weight_penalty": 0.01}, r"\(weight_penalty: 0.0 there, 0.01 here\)"),
        ({"ema_decay": None}, r"\(ema_decay: 0.999 there, None here\)"),
        ({"prediction": "v"}, r"\(prediction: 'x' there, 'v' here\)"),
        ({"sigma_data": 2.0}, r"\(sigma_data: .* there, 2.0 here\)"),
        ({"scale_input": False}, r"\(scale_input: True there, False here\)"),
        ({"batch_size": 3}, r"\(batch_size: 2 there, 3 here\)"),
    ],
)  # fmt: skip
def test_other_parameters_are_another_run(folder, changes, message):
    with pytest.raises(ValueError, match=f"another configuration.*{message}"):
        fit(folder, **changes)


def test_a_grid_of_another_device_is_the_same(tmp_path):
    """Its last bits differ; how many steps are in one dispatch follows from the device, too."""
    grid = jnp.array([10.0, 1.0, 0.1, 0.0], jnp.float32)
    options = {"x": X.astype(jnp.float32), "weighting": None, "folder": tmp_path}
    first = fit(sigmas=grid, **options)
    there = fit(sigmas=jnp.nextafter(grid, 20.0 * grid), steps_per_dispatch=1, **options)
    jax.tree.map(np.testing.assert_array_equal, first.params, there.params)
    with pytest.raises(ValueError, match=r"sigmas: \[10.0, 1.0, .* there, \[10.0, 1.0001.* here"):
        fit(sigmas=grid.at[1].mul(1.0001), **options)
    with pytest.raises(ValueError, match="sigmas"):
        fit(sigmas=grid[1:], **options)


def test_the_scale_of_the_data_does_not_hang_on_the_order_of_sums():
    """Of these entries, a sum in float32 in XLA's order is off by a last bit."""
    x = np.random.default_rng(2).standard_normal((20000, 3)).astype(np.float32)
    options = {"key": jax.random.key(0), "num_steps": 1, "progress": False}
    found = training.fit(Bent(), x, jnp.array([1.0, 0.0]), **options).sigma_data
    assert found == np.float32(np.sqrt(np.mean(np.square(x, dtype=float))))


def test_settings_of_jax_belong_to_the_step(folder):
    with jax.default_matmul_precision("highest"), pytest.raises(ValueError, match="what is computed by step"):
        fit(folder)
    with jax.threefry_partitionable(False), pytest.raises(ValueError, match="key"):
        fit(folder)


def test_function_that_cannot_be_compared_is_refused(tmp_path):
    def weighting(sigma):
        return jax.pure_callback(lambda s: np.asarray(s), jax.ShapeDtypeStruct((), sigma.dtype), sigma)

    with pytest.raises(ValueError, match=r"weighting cannot be compared .* without checkpoint_folder"):
        fit(tmp_path / "run", weighting=weighting)
    assert not (tmp_path / "run").exists()


def test_versions_of_packages_are_named(folder):
    path = folder / "identity.json"
    before = path.read_text()
    try:
        path.write_text(json.dumps(json.loads(before) | {"optax": "0.2.5"}))
        with pytest.raises(ValueError, match=r"optax: '0.2.5' there, .* \(pip install optax==0.2.5\)"):
            fit(folder)
    finally:
        path.write_text(before)
    fit(folder)


def test_loop_knows_its_step_and_state(tmp_path):
    """A loop of the user's own, which says nothing of itself."""

    def run(rate, start, key=0):
        state = training.TrainState(jnp.zeros((), jnp.int32), jnp.full(2, start), None, None)
        step = lambda s, x, _: (training.TrainState(s.step + 1, s.params + rate * x.sum(), None, None), x.sum())  # noqa: E731
        options = {"num_steps": 3, "label": "", "progress": False, "checkpoint_folder": tmp_path}
        return training.loop(step, state, x=jnp.ones(2), key=jax.random.key(key), **options).params

    np.testing.assert_allclose(run(0.5, 1.0), 4.0, rtol=1e-15)
    for change, name in (((0.25, 1.0), "step"), ((0.5, 2.0), "state")):
        with pytest.raises(ValueError, match=name):
            run(*change)
    with pytest.raises(ValueError, match="key"):
        run(0.5, 1.0, key=1)
