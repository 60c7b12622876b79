"""Do patch machines predict what a trained convolutional network generates, image by image?

    python -m experiments.local --small              # about two minutes on two cores: part of `make demo`
    python -m experiments.local                      # MNIST at 14x14, under an hour on two cores
    python -m experiments.local --preset published   # 32x32, 8 layers of 128 channels: for a GPU
    python -m experiments.local --preset published --dataset cifar10 --network unet

Trains a network, finds the patch size per noise level that agrees with it best on its own trajectories (`calibrate`),
samples network, patch machine and empirical denoiser from the same noise, and compares. Beside the calibrated sizes
stand two that are not fitted: from the network's receptive field and from the Wiener filter of the data. Writes
`runs/<name>/`: config.json, environment.json, metrics.json, summary.md, samples.png, scatter.png, provenance.png and
the network's checkpoints. A killed run resumes when started again.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments import runs
from jaxcreativity import data, networks, plotting, schedules, training, trajectory
from jaxcreativity.metrics.comparison import agreement
from jaxcreativity.metrics.memorisation.neighbours import nearest_neighbours
from jaxcreativity.theory.empirical import EmpiricalDenoiser
from jaxcreativity.theory.patches import by_level, calibrate, fit_lengths, predicted_patch_sizes, provenance


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of one run; what is None comes from the preset."""

    preset: Literal["small", "cpu", "published"] = "cpu"
    small: bool = False
    """The same as `--preset small`."""
    dataset: str = "mnist"
    """A TFDS name, an embedded set, a folder or array file; `--small` takes digits where MNIST is not there."""
    network: Literal["resnet", "unet"] = "resnet"
    padding: Literal["zero", "circular"] = "zero"
    attention: bool = False
    """Of the UNet, at its coarsest scale."""
    image_size: int | None = None
    num_images: int | None = None
    """0 takes all."""
    depth: int | None = None
    width: int | None = None
    unet_widths: tuple[int, ...] = (32, 64, 128, 256)
    train_steps: int | None = None
    batch_size: int | None = None
    """Images per noise level and training step."""
    learning_rate: float = 2e-3
    num_pairs: int | None = None
    """Seeds that are compared."""
    num_calibration: int | None = None
    """Trajectories that patch sizes are calibrated on; their seeds are not among those compared."""
    patch_sizes: tuple[int, ...] = ()
    """Candidates for the patch size."""
    soft_window: bool = False
    """Also fit l(sigma) of a Gaussian window to the network by gradient; for circular padding."""
    sampler_steps: int = 20
    seed: int = 0
    name: str | None = None
    """Name of the run's folder; local-<dataset>-<network> by default."""
    output: str = "runs"
    progress: bool = True


MAX_CANDIDATES = 100
"""Effective number of patches up to which a pixel is drawn as coming from the nearest."""

PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "image_size": 14, "num_images": 1000, "depth": 4, "width": 16, "train_steps": 400, "batch_size": 4,
        "num_pairs": 16, "num_calibration": 2, "patch_sizes": (3, 7, 13),
    },
    "cpu": {
        "image_size": 14, "num_images": 1000, "depth": 6, "width": 32, "train_steps": 4000, "batch_size": 6,
        "num_pairs": 64, "num_calibration": 8, "patch_sizes": (3, 5, 7, 9, 11, 13),
    },
    "published": {
        "image_size": 32, "num_images": 0, "depth": 8, "width": 128, "train_steps": 100_000, "batch_size": 13,
        "num_pairs": 128, "num_calibration": 16, "patch_sizes": (3, 5, 7, 9, 11, 13, 15, 17, 21, 25),
    },
}  # fmt: skip


def resolve(config: Config) -> Config:
    """Fill in the preset."""
    preset = "small" if config.small else config.preset
    filled = {key: value for key, value in PRESETS[preset].items() if getattr(config, key) in (None, ())}
    name = f"local-{Path(config.dataset).stem}-{config.network}" + ("-small" if preset == "small" else "")
    return dataclasses.replace(config, preset=preset, name=config.name or name, **filled)


def main(config: Config) -> dict[str, Any]:
    """Run the experiment; returns what `metrics.json` holds.

    Raises:
        ValueError: for bad settings or data, or a run folder of another configuration.
    """
    started = time.perf_counter()
    say = print if config.progress else (lambda *_: None)
    config = resolve(config)
    if config.soft_window and config.padding != "circular":
        raise ValueError("the soft window wraps at the border: soft_window goes with padding 'circular'")
    images, config = _load(config, say)
    folder = runs.open_run(Path(config.output) / config.name, config)
    x = jnp.asarray(images)
    sigmas = schedules.grid(schedules.cosine(), config.sampler_steps)
    keys = jax.random.split(jax.random.key(config.seed), 3)

    network = training.fit(
        _module(config), x, sigmas, key=keys[0], num_steps=config.train_steps, batch_size=config.batch_size,
        learning_rate=config.learning_rate, prediction="v", checkpoint_folder=folder / "network",
        progress=config.progress,
    )  # fmt: skip
    say(f"trained: {time.perf_counter() - started:.0f} s")

    boundary = "broken" if config.padding == "zero" else "circular"
    options = {"equivariant": True, "boundary": boundary}
    z = jax.random.normal(keys[1], (config.num_pairs, *x.shape[1:]), x.dtype)
    z_calibration = jax.random.normal(keys[2], (config.num_calibration, *x.shape[1:]), x.dtype)
    calibration = calibrate(network, x, sigmas, config.patch_sizes, z_calibration, **options)
    largest = 2 * max(x.shape[1:3]) - 1
    sizes = {"calibrated": calibration.patch_sizes}
    if config.preset != "small":
        sizes["receptive field"] = predicted_patch_sizes(network, sigmas, z_calibration)
        sizes["Wiener filter"] = predicted_patch_sizes(x, sigmas)
    sizes = {name: tuple(min(k, largest) for k in ks) for name, ks in sizes.items()}
    machines = {name: by_level(x, sigmas, ks, **options) for name, ks in sizes.items()}
    if config.soft_window:
        soft, _ = fit_lengths(network, x, sigmas, z_calibration)
        machines["soft window"] = soft
        sizes["soft window"] = tuple(float(f"{length:.3g}") for length in np.exp(np.asarray(soft.log_lengths)))
    for name, ks in sizes.items():
        say(f"{name}: {' '.join(map(str, ks))}")
    say(f"calibrated: {time.perf_counter() - started:.0f} s")

    # The last two states: the sample, and what the last step made it from.
    run = lambda denoiser, z: trajectory(denoiser, z, sigmas)[-2:]  # noqa: E731
    draw = jax.jit(lambda denoiser, z: jax.lax.map(lambda z: run(denoiser, z), z, batch_size=8))
    of_network = np.asarray(draw(network, z))[:, 1]
    empirical = np.asarray(draw(EmpiricalDenoiser(x, chunk_size=4096), z))[:, 1]
    states = {name: np.asarray(draw(machine, z)) for name, machine in machines.items()}
    samples = {name: pair[:, 1] for name, pair in states.items()}
    say(f"sampled: {time.perf_counter() - started:.0f} s")

    metrics = _compare(of_network, empirical, samples, sizes, calibration)
    metrics["seconds"] = time.perf_counter() - started
    _plot(folder, config, x, z, of_network, empirical, samples["calibrated"])
    _plot_provenance(folder, config, x, states["calibrated"][:5], machines["calibrated"].denoisers[-1], sigmas[-2])
    runs.write_json(folder / "metrics.json", metrics)
    summary = _summary(config, len(x), metrics)
    runs.write_text(folder / "summary.md", summary)
    say(f"\n{summary}\n{time.perf_counter() - started:.0f} s in all; written to {folder}/")
    return metrics


def _load(config, say) -> tuple[np.ndarray, Config]:
    options = {"num_images": config.num_images or None, "seed": config.seed}
    try:
        dataset = data.load(config.dataset, image_size=config.image_size, **options)
    except ValueError as error:
        if config.preset != "small" or config.dataset != "mnist":
            raise
        say(f"no MNIST here ({error}); using digits")
        config = dataclasses.replace(config, dataset="digits", image_size=8)
        dataset = data.load("digits", **options)
    return dataset.train, dataclasses.replace(config, num_images=len(dataset.train))


def _module(config: Config) -> nn.Module:
    if config.network == "unet":
        return networks.UNet(
            config.unet_widths, padding=config.padding, attention="lowest" if config.attention else "none"
        )
    return networks.MinimalResNet(config.depth, config.width, padding=config.padding)


def _compare(of_network, empirical, samples, sizes, calibration) -> dict[str, Any]:
    floor = agreement(empirical, of_network)
    rows = {"empirical": floor.summary() | {"better_than_empirical": 0.0}}
    for name, x in samples.items():
        pairs = agreement(x, of_network)
        better = float(jnp.mean((pairs.pearson > floor.pearson).astype(float)))
        rows[name] = pairs.summary() | {"better_than_empirical": better, "patch_sizes": list(sizes[name])}
    return {
        "agreement": rows,
        "patch_sizes": {name: list(ks) for name, ks in sizes.items()},
        "pearson": {name: agreement(x, of_network).pearson.tolist() for name, x in samples.items()},
        "pearson_empirical": floor.pearson.tolist(),
        "calibration_errors": np.asarray(calibration.errors).tolist(),
    }


def _plot(folder, config, x, z, of_network, empirical, els) -> None:
    shown = slice(0, min(10, len(z)))
    nearest = nearest_neighbours(jnp.asarray(of_network[shown]), x).indices[:, 0]
    noise = np.clip(np.asarray(z[shown]) / 3, -1, 1)
    rows = {
        "noise / 3": noise, "network": of_network[shown], "ELS": els[shown], "empirical": empirical[shown],
        "nearest training image": np.asarray(x[nearest]),
    }  # fmt: skip
    correlations = {name: agreement(y, of_network).pearson for name, y in (("ELS", els), ("empirical", empirical))}
    notes = {name: f"r = {float(jnp.median(r)):.2f}" for name, r in correlations.items()}
    title = f"{config.dataset}, {config.network}: one noise vector per column; r = median correlation with the network"
    plotting.save(plotting.sample_grid(rows, title=title, notes=notes), folder / "samples.png")

    figure = Figure(figsize=(4, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    lowest = min(0.0, *(float(r.min()) for r in correlations.values()))
    axes.plot([lowest, 1], [lowest, 1], color="0.7", linewidth=1)
    axes.scatter(correlations["empirical"], correlations["ELS"], s=12, color=plotting.COLOURS[0])
    axes.set(xlabel="correlation of empirical denoiser and network", ylabel="correlation of ELS and network")
    axes.set_title(
        f"{len(x)} images of {runs.facts(config.dataset, x)}, {config.network}:\n"
        f"{len(z)} seeds; ELS with calibrated patch sizes",
        fontsize=9,
    )
    plotting.save(figure, folder / "scatter.png")


def _plot_provenance(folder, config, x, states, denoiser, sigma) -> None:
    """Of the last step: sample, source of every pixel (a colour each), effective number of candidates, main source."""
    columns = len(states)
    figure = Figure(figsize=(1.6 * columns + 1.2, 7), dpi=150, layout="constrained")
    axes = figure.subplots(4, columns, squeeze=False)
    traces = [jax.tree.map(np.asarray, provenance(denoiser, before, sigma)) for before, _ in states]
    most = np.nanmax([traced.candidates for traced in traces], initial=10)
    grey = lambda image: np.clip(np.asarray(image).mean(axis=-1), -1, 1)  # noqa: E731
    for column, (traced, (_, image)) in enumerate(zip(traces, states, strict=True)):
        sources, ranks = np.unique(traced.image, return_inverse=True)
        known = traced.candidates < MAX_CANDIDATES  # elsewhere the nearest of many says nothing; NaN at the border
        colours = np.where(
            known, np.random.default_rng(0).permutation(len(sources))[ranks.reshape(known.shape)], np.nan
        )
        main = np.bincount(traced.image[known]).argmax() if known.any() else 0
        axes[0, column].imshow(grey(image), cmap="gray", vmin=-1, vmax=1)
        axes[1, column].imshow(colours, cmap="turbo")
        counts = axes[2, column].imshow(np.log10(traced.candidates), cmap="viridis", vmin=0, vmax=np.log10(most))
        axes[3, column].imshow(grey(x[main]), cmap="gray", vmin=-1, vmax=1)
        used = (traced.image == main) & known
        axes[3, column].scatter(traced.column[used], traced.row[used], s=8, color=plotting.COLOURS[1], linewidths=0)
        axes[3, column].set_xlabel(f"{used.sum()} of {known.sum()} pixels", fontsize=6)
    figure.colorbar(counts, ax=axes, shrink=0.4, label="log10 candidates")
    labels = ("ELS sample", "source image of each pixel", "log10 candidates", "most used image,\nits pixels used")
    for row, label in zip(axes, labels, strict=True):
        row[0].set_ylabel(label, fontsize=7)
        for panel in row:
            panel.set(xticks=[], yticks=[])
    figure.suptitle(
        f"{len(x)} images of {runs.facts(config.dataset, x)}: where an ELS machine takes pixels from at its last step "
        f"(sigma = {sigma:.2g}).\n"
        f"Colours only tell source images apart; white: border, or {MAX_CANDIDATES} and more effective candidates",
        fontsize=8,
    )
    plotting.save(figure, folder / "provenance.png")


def _summary(config, num_images, metrics) -> str:
    environment = runs.environment()

    def quartiles(row, key):
        return f"{row[key + '_median']:.3f} ({row[key + '_q25']:.3f}–{row[key + '_q75']:.3f})"

    names = {name: f"ELS, k {name}" for name in metrics["patch_sizes"]}
    names |= {"empirical": "empirical denoiser", "soft window": "ELS, soft window fitted by gradient"}
    table = runs.table(
        ["closed form", "correlation", "R²", "above empirical"],
        [
            [
                names[name], quartiles(row, "pearson"), quartiles(row, "r_squared"),
                "–" if name == "empirical" else f"{100 * row['better_than_empirical']:.0f} %",
            ]
            for name, row in metrics["agreement"].items()
        ],
    )  # fmt: skip
    sizes = "\n".join(f"- {name}: {' '.join(map(str, ks))}" for name, ks in metrics["patch_sizes"].items())
    return f"""# {config.dataset}: patch machines against a trained {config.network}

{num_images} images of {config.image_size} pixels a side; {config.train_steps} training steps of {config.batch_size}
images per noise level, {config.padding} padding; {config.sampler_steps} DDIM steps; {config.num_pairs} shared seeds;
device {environment["device"]["kind"]}, commit {environment["commit"]}.

{table}

Correlation (Pearson) and R² of the closed form's and the network's image of the same noise: median (quartiles); last,
the share of seeds on which the correlation is above the empirical denoiser's.

Patch sizes (of a soft window its length l), highest noise first:

{sizes}

![samples](samples.png)
![scatter](scatter.png)
![provenance](provenance.png)
"""


if __name__ == "__main__":
    runs.cli(main, Config, __doc__)
