"""The indexed ELS denoiser beside the exact one: error, its bar, and time, on a data set at published patch sizes.

    python -m benchmarks.indexed --record indexed
    python -m benchmarks.indexed --num-images 2000 --seeds 2     # tiny: minutes less

One test image at each noise level: exactly, and for some budgets by the index. `med`, `p90`, `p99` are quantiles of the
absolute error over all entries; `bar` is the median standard error, `within` the share of entries within two of them.
"""

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.recording import Recorded, images, main
from jaxcreativity import data as data_sets
from jaxcreativity.theory import patches


@dataclasses.dataclass(frozen=True)
class Indexed(Recorded):
    """Settings."""

    dataset: str = "cifar10"
    num_images: int = 50_000
    boundary: patches.Boundary = "interior"
    levels: tuple[tuple[int, float], ...] = ((3, 0.157), (5, 0.505), (9, 1.355))
    """Patch size and noise level: CIFAR-10's published ones at t = 0.1, 0.3 and 0.6."""
    budgets: tuple[tuple[int, int], ...] = ((600, 256), (600, 1024))
    """`num_head` and `num_tail`."""
    seeds: int = 8
    """Images in a batch of the indexed form."""
    cache_dir: str | None = None


def measure(settings: Indexed):
    """One table of indices, and one of budgets."""
    x = images(settings.dataset, settings.num_images)
    test = jnp.asarray(data_sets.load(settings.dataset, num_images=1).test[: settings.seeds])
    built, found = [], []
    for k, sigma in settings.levels:
        y = test + sigma * jax.random.normal(jax.random.key(0), test.shape)
        exact = patches.LocalDenoiser(x, k, equivariant=True, boundary=settings.boundary)
        truth, exact_seconds = timed(jax.jit(lambda d, y, s: d(y, s)), exact, y[0], sigma, runs=1)
        start = time.perf_counter()
        index = patches.build_index(
            x, k, boundary=settings.boundary, key=jax.random.key(1), cache_dir=settings.cache_dir
        )
        built.append({"k": k, "s": time.perf_counter() - start, "MiB": index.num_bytes / 2**20})
        for num_head, num_tail in settings.budgets:
            denoiser = patches.IndexedLocalDenoiser(index, num_head=num_head, num_tail=num_tail, key=jax.random.key(2))
            call = jax.jit(lambda d, y, s: jax.vmap(lambda y: d.estimate(y, s))(y))
            (estimate, error), one = timed(call, denoiser, y[:1], sigma)
            _, batch = timed(call, denoiser, y, sigma, runs=1)
            off = np.abs(np.asarray(estimate[0] - truth))
            med, p90, p99 = np.quantile(off, (0.5, 0.9, 0.99))
            found.append({
                "k": k, "sigma": sigma, "head": num_head, "tail": num_tail, "med": med, "p90": p90, "p99": p99,
                "bar": np.median(error), "within": np.mean(off <= 2 * np.asarray(error[0]) + 1e-5),
                "exact s": exact_seconds, "one s": one, f"s a seed of {settings.seeds}": batch / settings.seeds,
            })  # fmt: skip
            print(found[-1], flush=True)
    return {"index": built, "error and time": [{k: float(v) for k, v in row.items()} for row in found]}


def timed(function, *args, runs: int = 2):
    """What a jitted function returns, and the least seconds of some runs, without compilation."""
    compiled, seconds = function.lower(*args).compile(), []
    for _ in range(runs):
        start = time.perf_counter()
        out = jax.block_until_ready(compiled(*args))
        seconds.append(time.perf_counter() - start)
    return out, min(seconds)


if __name__ == "__main__":
    main(Indexed, measure, __doc__)
