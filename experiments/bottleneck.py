"""What a bottleneck generates, and when capacity turns into memory.

    python -m experiments.bottleneck                      # all four parts on the embedded digits
    python -m experiments.bottleneck --dataset mnist --image-size 14 --num-images 4096
    python -m experiments.bottleneck --parts capacity --counts 16 32 64 128 256 512 1024 2048 \
        --widths 16 32 64 128 256 512 1024 2048 --dataset mnist --image-size 8    # the full capacity sweep
    python -m experiments.bottleneck --small              # a minute: part of `make demo`
    python -m experiments.bottleneck --help

Four parts, each closed form against trained network:

- `codes`: r code numbers. Linear decoder against the PCA Gaussian; nonlinear decoder against the regression manifold
  behind the encoder that was learned, which for a finite training set is that set.
- `capacity`: N training images, one hidden layer of K units. Which samples are copies, and where is the boundary?
  Softmax units can be the K-atom denoiser, which memorises from K = N on; silu units have no such closed form.
- `encoder`: memorisation through r = 1, 2, 4 code numbers, and its end when the decoder shrinks.
- `rank`: rank of dD/dy along a trajectory.

Writes `runs/<name>/`: config.json, environment.json, metrics.json, summary.md, figures and `cells/`, the results of
finished networks, from which a killed run resumes.
"""

import dataclasses
import itertools
import json
import math
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from matplotlib.figure import Figure
from tqdm import tqdm

from experiments import runs
from jaxcreativity import data, networks, plotting, sample, schedules, training, trajectory
from jaxcreativity.metrics.agreement import agreement
from jaxcreativity.metrics.duplicates import birthday_test
from jaxcreativity.metrics.hull import hull_distance
from jaxcreativity.metrics.novelty import novelty
from jaxcreativity.theory import bottleneck, linear
from jaxcreativity.theory.empirical import EmpiricalDenoiser

matplotlib.use("agg")
PARTS = ("codes", "capacity", "encoder", "rank")
# Networks below this many units per step are trained several at a time: alone they leave the cores idle.
UNITS_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of one run."""

    dataset: str = "digits"
    image_size: int | None = None
    num_images: int | None = None
    parts: tuple[str, ...] = PARTS
    code_sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    """r of part `codes`; those not below the number of pixels are no bottleneck and left out."""
    counts: tuple[int, ...] = (16, 64, 256, 1024)
    """N of part `capacity`, as far as there are images."""
    widths: tuple[int, ...] = (16, 64, 256, 1024)
    """K of part `capacity`."""
    activations: tuple[str, ...] = ("softmax", "silu")
    """Units of part `capacity`."""
    encoder_ranks: tuple[int, ...] = (1, 2, 4)
    encoder_images: int = 16
    decoder_widths: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    rank_codes: tuple[int, ...] = (2, 4, 8)
    sampler_steps: int = 15
    sigma_min: float = 0.1
    sigma_max: float = 20.0
    train_steps: int = 3000
    capacity_steps: int = 6000
    batch_size: int = 32
    num_samples: int = 512
    small: bool = False
    """Few sizes and short training, for `make demo`."""
    seed: int = 0
    name: str | None = None
    """Name of the run's folder; bottleneck-<dataset> by default."""
    output: str = "runs"
    progress: bool = True


SMALL = {
    "code_sizes": (4,), "counts": (16, 32), "widths": (8, 32), "activations": ("softmax",), "encoder_ranks": (2,),
    "decoder_widths": (4, 32), "rank_codes": (4,), "train_steps": 500, "capacity_steps": 1000, "num_samples": 256,
    "num_images": 500, "sampler_steps": 10,
}  # fmt: skip

draw = jax.jit(jax.vmap(sample, (None, 0, None)))


def log_grid(config: Config, sigma_min: float) -> jax.Array:
    """The sampler's noise levels."""
    return schedules.grid(schedules.log_linear(sigma_min, config.sigma_max), config.sampler_steps)


@dataclasses.dataclass(frozen=True)
class Setup:
    """What the parts share."""

    config: Config
    folder: Path
    x: jax.Array
    test: jax.Array
    z: jax.Array

    def cell(self, name: str, compute: Callable[[], tuple[dict[str, Any], dict[str, np.ndarray]]]):
        """Numbers and arrays of one result, from its file if it has been computed."""
        path = self.folder / "cells" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            numbers, arrays = compute()
            np.savez(path.with_suffix(".npz"), **arrays)
            runs.write_json(path, numbers)
        with np.load(path.with_suffix(".npz")) as stored:
            return json.loads(path.read_text()), dict(stored)

    def train(self, module, x, grid, name, **options) -> networks.NetworkDenoiser:
        """A network trained to predict x."""
        key = jax.random.fold_in(jax.random.key(self.config.seed), sum(name.encode()))
        options = {"num_steps": self.config.train_steps, "batch_size": self.config.batch_size} | options
        return training.fit(module, x, grid, key=key, progress=self.config.progress, label=name, **options)


def main(config: Config) -> dict[str, Any]:
    """Run the experiment; returns what `metrics.json` holds.

    Raises:
        ValueError: for unknown parts, bad settings or data, or a run folder of another configuration.
    """
    started = time.perf_counter()
    if unknown := set(config.parts) - set(PARTS):
        raise ValueError(f"unknown parts {sorted(unknown)}; there are {', '.join(PARTS)}")
    if config.small:
        config = dataclasses.replace(config, **SMALL)
    config = dataclasses.replace(config, name=config.name or f"bottleneck-{Path(config.dataset).stem}")
    folder = runs.open_run(Path(config.output) / config.name, config)
    dataset = data.load(config.dataset, image_size=config.image_size, num_images=config.num_images, seed=config.seed)
    x = jnp.asarray(np.random.default_rng(config.seed).permutation(dataset.train))
    z = jax.random.normal(jax.random.key(config.seed + 1), (config.num_samples, *x.shape[1:]), x.dtype)
    setup = Setup(config, folder, x, jnp.asarray(dataset.test[: config.num_samples]), z)
    run = {"codes": codes, "capacity": capacity, "encoder": encoder, "rank": rank}
    metrics, sections = {}, []
    for part in config.parts:
        metrics[part], section = run[part](setup)
        sections.append(section)
        if config.progress:
            print(f"\n{section}\n{part}: {time.perf_counter() - started:.0f} s", flush=True)
    runs.write_json(folder / "metrics.json", metrics)
    head = f"""# Bottlenecks on {config.dataset}

{len(x)} training images of {x.shape[1:]}; {config.sampler_steps} DDIM steps from {config.sigma_max:g};
{config.num_samples} samples from the same noise for closed form and network; seed {config.seed}. A sample is memorised
if its nearest training image is less than a third as far as the second nearest.
"""
    runs.write_text(folder / "summary.md", "\n".join([head, *sections]))
    if config.progress:
        print(f"{time.perf_counter() - started:.0f} s in all; written to {folder}/")
    return metrics


# --- (a) code size ------------------------------------------------------------------------------------------------


def codes(setup: Setup) -> tuple[list[dict[str, Any]], str]:
    """Linear and nonlinear decoders behind r code numbers, trained and predicted."""
    config, x = setup.config, setup.x
    grid = log_grid(config, config.sigma_min)
    levels = tuple(np.asarray(grid[:-1]).tolist())
    rows, shown = [], {}

    def measure(network, closed_form, key):
        of_network, predicted = (draw(d, setup.z, grid) for d in (network, closed_form))
        found = {
            **agreement(predicted, of_network).summary(),
            "loss": _loss(network, x, grid), "loss_closed_form": _loss(closed_form, x, grid),
            **_novelty(of_network, x, setup.test),
            "memorised_closed_form": _novelty(predicted, x)["memorised"],
        }  # fmt: skip
        return {"code_size": key[0], "decoder": key[1], **found}, {
            "network": np.asarray(of_network[:12]),
            "closed_form": np.asarray(predicted[:12]),
        }

    def linear_decoder(r):
        module = networks.LowRankLinear(levels, rank=r)
        network = setup.train(module, x, grid, f"linear decoder, r = {r}", learning_rate=3e-2)
        return measure(network, linear.fit(x, "low_rank", rank=r), (r, "linear"))

    def nonlinear_decoder(r):
        module = networks.Autoencoder(r, encoder_depth=0)
        network = setup.train(module, x, grid, f"nonlinear decoder, r = {r}", learning_rate=3e-3)
        projection = bottleneck.orthonormalise(network.params["encoder"]["kernel"].T)
        return measure(network, bottleneck.ProjectedDenoiser(x, projection, chunk_size=4096), (r, "nonlinear"))

    for r in config.code_sizes:
        if r >= x[0].size:
            continue
        for name, compute in (("linear", linear_decoder), ("nonlinear", nonlinear_decoder)):
            row, images = setup.cell(f"codes_{name}_{r}", partial(compute, r))
            rows.append(row)
            label = "PCA Gaussian" if name == "linear" else "manifold"
            shown[f"{name}, r = {r}"] = {label: images["closed_form"], "network": images["network"]}
    held_out = {"held-out images": np.asarray(setup.test[:12])} if len(setup.test) >= 12 else {}
    title = f"{config.dataset}: linear and nonlinear decoders behind r code numbers"
    plotting.save(plotting.sample_grid(held_out | shown, title=title), setup.folder / "codes.png")

    figure = Figure(figsize=(9, 3.2), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    for colour, name in zip(plotting.COLOURS, ("linear", "nonlinear"), strict=False):
        own = [row for row in rows if row["decoder"] == name]
        r = [row["code_size"] for row in own]
        left.plot(r, [row["pearson_median"] for row in own], "o-", color=colour, label=f"{name} decoder")
        left.fill_between(
            r, *([row[f"pearson_{q}"] for row in own] for q in ("q25", "q75")), color=colour, alpha=0.2, linewidth=0
        )
        right.plot(r, [row["memorised"] for row in own], "o-", color=colour, label=f"{name}, network")
        right.plot(r, [row["memorised_closed_form"] for row in own], "x--", color=colour, label=f"{name}, predicted")
    right.axhline(rows[0]["held_out_memorised"], color="0.5", linestyle=":", label="held-out images")
    left.set(ylabel="correlation with the closed form\n(median, quartiles)", ylim=(None, 1.02))
    right.set(ylabel="memorised fraction", ylim=(-0.03, 1.03))
    for axes in (left, right):
        _plain_log(axes, "x", sorted({row["code_size"] for row in rows}))
        axes.set_xlabel("code numbers r")
        axes.legend(fontsize=7, frameon=False)
    plotting.save(figure, setup.folder / "code_sizes.png")
    table = runs.table(
        ["decoder", "r", "correlation", "loss / closed form", "memorised: network", "closed form", "held out",
         "hull ratio", "held out "],
        [
            [
                row["decoder"], str(row["code_size"]), f"{row['pearson_median']:.3f} ({row['pearson_q25']:.3f}–"
                f"{row['pearson_q75']:.3f})", f"{row['loss'] / row['loss_closed_form']:.3f}", f"{row['memorised']:.3f}",
                f"{row['memorised_closed_form']:.3f}", f"{row['held_out_memorised']:.3f}", f"{row['hull_ratio']:.2f}",
                f"{row['held_out_hull_ratio']:.2f}",
            ]
            for row in rows
        ],
    )  # fmt: skip
    return (
        rows,
        f"""## Code size

{table}

Closed form: of a linear decoder the PCA Gaussian, of a nonlinear one E[x | Wy] over the training set with the learned
encoder W. Hull ratio: distance to the convex hull of the five nearest training images over that to the nearest.

![code sizes](code_sizes.png)
![samples](codes.png)
""",
    )


# --- (b) capacity -------------------------------------------------------------------------------------------------


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
                f"{row['held_out_memorised']:.3f}", _support(row), f"{row['hull_ratio']:.2f}",
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
form, k-means with K weighted centres, generated in the limit.

{table}

Different images: birthday estimate of the size of the generated law's support. {config.capacity_steps} training steps.

![capacity](capacity.png)
""",
    )


def _cell_name(kind, n, width):
    return f"capacity_{kind}_{n}_{width}.json"


def _train_together(setup, module, counts, grid) -> dict[int, networks.NetworkDenoiser]:
    """One network for each N, trained side by side (`vmap`)."""
    if not counts:
        return {}
    config, x = setup.config, setup.x
    sigma_data = float(jnp.sqrt(jnp.mean(jnp.square(x))))
    objective = training.Objective(module, "x", sigma_data)
    steps = config.capacity_steps
    optimizer = optax.adam(optax.warmup_cosine_decay_schedule(0.0, 2e-2, max(1, steps // 20), steps + 1))
    levels = grid[:-1]

    def step(params, opt_state, n, x, key):
        index_key, noise_key = jax.random.split(key)
        chosen = x[jax.random.randint(index_key, (len(levels), config.batch_size), 0, n)]
        noise = jax.random.normal(noise_key, chosen.shape, x.dtype)
        gradient = jax.grad(objective)(params, chosen, noise, levels)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    @jax.jit
    def run(params, opt_state, counts, x, key, first, num_steps):
        def body(i, state):
            keys = jax.random.split(jax.random.fold_in(key, first + i), counts.shape[0])
            return jax.vmap(step, (0, 0, 0, None, 0))(*state, counts, x, keys)

        return jax.lax.fori_loop(0, num_steps, body, (params, opt_state))

    keys = jax.random.split(jax.random.key(config.seed + 2), len(counts))
    params = jax.jit(jax.vmap(lambda key: module.init(key, setup.x[0], jnp.ones(()))["params"]))(keys)
    state = (params, jax.vmap(optimizer.init)(params))
    label = f"{module.activation}, K = {module.width}, N = {counts}"
    with tqdm(total=steps, unit="step", desc=label, disable=not config.progress) as bar:
        for first in range(0, steps, 100):
            num_steps = min(100, steps - first)
            key = jax.random.key(config.seed + 3)
            state = jax.block_until_ready(run(*state, jnp.asarray(counts), x, key, first, num_steps))
            bar.update(num_steps)
    return {
        n: networks.bind(module, jax.tree.map(lambda leaf, i=i: leaf[i], state[0]), sigma_data=sigma_data)
        for i, n in enumerate(counts)
    }


def _capacity_cell(setup, network, n, width, kind, grid):
    x = setup.x[:n]
    loss = _loss(network, x, grid) / _loss(EmpiricalDenoiser(x), x, grid)
    return _describe(setup, draw(network, setup.z, grid), x, n, width, kind, loss), {}


def _closed_form_cell(setup, n, width):
    x = setup.x[:n]
    denoiser = bottleneck.fit_prototypes(x, width, jax.random.key(setup.config.seed))
    samples = denoiser.generated_limit().sample(jax.random.key(setup.config.seed + 4), setup.config.num_samples)
    grid = log_grid(setup.config, setup.config.sigma_min)
    loss = _loss(denoiser, x, grid) / _loss(EmpiricalDenoiser(x), x, grid)
    return _describe(setup, samples, x, n, width, "prototypes", loss), {}


def _describe(setup, samples, x, n, width, kind, loss):
    birthday = birthday_test(samples, x).summary()
    support = {name: birthday[name] for name in ("support_size", "support_low", "support_high")}
    return {"kind": kind, "count": n, "width": width, "loss_ratio": loss, **_novelty(samples, x, setup.test), **support}


def _support(row):
    show = lambda value: "∞" if value is None else f"{value:.0f}"  # noqa: E731
    return f"{show(row['support_size'])} ({show(row['support_low'])}–{show(row['support_high'])})"


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
        if reached:
            axes.plot(*zip(*reached, strict=True), "o-", color="#D55E00", linewidth=2, label="half memorised")
        axes.set_xticks(range(len(counts)), counts, fontsize=7)
        axes.set_yticks(range(len(widths)), widths, fontsize=7)
        axes.set(xlabel="training images N", ylabel="units K", ylim=(-0.5, len(widths) - 0.5))
        axes.set_title(titles[kind], fontsize=9)
        axes.legend(fontsize=6, loc="upper left")
    figure.colorbar(image, ax=panels, label="memorised fraction")
    plotting.save(figure, setup.folder / "capacity.png")


# --- (c) a narrow encoder -----------------------------------------------------------------------------------------


def encoder(setup: Setup) -> tuple[list[dict[str, Any]], str]:
    """A linear encoder to r numbers with decoders of different size."""
    config = setup.config
    x = setup.x[: config.encoder_images]
    grid = log_grid(config, config.sigma_min / 10)  # one code number tells images apart at low noise only

    def compute(r, width):
        module = networks.Autoencoder(r, width=width, encoder_depth=0, decoder_depth=1, activation="softmax")
        network = setup.train(
            module, x, grid, f"encoder r = {r}, decoder of {width}", learning_rate=2e-2,
            num_steps=config.capacity_steps,
        )  # fmt: skip
        projection = bottleneck.orthonormalise(network.params["encoder"]["kernel"].T)
        closed_form = bottleneck.ProjectedDenoiser(x, projection)
        predicted = draw(closed_form, setup.z, grid)
        row = _describe(setup, draw(network, setup.z, grid), x, len(x), width, "encoder", 0.0)
        row |= {
            "code_size": r, "memorised_closed_form": _novelty(predicted, x)["memorised"],
            "loss_ratio": _loss(network, x, grid) / _loss(closed_form, x, grid),
        }  # fmt: skip
        return row, {}

    rows = [
        setup.cell(f"encoder_{r}_{width}", partial(compute, r, width))[0]
        for r in config.encoder_ranks
        for width in config.decoder_widths
    ]
    figure = Figure(figsize=(5.2, 3.4), dpi=150, layout="constrained")
    axes = figure.subplots()
    for colour, r in zip(plotting.COLOURS, config.encoder_ranks, strict=False):
        own = [row for row in rows if row["code_size"] == r]
        k = [row["width"] for row in own]
        axes.plot(k, [row["memorised"] for row in own], "o-", color=colour, label=f"r = {r}, network")
        axes.fill_between(
            k, *([row[f"memorised_{end}"] for row in own] for end in ("low", "high")), color=colour, alpha=0.2,
            linewidth=0,
        )  # fmt: skip
        axes.plot(k, [row["memorised_closed_form"] for row in own], "x--", color=colour, label=f"r = {r}, any decoder")
    axes.axvline(len(x), color="0.5", linestyle=":", label="K = N")
    _plain_log(axes, "x", config.decoder_widths)
    axes.set(xlabel="decoder units K", ylabel="memorised fraction", ylim=(-0.03, 1.03))
    axes.set_title(f"{len(x)} images through a linear encoder to r numbers", fontsize=10)
    axes.legend(fontsize=7, frameon=False)
    plotting.save(figure, setup.folder / "encoder.png")
    table = runs.table(
        ["r", "decoder units", "memorised (95 %)", "any decoder", "different images (95 %)", "hull ratio",
         "loss / any decoder"],
        [
            [
                str(row["code_size"]), str(row["width"]),
                f"{row['memorised']:.3f} ({row['memorised_low']:.3f}–{row['memorised_high']:.3f})",
                f"{row['memorised_closed_form']:.3f}", _support(row), f"{row['hull_ratio']:.2f}",
                f"{row['loss_ratio']:.3f}",
            ]
            for row in rows
        ],
    )  # fmt: skip
    return (
        rows,
        f"""## A narrow linear encoder, {len(x)} training images

{table}

Any decoder: E[x | Wy] with the learned encoder W, sampled from the same noise.

![encoder](encoder.png)
""",
    )


# --- (d) rank -----------------------------------------------------------------------------------------------------


def rank(setup: Setup) -> tuple[list[dict[str, Any]], str]:
    """Singular values of dD/dy along trajectories, in float64."""
    config, x = setup.config, setup.x
    grid = log_grid(config, config.sigma_min)
    modules = {f"r = {r}": networks.Autoencoder(r) for r in config.rank_codes}
    modules["no bottleneck"] = networks.MLP(depth=2)

    def compute(name, module):
        network = setup.train(module, x, grid, f"rank, {name}", learning_rate=3e-3)
        with jax.enable_x64(True):
            wide = lambda leaf: jnp.asarray(np.asarray(leaf, np.float64))  # noqa: E731
            network = jax.tree.map(wide, network)
            levels, z = wide(grid), wide(setup.z[:8])
            states = jax.jit(jax.vmap(trajectory, (None, 0, None)))(network, z, levels)[:, :-1]
            flat = lambda y, sigma: network(y.reshape(x.shape[1:]), sigma).ravel()  # noqa: E731
            jacobians = jax.jit(jax.vmap(jax.vmap(jax.jacrev(flat)), (0, None)))(
                states.reshape(*states.shape[:2], -1), levels[:-1]
            )
            values = np.linalg.svd(np.asarray(jacobians), compute_uv=False)
        relative = values / values[..., :1]
        numbers = {
            "network": name,
            "largest_rank": int((relative > 1e-10).sum(axis=-1).max()),
            "rank_above_1_percent": (relative > 1e-2).sum(axis=-1).mean(axis=0).tolist(),
        }
        return numbers, {"values": values}

    rows = [setup.cell(f"rank_{i}", partial(compute, *item))[0] for i, item in enumerate(modules.items())]
    figure = Figure(figsize=(5.2, 3.4), dpi=150, layout="constrained")
    axes = figure.subplots()
    for colour, row in zip((*plotting.COLOURS, "black"), rows, strict=False):
        label = f"{row['network']}: rank at most {row['largest_rank']}"
        axes.plot(grid[:-1], row["rank_above_1_percent"], "o-", markersize=3, color=colour, label=label)
    axes.set_xscale("log")
    _plain_log(axes, "y", [2**i for i in range(int(math.log2(x[0].size)) + 1)])
    axes.set(xlabel="noise level along the trajectory", ylabel="singular values above 1 % of the largest")
    axes.legend(fontsize=7, frameon=False)
    plotting.save(figure, setup.folder / "rank.png")
    table = runs.table(
        ["network", "largest rank", "above 1 % of the largest: first level", "largest", "last level"],
        [
            [
                row["network"], str(row["largest_rank"]), *(f"{v:.1f}" for v in (
                    row["rank_above_1_percent"][0], max(row["rank_above_1_percent"]), row["rank_above_1_percent"][-1])),
            ]
            for row in rows
        ],
    )  # fmt: skip
    return (
        rows,
        f"""## Rank of dD/dy along 8 trajectories

{table}

Largest rank: singular values above 1e-10 of the largest, float64, over all levels and trajectories.

![rank](rank.png)
""",
    )


def _plain_log(axes, which, ticks) -> None:
    """A logarithmic axis with plain numbers at `ticks`."""
    axes.set(**{f"{which}scale": "log"})
    axis = getattr(axes, f"{which}axis")
    axis.set_ticks(ticks, [str(tick) for tick in ticks])
    axis.set_ticks([], minor=True)


# --- measures -----------------------------------------------------------------------------------------------------


def _loss(denoiser, x, grid) -> float:
    """Denoising loss per entry, averaged over the levels; the same noise for every denoiser."""
    x = x[jnp.arange(1024) % len(x)]  # of one shape, whatever the set: compiled once per network
    return float(training.denoising_loss(denoiser, x, grid, jax.random.key(7)).mean())


def _novelty(samples, x, test=None) -> dict[str, float]:
    """Copies, and blends of five training images, with the held-out set's numbers."""
    finite = samples[jnp.isfinite(samples).reshape(len(samples), -1).all(axis=1)]
    found, hull = novelty(finite, x, test).summary(), hull_distance(finite, x, test).summary()
    numbers = {
        "memorised": found["memorised_fraction"],
        **{name: found[name] for name in ("memorised_low", "memorised_high")},
        "hull_ratio": hull["hull_ratio_median"],
        "num_finite": len(finite),
    }
    if test is not None:
        numbers["held_out_memorised"] = found["held_out_memorised_fraction"]
        numbers["held_out_hull_ratio"] = hull["held_out_hull_ratio_median"]
    return numbers


def _cli() -> None:
    import tyro

    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FloatingPointError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    _cli()
