"""What a bottleneck generates, and when capacity turns into memory.

    python -m experiments.bottleneck                      # all four parts on the embedded digits
    python -m experiments.bottleneck --dataset mnist --image-size 14 --num-images 4096
    python -m experiments.bottleneck --parts capacity --counts 16 32 64 128 256 512 1024 2048 \
        --widths 16 32 64 128 256 512 1024 2048 --dataset mnist --image-size 8    # the full capacity sweep
    python -m experiments.bottleneck --small              # few sizes, short training: part of `make demo`
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
import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments import runs
from experiments.bottleneck_capacity import capacity
from experiments.bottleneck_setup import (
    PARTS,
    SMALL,
    Config,
    Setup,
    clipped_adam,
    describe,
    draw,
    log_grid,
    mean_loss,
    novelty_numbers,
    support,
)
from jaxcreativity import data, networks, plotting, trajectory
from jaxcreativity.metrics.comparison import agreement
from jaxcreativity.theory import bottleneck, linear


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
            "loss": mean_loss(network, x, grid), "loss_closed_form": mean_loss(closed_form, x, grid),
            **novelty_numbers(of_network, x, setup.test),
            "memorised_closed_form": novelty_numbers(predicted, x)["memorised"],
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
    title = f"{setup.facts}: linear and nonlinear decoders behind r code numbers"
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
        plotting.plain_log(axes, "x", sorted({row["code_size"] for row in rows}))
        axes.set_xlabel("code numbers r")
        axes.legend(fontsize=7, frameon=False)
    figure.suptitle(f"{setup.facts}, {len(x)} images; {config.num_samples} samples each, one training seed", fontsize=9)
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


# --- (c) a narrow encoder -----------------------------------------------------------------------------------------


def encoder(setup: Setup) -> tuple[list[dict[str, Any]], str]:
    """A linear encoder to r numbers with decoders of different size."""
    config = setup.config
    x = setup.x[: config.encoder_images]
    grid = log_grid(config, config.sigma_min / 10)  # one code number tells images apart at low noise only

    def compute(r, width):
        module = networks.Autoencoder(r, width=width, encoder_depth=0, decoder_depth=1, activation="softmax")
        network = setup.train(
            module, x, grid, f"encoder r = {r}, decoder of {width}", num_steps=config.capacity_steps,
            optimizer=clipped_adam(2e-2, config.capacity_steps),
        )  # fmt: skip
        projection = bottleneck.orthonormalise(network.params["encoder"]["kernel"].T)
        closed_form = bottleneck.ProjectedDenoiser(x, projection)
        predicted = draw(closed_form, setup.z, grid)
        row = describe(setup, draw(network, setup.z, grid), x, len(x), width, "encoder", 0.0)
        row |= {
            "code_size": r, "memorised_closed_form": novelty_numbers(predicted, x)["memorised"],
            "loss_ratio": mean_loss(network, x, grid) / mean_loss(closed_form, x, grid),
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
    plotting.plain_log(axes, "x", config.decoder_widths)
    axes.set(xlabel="decoder units K", ylabel="memorised fraction", ylim=(-0.03, 1.03))
    axes.set_title(
        f"{len(x)} images of {setup.facts} through a linear encoder to r numbers;\n"
        f"{config.num_samples} samples each, 95 % intervals, one training seed",
        fontsize=9,
    )
    axes.legend(fontsize=7, frameon=False)
    plotting.save(figure, setup.folder / "encoder.png")
    table = runs.table(
        ["r", "decoder units", "memorised (95 %)", "any decoder", "different images (95 %)", "hull ratio",
         "loss / any decoder"],
        [
            [
                str(row["code_size"]), str(row["width"]),
                f"{row['memorised']:.3f} ({row['memorised_low']:.3f}–{row['memorised_high']:.3f})",
                f"{row['memorised_closed_form']:.3f}", support(row), f"{row['hull_ratio']:.2f}",
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
    if not config.small:
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
    plotting.plain_log(axes, "x")
    plotting.plain_log(axes, "y", [2**i for i in range(int(math.log2(x[0].size)) + 1)])
    axes.set(xlabel="noise level along the trajectory", ylabel="singular values above 1 % of the largest")
    axes.set_title(f"{setup.facts}: rank of dD/dy,\nmean over 8 trajectories of one network each", fontsize=9)
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


if __name__ == "__main__":
    runs.cli(main, Config, __doc__)
