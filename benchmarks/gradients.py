"""What a gradient through the sampler costs: time against the forward trajectory, memory against its length.

    python -m benchmarks.gradients                 # a residual network and the empirical denoiser on digits, a minute
    python -m benchmarks.gradients --help

One traced program holds theory, network and both trajectories (`probing.discrepancy`); its gradient is taken with
respect to the noise, and to the noise, the network's parameters and the theory's data together. Times are the smallest
of several repetitions that alternate forward and gradient; memory is what the compiled program asks for besides its
arguments and results. On CPUs the trajectory is unrolled (JAX issue 12868).
"""

import dataclasses
import time

import jax
import jax.numpy as jnp

from benchmarks import recording
from jaxcreativity import data, networks, probing, schedules
from jaxcreativity.theory.empirical import EmpiricalDenoiser


@dataclasses.dataclass(frozen=True)
class Config(recording.Recorded):
    """What is measured."""

    dataset: str = "digits"
    image_size: int | None = None
    num_images: int = 500
    batch: int = 16
    """Seeds in one call."""
    depth: int = 4
    """Of the residual network."""
    width: int = 32
    sampler_steps: int = 20
    """Of the trajectory that is timed."""
    memory_steps: tuple[int, ...] = (10, 100)
    """Lengths of the trajectories whose memory is compared."""
    repetitions: int = 5


def measure(config: Config) -> recording.Tables:
    """Time by derivative, and memory by number of steps."""
    x = jnp.asarray(data.load(config.dataset, image_size=config.image_size, num_images=config.num_images).train)
    module = networks.MinimalResNet(config.depth, config.width)
    params = jax.jit(module.init)(jax.random.key(0), x[0], jnp.ones((), x.dtype))["params"]
    network, theory = networks.bind(module, params, prediction="v"), EmpiricalDenoiser(x)
    z = jax.random.normal(jax.random.key(1), (config.batch, *x.shape[1:]), x.dtype)
    return {"time": _times(config, network, theory, z), "memory": _memory(config, network, theory, z)}


def _discrepancy(num_steps, **options):
    sigmas = schedules.grid(schedules.cosine(), num_steps)
    return lambda z, network, theory: probing.discrepancy(theory, network, z, sigmas, **options)


def _times(config, network, theory, z):
    loss = _discrepancy(config.sampler_steps, unroll=jax.default_backend() == "cpu")
    programs = {
        "forward": jax.jit(loss),
        "gradient, noise": jax.jit(jax.grad(loss)),
        "gradient, noise, network and data": jax.jit(jax.grad(loss, argnums=(0, 1, 2))),
    }
    smallest = dict.fromkeys(programs, float("inf"))
    for repetition in range(config.repetitions + 1):  # the first compiles
        for name, program in programs.items():
            started = time.perf_counter()
            jax.block_until_ready(program(z, network, theory))
            if repetition:
                smallest[name] = min(smallest[name], time.perf_counter() - started)
    return [
        {"steps": config.sampler_steps, "of": name, "ms": 1e3 * seconds, "x forward": seconds / smallest["forward"]}
        for name, seconds in smallest.items()
    ]


def _memory(config, network, theory, z):
    rows = []
    for remat in (False, True):
        held = {}
        for num_steps in config.memory_steps:
            gradient = jax.jit(jax.grad(_discrepancy(num_steps, remat=remat), argnums=(0, 1)))
            memory = gradient.lower(z, network, theory).compile().memory_analysis()
            held[f"MiB, {num_steps} steps"] = memory.temp_size_in_bytes / 2**20
        first, *_, last = held.values()
        rows.append({"remat": str(remat), **held, "last / first": last / first})
    return rows


if __name__ == "__main__":
    recording.main(Config, measure, __doc__)
