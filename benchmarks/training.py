"""Training throughput: our step, the same step written by hand in plain JAX, and PyTorch's, in turns in one run.

    python -m benchmarks.training                                    # 6 layers of 32 channels, 128 images of 14x14
    python -m benchmarks.training --torch-python path/to/python      # PyTorch from another environment
    python -m benchmarks.training --network unet --image-size 32 --width 64 --levels 20 --batch-size 32    # for a GPU

One step draws images and noise, takes the gradient of the loss of a `MinimalResNet` (or `UNet`, which has no
hand-written or PyTorch counterpart here), and updates Adam and the moving average. The contestants take turns, round by
round, so that other work on the machine slows all of them; the ratio is the median over rounds, and the load of the
machine is printed, for on a busy one no ratio means much. The fraction is that of a float32 matrix product's rate
(2048^3, default precision) measured in the same rounds.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import recording
from jaxcreativity import networks, schedules, training

LEARNING_RATE, SIGMA_DATA, DECAY = 1e-3, 0.5, 0.999


@dataclasses.dataclass(frozen=True)
class Config(recording.Recorded):
    """What is measured."""

    network: Literal["resnet", "unet"] = "resnet"
    depth: int = 6
    width: int = 32
    image_size: int = 14
    levels: int = 16
    batch_size: int = 8
    """Images per noise level."""
    rounds: int = 5
    steps: int = 10
    """Steps per round; the quickest counts."""
    torch_python: str = sys.executable
    """Interpreter that has PyTorch."""


def measure(config: Config) -> recording.Tables:
    """Time of a step of every contestant."""
    images = np.random.default_rng(0).normal(0, SIGMA_DATA, (1000, config.image_size, config.image_size, 1))
    x = jnp.asarray(images, jnp.float32)
    sigmas = schedules.grid(schedules.cosine(), config.levels)[:-1]
    contestants, operations = _ours(config, x, sigmas)
    product = jax.jit(lambda a: a @ a)
    square = jax.random.normal(jax.random.key(0), (2048, 2048))
    jax.block_until_ready(product(square))
    torch = _start_torch(config) if config.network == "resnet" else None
    if torch is None and config.network == "resnet":
        print(f"PyTorch is not installed for {config.torch_python}: left out")

    times = {name: [] for name in contestants}
    times |= {"PyTorch": []} if torch else {}
    rates = []
    load = os.getloadavg()[0]
    for _ in range(config.rounds):
        for name, contestant in contestants.items():
            times[name].append(min(_timed(contestant) for _ in range(config.steps)))
        if torch:
            times["PyTorch"].append(_ask(torch, config.steps))
        rates.append(2 * 2048**3 / min(_timed(partial(product, square)) for _ in range(5)))
    if torch:
        torch.stdin.close()
        torch.wait()

    count = config.levels * config.batch_size
    print(f"{operations / 1e9:.1f} GFLOP a step, load before {load:.1f}, after {os.getloadavg()[0]:.1f}")
    return {
        "step": [
            {
                "of": name, "ms": 1e3 * min(found), "images/s": count / min(found),
                "ours / this": float(np.median(np.divide(times["ours"], found))),
                "share of matmul": float(np.median(operations / np.array(found) / rates)),
            }
            for name, found in times.items()
        ]
    }  # fmt: skip


def _timed(call) -> float:
    began = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - began


class _Steps:
    """A jitted step and its state, compiled once: another compilation raises."""

    def __init__(self, step, state, *arguments):
        self.step = step.lower(state, *arguments).compile()
        self.state, self.arguments = jax.tree.map(jnp.array, state), arguments
        self()

    def __call__(self):
        self.state, loss = self.step(self.state, *self.arguments)
        return loss, self.state


def _ours(config, x, sigmas):
    """The contestants that are written in JAX, and the operations of a step."""
    if config.network == "unet":
        module = networks.UNet((config.width, 2 * config.width, 2 * config.width))
    else:
        module = networks.MinimalResNet(config.depth, config.width)
    objective, optimizer = training.Objective(module, "v", SIGMA_DATA), optax.adam(LEARNING_RATE)
    state = training.init_state(objective, optimizer, jax.random.key(0), x)
    step = partial(training.train_step, objective, optimizer, DECAY, sigmas, config.batch_size)
    key = jax.random.key(1)
    operations = float(jax.jit(step).lower(state, x, key).cost_analysis()["flops"])
    contestants = {"ours": _Steps(training.dispatcher(step), state, x, key, 1)}
    if config.network == "resnet":
        plain, plain_state = plain_step(state.params, config, sigmas)
        contestants["plain JAX"] = _Steps(jax.jit(plain, donate_argnums=0), plain_state, x, key)
        losses = [float(contestant()[0]) for contestant in contestants.values()]
        if not np.isclose(*losses, rtol=1e-3):
            raise RuntimeError(f"the steps differ: second losses {losses}")
    return contestants, operations


def plain_step(params: dict[str, Any], config: Config, sigmas: jax.Array):
    """The step of a `MinimalResNet` with these parameters in plain JAX: `(step, state)`, drawing the same images."""

    def convolve(layer, h):
        numbers = ("NHWC", "HWIO", "NHWC")
        out = jax.lax.conv_general_dilated(h, layer["kernel"], (1, 1), "SAME", dimension_numbers=numbers)
        return out + layer["bias"].reshape(1, 1, 1, -1)

    def dense(layer, h):
        return h @ layer["kernel"] + layer["bias"][None]

    def network(params, y, sigma):
        frequencies = jnp.geomspace(1.0, 16.0, 32)
        phases = frequencies[None] * jnp.log(sigma)[:, None] / 4
        embedding = params["ConditionEmbedding_0"]["NoiseEmbedding_0"]["Dense_0"]
        e = jax.nn.silu(dense(embedding, jnp.concatenate([jnp.sin(phases), jnp.cos(phases)], axis=1)))
        h = convolve(params["Conv_0"], y)
        for i in range(config.depth):
            shift = dense(params[f"Dense_{i}"], e)[:, None, None]
            h = h + convolve(params[f"Conv_{i + 1}"], jax.nn.relu(h + shift))
        return convolve(params[f"Conv_{config.depth + 1}"], jax.nn.relu(h))

    def loss_of(params, x, noise, sigma):
        s = sigma[:, None, None, None]
        root = jnp.sqrt(s**2 + SIGMA_DATA**2)
        target = (SIGMA_DATA * noise - s * x / SIGMA_DATA) / root
        return jnp.mean(jnp.square(network(params, (x + s * noise) / root, sigma) - target))

    def step(state, x, key):
        count, params, average, first, second = state
        index_key, noise_key, _ = jax.random.split(jax.random.fold_in(key, count), 3)
        shape = (config.levels, config.batch_size)
        chosen = x[jax.random.randint(index_key, shape, 0, x.shape[0])].reshape(-1, *x.shape[1:])
        noise = jax.random.normal(noise_key, (*shape, *x.shape[1:])).reshape(chosen.shape)
        loss, gradient = jax.value_and_grad(loss_of)(params, chosen, noise, jnp.repeat(sigmas, config.batch_size))
        count = count + 1
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, second, gradient)
        scale = LEARNING_RATE / (1 - 0.9**count), 1 - 0.999**count
        update = lambda p, m, v: p - scale[0] * m / (jnp.sqrt(v / scale[1]) + 1e-8)  # noqa: E731
        params = jax.tree.map(update, params, first, second)
        decay = jnp.minimum(DECAY, count / (9.0 + count))
        average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, average, params)
        return (count, params, average, first, second), loss

    zeros = jax.tree.map(jnp.zeros_like, params)
    return step, (jnp.zeros((), jnp.int32), params, params, zeros, zeros)


def _start_torch(config) -> subprocess.Popen | None:
    script = Path(__file__).with_name("torch_step.py")
    settings = dataclasses.asdict(config) | {"learning_rate": LEARNING_RATE, "sigma_data": SIGMA_DATA, "decay": DECAY}
    worker = subprocess.Popen(
        [config.torch_python, str(script), json.dumps(settings)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return worker if worker.stdout.readline().strip() == "ready" else None


def _ask(worker, steps) -> float:
    worker.stdin.write(f"{steps}\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


if __name__ == "__main__":
    recording.main(Config, measure, __doc__)
