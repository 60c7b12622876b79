"""Speed and memory of the patch denoisers, against this machine's matrix products in the same run.

    python -m benchmarks.local                                   # CIFAR-10, 2 000 images, k = 3 7 11
    python -m benchmarks.local --num-images 50000 --patch-sizes 7 --batches 1
    python -m benchmarks.local --num-images 50000 --precision tensorfloat32     # on a GPU
    python -m benchmarks.local --help

One operation count for all boundaries, that of `"interior"`: 2 * queries * keys * k^2 c. The matrix product is timed
right before and after every call, so that other work on the machine slows both; the fraction is the median over
repetitions of their ratio, by wall time and by processor time (which other work disturbs less). The largest errors with
patches rounded to TF32 and bfloat16 follow, the same on every device; `--precision` measures the speed of one of them,
against products of that precision.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import recording
from jaxcreativity.theory.patches import Boundary, LocalDenoiser
from jaxcreativity.theory.patches._energies import Precision, product


@dataclasses.dataclass(frozen=True)
class Config(recording.Recorded):
    """What is measured."""

    dataset: str = "cifar10"
    """A TFDS name, an embedded set, or `random` for noise of CIFAR-10's shape."""
    num_images: int = 2000
    patch_sizes: tuple[int, ...] = (3, 7, 11)
    boundaries: tuple[Boundary, ...] = ("interior", "broken")
    batches: tuple[int, ...] = (1, 8)
    sigmas: tuple[float, ...] = (5.0, 0.05)
    """One above and one below the level from which leading distances are recomputed."""
    chunk_size: int | None = None
    precision: Precision | None = None
    repetitions: int = 5
    matmul_size: int = 2048


def measure(config: Config) -> recording.Tables:
    """Speed and memory of every call, and the largest errors with rounded patches."""
    x = recording.images(config.dataset, config.num_images)
    n, height, width, channels = x.shape
    a = jax.random.normal(jax.random.key(0), (config.matmul_size, config.matmul_size))
    square = jax.jit(lambda a: product(a, a, config.precision))
    product_operations = 2 * config.matmul_size**3
    rows = []
    for boundary in config.boundaries:
        for k in config.patch_sizes:
            denoiser = LocalDenoiser(
                x, k, equivariant=True, boundary=boundary, chunk_size=config.chunk_size, precision=config.precision
            )
            for batch in config.batches:
                y = x[:batch] + 0.5 * jax.random.normal(jax.random.key(1), (batch, *x.shape[1:]))
                call = jax.jit(jax.vmap(lambda d, y, s: d(y, s), (None, 0, None)))
                memory = call.lower(denoiser, y, jnp.float32(1.0)).compile().memory_analysis()
                keys = n * (height - k + 1) * (width - k + 1)
                operations = 2 * batch * height * width * keys * k * k * channels
                for sigma in config.sigmas:
                    level = jnp.float32(sigma)
                    wall, fraction, by_cpu = _measure(
                        lambda call=call, d=denoiser, y=y, s=level: call(d, y, s),
                        lambda: square(a),
                        operations / product_operations,
                        config.repetitions,
                    )
                    rows.append(
                        {
                            "boundary": boundary, "k": k, "batch": batch, "sigma": sigma, "seconds": wall,
                            "gflops": operations / wall / 1e9, "fraction": fraction, "fraction_cpu": by_cpu,
                            "temporary_mib": memory.temp_size_in_bytes / 2**20,
                        }
                    )  # fmt: skip
                    print(_line(rows[-1]), flush=True)
    return {"speed": rows, "largest error": _rounding(config, x[:300])}


def _measure(call: Callable, product: Callable, work: float, repetitions: int) -> tuple[float, float, float]:
    """Smallest wall time of `call`, and the median fraction of the product's rate, by wall and by processor time."""

    def timed(function):
        wall, cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(function())
        return np.array([time.perf_counter() - wall, time.process_time() - cpu])

    timed(call), timed(product)
    times, ratios = [], []
    for _ in range(repetitions):
        before, own, after = timed(product), timed(call), timed(product)
        times.append(own[0])
        ratios.append(work * (before + after) / 2 / own)
    return min(times), *np.median(ratios, axis=0)


def _line(row) -> str:
    return ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
    )


def _rounding(config, x):
    """Largest difference of the output with rounded patches, by patch size and noise level."""
    sigmas = (0.05, 0.2, 1.0, 5.0)
    call = jax.jit(lambda d, y, s: d(y, s))
    noise = jax.random.normal(jax.random.key(1), x.shape[1:])
    rows = []
    for k in config.patch_sizes:
        exact = LocalDenoiser(x, k, equivariant=True, boundary="interior")
        wanted = [call(exact, x[0] + s * noise, jnp.float32(s)) for s in sigmas]
        for precision in get_args(Precision):
            rounded = dataclasses.replace(exact, precision=precision)
            found = [call(rounded, x[0] + s * noise, jnp.float32(s)) for s in sigmas]
            errors = [float(jnp.abs(a - b).max()) for a, b in zip(found, wanted, strict=True)]
            rows.append(
                {"precision": precision, "k": k} | {f"sigma {s:g}": e for s, e in zip(sigmas, errors, strict=True)}
            )
    return rows


if __name__ == "__main__":
    recording.main(Config, measure, __doc__)
