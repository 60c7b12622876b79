"""Part `capacity` of `experiments.bottleneck`: N training images, K hidden units, and the boundary of memory."""

import itertools
import math
from functools import partial
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments import runs
from experiments.bottleneck_setup import Setup, clipped_adam, describe, draw, log_grid, mean_loss, support
from jaxcreativity import networks, plotting, training
from jaxcreativity.theory import bottleneck
from jaxcreativity.theory.empirical import EmpiricalDenoiser

# Networks below this many units are trained several at a time: alone they leave the cores idle.
UNITS_AT_ONCE = 256


def capacity(setup: Setup) -> tuple[dict[str, Any], str]:
    """Memorised fraction of N training images by K hidden units."""
    config = setup.config
    counts = [n for n in config.counts if n <= len(setup.x)]
    grid = log_grid(config, config.sigma_min)
    rows = []
    for activation in config.activations:
        for width in config.widths:
            at_once = max(1, min(len(counts), UNITS_AT_ONCE // width))
            for start in range(0, len(counts), at_once):
                group = counts[start : start + at_once]
                missing = [n for n in group if not (setup.folder / "cells" / _cell_name(activation, n, width)).exists()]
                trained = _train_together(setup, networks.ShallowMLP(width, activation), missing, grid)
                for n in group:
                    compute = partial(_capacity_cell, setup, trained.get(n), n, width, activation, grid)
                    rows.append(setup.cell(_cell_name(activation, n, width).removesuffix(".json"), compute)[0])
    for n in counts:
        for width in config.widths:
            if width <= n:
                compute = partial(_closed_form_cell, setup, n, width)
                rows.append(setup.cell(_cell_name("prototypes", n, width).removesuffix(".json"), compute)[0])
    contours = {kind: _contour(rows, kind, counts) for kind in (*config.activations, "prototypes")}
    _plot_capacity(setup, rows, counts, contours)
    table = runs.table(
        ["units", "N", "K", "memorised (95 %)", "held out", "different images (95 %)", "hull ratio",
         "loss / empirical"],
        [
            [
                row["kind"], str(row["count"]), str(row["width"]),
                f"{row['memorised']:.3f} ({row['memorised_low']:.3f}–{row['memorised_high']:.3f})",
                f"{row['held_out_memorised']:.3f}", support(row), f"{row['hull_ratio']:.2f}",
                f"{row['loss_ratio']:.3f}",
            ]
            for row in rows
        ],
    )  # fmt: skip
    lines = runs.table(
        ["units", *(f"N = {n}" for n in counts)],
        [
            [kind, *("–" if k is None else f"{k:.0f} ({k / n:.2f} N)" for n, k in zip(counts, contour, strict=True))]
            for kind, contour in contours.items()
        ],
    )
    return (
        {"cells": rows, "contours": contours, "counts": counts},
        f"""## Capacity

Half of the samples memorised at K =

{lines}

(interpolated in log K; "–": not within the K that were run). Predicted for softmax units: K = N. Prototypes: the closed
form, k-means with K weighted centres, generated in the limit; it copies images that are clusters of their own, so half
of the samples are copies at a K below N.

{table}

Different images: birthday estimate of the size of the generated law's support. {config.capacity_steps} training steps.

![capacity](capacity.png)
""",
    )


def _cell_name(kind, n, width):
    return f"capacity_{kind}_{n}_{width}.json"


def _train_together(setup, module, counts, grid) -> dict[int, networks.NetworkDenoiser]:
    """One network for each N, trained side by side."""
    if not counts:
        return {}
    config = setup.config
    # With a rate of 2e-2 for all widths, seven of eight runs of K = 1024 ended at 1.8 to 2.1 times the empirical
    # denoiser's loss.
    optimizer = clipped_adam(2e-2 * min(1.0, 256 / module.width), config.capacity_steps)
    trained = training.fit_together(
        module, setup.x, counts, grid, key=jax.random.key(config.seed + 3), init_key=jax.random.key(config.seed + 2),
        num_steps=config.capacity_steps, batch_size=config.batch_size, optimizer=optimizer, ema_decay=None,
        progress=config.progress, label=f"{module.activation}, K = {module.width}, N = {counts}",
    )  # fmt: skip
    return dict(zip(counts, trained, strict=True))


def _capacity_cell(setup, network, n, width, kind, grid):
    x = setup.x[:n]
    loss = mean_loss(network, x, grid) / mean_loss(EmpiricalDenoiser(x), x, grid)
    return describe(setup, draw(network, setup.z, grid), x, n, width, kind, loss), {}


def _closed_form_cell(setup, n, width):
    x = setup.x[:n]
    denoiser = bottleneck.fit_prototypes(x, width, jax.random.key(setup.config.seed))
    samples = denoiser.generated_limit().sample(jax.random.key(setup.config.seed + 4), setup.config.num_samples)
    grid = log_grid(setup.config, setup.config.sigma_min)
    loss = mean_loss(denoiser, x, grid) / mean_loss(EmpiricalDenoiser(x), x, grid)
    return describe(setup, samples, x, n, width, "prototypes", loss), {}


def _contour(rows, kind, counts) -> list[float | None]:
    """For every N the smallest K at which half of the samples are memorised, interpolated in log K."""
    contour = []
    for n in counts:
        cells = sorted((row["width"], row["memorised"]) for row in rows if (row["kind"], row["count"]) == (kind, n))
        found = None
        for (k0, f0), (k1, f1) in itertools.pairwise(cells):
            if f0 < 0.5 <= f1:
                found = k0 * (k1 / k0) ** ((0.5 - f0) / (f1 - f0))
                break
        contour.append(found)
    return contour


def _plot_capacity(setup, rows, counts, contours) -> None:
    widths = list(setup.config.widths)
    titles = {"softmax": "trained, softmax units", "silu": "trained, silu units", "prototypes": "K-means prototypes"}
    figure = Figure(figsize=(3.6 * len(contours) + 0.8, 3.6), dpi=150, layout="constrained")
    panels = figure.subplots(1, len(contours), squeeze=False)[0]
    for axes, (kind, contour) in zip(panels, contours.items(), strict=True):
        table = {(row["count"], row["width"]): row["memorised"] for row in rows if row["kind"] == kind}
        values = np.array([[table.get((n, k), np.nan) for n in counts] for k in widths])
        image = axes.imshow(values, origin="lower", vmin=0, vmax=1, cmap="viridis", aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                axes.text(
                    j, i, f"{value:.2f}", ha="center", va="center", fontsize=6, color="black" if value > 0.6 else "w"
                )
        # Positions along the axes are those of the sizes in log scale.
        to_row = partial(np.interp, xp=np.log(widths), fp=np.arange(len(widths)))
        inside = [j for j, n in enumerate(counts) if widths[0] <= n <= widths[-1]]
        line = [to_row(math.log(counts[j])) for j in inside]
        axes.plot(inside, line, color="#E69F00", linestyle="--", linewidth=2, label="K = N")
        reached = [(j, to_row(math.log(k))) for j, k in enumerate(contour) if k is not None]
        if reached:  # what was interpolated; a contour outside the K that were run is not drawn
            axes.plot(*zip(*reached, strict=True), "o-", color="#D55E00", linewidth=2, label="half memorised")
        axes.set_xticks(range(len(counts)), counts, fontsize=7)
        axes.set_yticks(range(len(widths)), widths, fontsize=7)
        axes.set(xlabel="training images N", ylabel="units K", ylim=(-0.5, len(widths) - 0.5))
        axes.set_title(titles[kind], fontsize=9)
    figure.suptitle(f"{setup.facts}, {setup.config.num_samples} samples a cell, one training seed", fontsize=9)
    figure.legend(*_legend(panels), fontsize=7, frameon=False, loc="outside lower center", ncols=2)
    figure.colorbar(image, ax=panels, label="memorised fraction")
    plotting.save(figure, setup.folder / "capacity.png")


def _legend(panels):
    """Handles and labels of all panels, each label once."""
    found = {}
    for axes in panels:
        found |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    return list(found.values()), list(found)
