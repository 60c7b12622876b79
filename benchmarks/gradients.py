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
from jaxcreativity.theory.patches import LocalDenoiser


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
    els_dataset: str = "cifar10"
    els_images: tuple[int, ...] = (500, 2000)
    """Training images of the equivariant denoiser; none leaves it out."""
    els_patch_size: int = 7
    els_batch: int = 1
    els_sigmas: tuple[float, ...] = (2.0, 0.3)
    """One above and one below the level from which leading distances are recomputed."""


def measure(config: Config) -> recording.Tables:
    """Time by derivative, and memory by number of steps."""
    x = jnp.asarray(data.load(config.dataset, image_size=config.image_size, num_images=config.num_images).train)
    module = networks.MinimalResNet(config.depth, config.width)
    params = jax.jit(module.init)(jax.random.key(0), x[0], jnp.ones((), x.dtype))["params"]
    network, theory = networks.bind(module, params, prediction="v"), EmpiricalDenoiser(x)
    z = jax.random.normal(jax.random.key(1), (config.batch, *x.shape[1:]), x.dtype)
    tables = {"time": _times(config, network, theory, z), "memory": _memory(config, network, theory, z)}
    return tables | {"ELS": [row for n in config.els_images for row in _equivariant(config, n)]}


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


def _equivariant(config, num_images):
    """Seconds to compile and to run, and memory, of one call and of its gradients."""
    x = recording.images(config.els_dataset, num_images)
    y = x[: config.els_batch] + 0.5 * jax.random.normal(jax.random.key(1), (config.els_batch, *x.shape[1:]))

    def call(y, sigma, x, weights):
        denoiser = LocalDenoiser(x, config.els_patch_size, equivariant=True, boundary="interior", weights=weights)
        return jax.vmap(denoiser, (0, None))(y, sigma)

    rows, forward = [], None
    for argument, name in ((None, "forward"), (0, "y"), (1, "sigma"), (2, "data"), (3, "weights")):
        loss = lambda *args: jnp.sum(jnp.square(call(*args)))  # noqa: E731
        function = jax.jit(call if argument is None else jax.grad(loss, argnums=argument))
        args = y, jnp.float32(1), x, jnp.ones(num_images) if name == "weights" else None
        lowered, started = function.lower(*args), time.perf_counter()
        program = lowered.compile()
        row = {"images": num_images, "of": name, "compile s": time.perf_counter() - started}
        row["MiB"] = program.memory_analysis().temp_size_in_bytes / 2**20
        for sigma in config.els_sigmas:
            seconds = []
            for _ in range(2):
                started = time.perf_counter()
                jax.block_until_ready(program(y, jnp.float32(sigma), *args[2:]))
                seconds.append(time.perf_counter() - started)
            row[f"s, sigma {sigma:g}"] = min(seconds)
        forward = forward or row
        rows.append(
            row | {f"x, sigma {s:g}": row[f"s, sigma {s:g}"] / forward[f"s, sigma {s:g}"] for s in config.els_sigmas}
        )
    return rows


if __name__ == "__main__":
    recording.main(Config, measure, __doc__)
