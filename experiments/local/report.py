"""Table and figures of the experiment on patch machines, from what was measured."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from experiments.local.measure import MAX_CANDIDATES
from experiments.runner import Arrays, Numbers, Run, quartiles, table
from jaxcreativity import plotting


def head(run: Run, metrics: Numbers) -> str:
    """What the run is of."""
    config = run.settings
    return f"""# {config.dataset}: patch machines against a trained {config.network}

{config.num_images} images of {config.image_size} pixels a side; {config.train_steps} training steps of
{config.batch_size} images per noise level, {config.padding} padding; {config.sampler_steps} DDIM steps;
{config.num_pairs} noises; {run.origin}.
"""


def report(run: Run, numbers: Numbers, arrays: Arrays) -> str:
    """Draw the figures and write the summary's section."""
    _samples(run, numbers, arrays)
    _scatter(run, numbers)
    _provenance(run, numbers, arrays)
    names = {name: f"ELS, k {name}" for name in numbers["patch_sizes"]}
    names |= {"empirical": "empirical denoiser", "soft window": "ELS, soft window fitted by gradient"}
    agreements = table(
        ["closed form", "correlation", "R²", "above empirical"],
        [
            [
                names[name], quartiles(row, "pearson"), quartiles(row, "r_squared"),
                "–" if name == "empirical" else f"{100 * row['better_than_empirical']:.0f} %",
            ]
            for name, row in numbers["agreement"].items()
        ],
    )  # fmt: skip
    sizes = "\n".join(f"- {name}: {' '.join(map(str, ks))}" for name, ks in numbers["patch_sizes"].items())
    return f"""\
A *patch machine* is the best denoiser that sees k × k pixels around each pixel and no more, as a convolutional network
nearly does: every pixel of its output is a mean of the middle pixels of training patches, each weighted by how well it
fits the noisy patch here. In an *ELS* machine (equivariant, local score; Kamb & Ganguli 2025) they come from any place
of any training image. The *empirical denoiser* sees whole images, and its samples are training images.

{agreements}

*Correlation* (Pearson) and *R²* of the closed form's and the network's image of the same noise: median (quartiles).
*Above empirical*: on which share of the noises the correlation is above the empirical denoiser's.

Patch sizes k (of a soft window its length), highest noise first. *Calibrated*: of a few sizes, at each noise level the
one whose output is nearest to the network's, on noises that are not among those compared.

{sizes}

![samples: a column starts from one noise](samples.png)
![correlation of the patch machine against that of the empirical denoiser](scatter.png)
![where a patch machine takes its pixels from](provenance.png)
"""


def _facts(run: Run) -> str:
    config = run.settings
    return f"{config.num_images} images of {config.dataset} at {config.image_size}x{config.image_size}"


def _samples(run: Run, numbers: Numbers, arrays: Arrays) -> None:
    rows = {
        "noise / 3": np.clip(arrays["noise"] / 3, -1, 1), "network": arrays["network"], "ELS": arrays["ELS"],
        "empirical": arrays["empirical"], "training image nearest\nto the network's": arrays["nearest"],
    }  # fmt: skip
    medians = {"ELS": "calibrated", "empirical": "empirical"}
    notes = {row: f"r = {numbers['agreement'][name]['pearson_median']:.2f}" for row, name in medians.items()}
    title = f"{run.settings.dataset}, {run.settings.network}: r = median correlation with the network"
    run.save(plotting.sample_grid(rows, title=title, notes=notes), "samples.png")


def _scatter(run: Run, numbers: Numbers) -> None:
    empirical, els = np.asarray(numbers["pearson_empirical"]), np.asarray(numbers["pearson"]["calibrated"])
    figure, ((axes,),) = plotting.panels(1, 1, width=4.5, height=4.2)
    lowest = min(0.0, empirical.min(), els.min())
    axes.plot([lowest, 1], [lowest, 1], color="0.7", linewidth=1)
    axes.scatter(empirical, els, s=14, color=plotting.COLOURS[0])
    axes.set(xlabel="correlation of empirical denoiser and network", ylabel="correlation of ELS and network")
    axes.set_title(
        f"{_facts(run)}, {run.settings.network};\n{len(els)} noises, seed {run.settings.seed}, "
        "ELS with calibrated patch sizes\nabove the line the patch machine is nearer to the network",
        fontsize=9,
    )
    run.save(figure, "scatter.png")


def _provenance(run: Run, numbers: Numbers, arrays: Arrays) -> None:
    """Sample, source of every pixel (a colour each), effective number of candidates, and the image used most."""
    columns = len(arrays["traced"])
    figure, grid = plotting.panels(4, columns, width=max(6.5, 1.45 * columns + 0.6), height=1.5)
    most = np.nanmax(arrays["candidates"], initial=10)
    for column, panels in enumerate(grid.T):
        known, candidates = arrays["source"][column] >= 0, arrays["candidates"][column]
        _grey(panels[0], arrays["traced"][column])
        panels[1].imshow(_colours(arrays["source"][column]), cmap="turbo")
        counts = panels[2].imshow(candidates, cmap="viridis", norm=LogNorm(1, most))
        _grey(panels[3], arrays["main"][column])
        used = arrays["used"][column]
        panels[3].scatter(
            arrays["column"][column][used], arrays["row"][column][used], s=8, color=plotting.COLOURS[1], linewidths=0
        )
        panels[3].set_xlabel(f"{used.sum()} of {known.sum()} pixels", fontsize=8)
        for axes in panels:
            axes.set(xticks=[], yticks=[])
    labels = ("ELS sample", "source image", "candidates", "image used most,\nplaces used")
    for axes, text in zip(grid[:, 0], labels, strict=True):
        axes.set_ylabel(text, fontsize=8)
    bar = figure.colorbar(counts, ax=grid, shrink=0.4)
    bar.set_label("effective number of candidate patches", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(
        f"{_facts(run)}: where an ELS machine takes pixels from at its last step\n"
        f"(sigma = {numbers['sigma_of_last_step']:.2g}). Colours only tell source images apart; white: the border, or "
        f"{MAX_CANDIDATES} or more candidates",
        fontsize=8,
    )
    run.save(figure, "provenance.png")


def _grey(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(np.clip(image.mean(axis=-1), -1, 1), cmap="gray", vmin=-1, vmax=1)


def _colours(source: np.ndarray) -> np.ndarray:
    """A number for each source image, far apart for most; NaN where the source is not known."""
    sources, ranks = np.unique(source, return_inverse=True)
    shuffled = np.random.default_rng(0).permutation(len(sources))[ranks.reshape(source.shape)]
    return np.where(source >= 0, shuffled, np.nan)
