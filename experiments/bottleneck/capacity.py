"""Part `capacity`: N training images, K hidden units, and the boundary of memory."""

import itertools
from functools import partial
from typing import Any

import jax

from experiments.bottleneck.capacity_report import report
from experiments.bottleneck.measuring import clipped_adam, describe, mean_loss
from experiments.bottleneck.settings import Config, Setup, log_grid
from experiments.runner import Measured, Part, Run
from jaxcreativity import generate, networks, training
from jaxcreativity.theory import bottleneck
from jaxcreativity.theory.empirical import EmpiricalDenoiser

# Networks below this many units are trained several at a time: alone they leave the cores idle.
UNITS_AT_ONCE = 256


def measure(run: Run, setup: Setup) -> Measured:
    """A row for every N, K and kind of units, and the contours of half memorised."""
    config = run.settings
    counts = [n for n in config.counts if n <= len(setup.x)]
    rows = []
    for activation, width in itertools.product(config.activations, config.widths):
        at_once = max(1, min(len(counts), UNITS_AT_ONCE // width))
        for start in range(0, len(counts), at_once):
            group = counts[start : start + at_once]
            name = f"capacity_{activation}_{width}_{'_'.join(map(str, group))}"
            found, _ = run.attempt(name, partial(_group, run, setup, activation, width, group))
            kinds = [{"kind": activation, "count": n, "width": width} for n in group]
            rows += [kind | found for kind in kinds] if "failed" in found else found["cells"]
    for n, width in itertools.product(counts, config.widths):
        if width <= n:
            name = f"capacity_prototypes_{n}_{width}"
            found, _ = run.attempt(name, partial(_prototypes, run, setup, n, width))
            rows.append({"kind": "prototypes", "count": n, "width": width, **found})
    measured = [row for row in rows if "failed" not in row]
    contours = {kind: contour(measured, kind, counts) for kind in (*config.activations, "prototypes")}
    return {"capacity": {"cells": rows, "contours": contours, "counts": counts}}, {}


PART = Part(measure, report)


def train_together(
    config: Config, x: jax.Array, module: networks.ShallowMLP, counts: list[int], grid: jax.Array
) -> list[networks.NetworkDenoiser]:
    """One network for each N, trained side by side on the first N images."""
    # With a rate of 2e-2 for all widths, seven of eight runs of K = 1024 ended at 1.8 to 2.1 times the empirical
    # denoiser's loss.
    optimizer = clipped_adam(2e-2 * min(1.0, 256 / module.width), config.capacity_steps)
    return training.fit_together(
        module, x, counts, grid, key=jax.random.key(config.seed + 3), init_key=jax.random.key(config.seed + 2),
        num_steps=config.capacity_steps, batch_size=config.batch_size, optimizer=optimizer, ema_decay=None,
        progress=config.progress, label=f"{module.activation}, K = {module.width}, N = {counts}",
    )  # fmt: skip


def contour(rows: list[dict[str, Any]], kind: str, counts: list[int]) -> list[float | None]:
    """For every N the smallest K at which half of the samples are memorised, interpolated in log K."""
    found = []
    for n in counts:
        cells = sorted((row["width"], row["memorised"]) for row in rows if (row["kind"], row["count"]) == (kind, n))
        crossings = (
            k0 * (k1 / k0) ** ((0.5 - f0) / (f1 - f0))
            for (k0, f0), (k1, f1) in itertools.pairwise(cells)
            if f0 < 0.5 <= f1
        )
        found.append(next(crossings, None))
    return found


def _group(run: Run, setup: Setup, activation: str, width: int, counts: list[int]) -> Measured:
    """Networks of `width` units trained on each of `counts` images."""
    config = run.settings
    grid = log_grid(config, config.sigma_min)
    with run.doing(f"training K = {width} {activation} units on N = {', '.join(map(str, counts))} images"):
        trained = train_together(config, setup.x, networks.ShallowMLP(width, activation), counts, grid)
    cells = []
    for n, network in zip(counts, trained, strict=True):
        with run.doing(f"sampling and measuring, K = {width}, N = {n}"):
            x = setup.x[:n]
            loss = mean_loss(network, x, grid) / mean_loss(EmpiricalDenoiser(x), x, grid)
            cells.append(describe(setup, generate(network, setup.z, grid), x, width, activation, loss))
    return {"cells": cells}, {}


def _prototypes(run: Run, setup: Setup, n: int, width: int) -> Measured:
    """The closed form of K atoms: k-means with K weighted centres, sampled in the limit of many steps."""
    config, x = run.settings, setup.x[:n]
    with run.doing(f"{width} prototypes of {n} images"):
        denoiser = bottleneck.fit_prototypes(x, width, jax.random.key(config.seed))
        samples = denoiser.generated_limit().sample(jax.random.key(config.seed + 4), config.num_samples)
        grid = log_grid(config, config.sigma_min)
        loss = mean_loss(denoiser, x, grid) / mean_loss(EmpiricalDenoiser(x), x, grid)
        return describe(setup, samples, x, width, "prototypes", loss), {}
