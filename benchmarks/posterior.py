"""What the empirical posterior costs: time beside the plain form, and memory, forward and in derivatives.

    python -m benchmarks.posterior                 # 10 000 images of CIFAR-10, about a minute once they are decoded
    python -m benchmarks.posterior --help

The plain form is one matrix product, a softmax and one product, norms of the images given; it holds a number for every
query and image, and loses small distances at low noise. Times are the smallest of several calls. Memory is what the
compiled program asks for besides its arguments and results. Where the set is absent, `--dataset random` has its shape.
"""

import dataclasses
import time

import jax
import jax.numpy as jnp

from benchmarks import recording
from jaxcreativity.theory.empirical import EmpiricalDenoiser


@dataclasses.dataclass(frozen=True)
class Config(recording.Recorded):
    """What is measured."""

    dataset: str = "cifar10"
    """A TFDS name, an embedded set, or `random` for noise of CIFAR-10's shape."""
    num_images: int = 10_000
    batches: tuple[int, ...] = (1, 16, 64)
    sigmas: tuple[float, ...] = (3.0, 0.1)
    """One above and one below the level from which leading images are compared by differences."""
    repetitions: int = 5
    memory_images: int = 50_000
    memory_batches: tuple[int, ...] = (1, 64, 1024)


def measure(config: Config) -> recording.Tables:
    """Milliseconds of a call beside the plain form's, and MiB of compiled programs."""
    x = recording.images(config.dataset, config.num_images)
    return {"time": _times(config, EmpiricalDenoiser(x)), "memory": _memory(config, x.shape[1:])}


def _estimates(denoiser, y, sigma):
    return jax.vmap(denoiser, (0, None))(y, sigma)


def _loss(denoiser, y, sigma):
    return jnp.sum(_estimates(denoiser, y, sigma))


def _plain(flat, norms, y, sigma):
    squares = norms - 2 * jnp.matmul(y, flat.T, precision="highest")
    return jnp.matmul(jax.nn.softmax(-squares / (2 * sigma**2)), flat, precision="highest")


def _times(config, denoiser):
    flat = denoiser.data.reshape(len(denoiser.data), -1)
    norms = jnp.sum(jnp.square(flat), axis=1)
    rows = []
    for batch in config.batches:
        for sigma in map(jnp.float32, config.sigmas):
            noise = jax.random.normal(jax.random.key(0), (batch, *denoiser.data.shape[1:]))
            y = denoiser.data[:batch] + sigma * noise
            plain = _milliseconds(config, _plain, flat, norms, y.reshape(batch, -1), sigma)
            # One example without a batch takes another way.
            alone = batch == 1
            forward = (lambda d, y, s: d(y[0], s)) if alone else _estimates
            loss = (lambda d, y, s: jnp.sum(d(y[0], s))) if alone else _loss
            ours = _milliseconds(config, forward, denoiser, y, sigma)
            of_y, of_data = (_milliseconds(config, jax.grad(loss, i), denoiser, y, sigma) for i in (1, 0))
            rows.append({
                "batch": batch, "sigma": float(sigma), "plain": plain, "ours": ours, "ours / plain": ours / plain,
                "gradient y": of_y, "gradient y / ours": of_y / ours,
                "gradient data": of_data, "gradient data / ours": of_data / ours,
            })  # fmt: skip
    return rows


def _milliseconds(config, function, *arguments):
    program, smallest = jax.jit(function), float("inf")
    for repetition in range(config.repetitions + 1):  # the first compiles
        started = time.perf_counter()
        jax.block_until_ready(program(*arguments))
        if repetition:
            smallest = min(smallest, time.perf_counter() - started)
    return 1e3 * smallest


def _memory(config, shape):
    """Nothing is computed: arrays have shapes only."""
    abstract = lambda count: jax.ShapeDtypeStruct((count, *shape), jnp.float32)  # noqa: E731
    denoiser, sigma = jax.eval_shape(EmpiricalDenoiser, abstract(config.memory_images)), jax.ShapeDtypeStruct((), "f4")
    programs = {"forward": _estimates, "gradient y": jax.grad(_loss, 1), "gradient data": jax.grad(_loss)}
    rows = []
    for batch in config.memory_batches:
        row = {"images": config.memory_images, "batch": batch}
        for name, program in programs.items():
            memory = jax.jit(program).lower(denoiser, abstract(batch), sigma).compile().memory_analysis()
            row[f"MiB, {name}"] = memory.temp_size_in_bytes / 2**20
        rows.append(row)
    return rows


if __name__ == "__main__":
    recording.main(Config, measure, __doc__)
