"""Table and figure of part `capacity`."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.bottleneck.measuring import memorised, support
from experiments.bottleneck.settings import Config, facts
from experiments.runner import Arrays, Numbers, Run, split_failed, table
from jaxcreativity import plotting

TITLES = {"softmax": "trained, softmax units", "silu": "trained, silu units", "prototypes": "k-means prototypes"}
IDENTITY, HALF = "#E69F00", "#D55E00"


def report(run: Run, numbers: Numbers, arrays: Arrays) -> str:
    """Where half is memorised, a row for every network, and the figure."""
    config, found = run.settings, numbers["capacity"]
    counts, contours = found["counts"], found["contours"]
    rows, failures = split_failed(found["cells"], "K = {width} {kind} units with N = {count}")
    one_axis = min(len(counts), len(config.widths)) == 1
    run.save((_curves if one_axis else _maps)(config, rows, counts, contours), "capacity.png")
    cells = table(
        ["units", "N", "K", "memorised (95 %)", "held out", "different images (95 %)", "hull ratio",
         "loss / empirical"],
        [
            [
                row["kind"], str(row["count"]), str(row["width"]), memorised(row), f"{row['held_out_memorised']:.3f}",
                support(row), f"{row['hull_ratio']:.2f}", f"{row['loss_ratio']:.3f}",
            ]
            for row in rows
        ],
    )  # fmt: skip
    lines = table(
        ["units", *(f"N = {n}" for n in counts)],
        [
            [kind, *("–" if k is None else f"{k:.0f} ({k / n:.2f} N)" for n, k in zip(counts, contour, strict=True))]
            for kind, contour in contours.items()
        ],
    )
    return f"""## Capacity

Half of the samples memorised at K =

{lines}

(interpolated in log K; "–": not within the K that were run). Predicted for softmax units: K = N, because a softmax over
K units can be the posterior over K atoms. Prototypes: the closed form of that, k-means with K weighted centres (K = N
at most), generated in the limit of many steps; it copies images that are clusters of their own, so half of the samples
are copies at a K below N.

{cells}{failures}

Different images: birthday estimate of how many different images the network generates at all, from how many pairs of
samples are the same, as the birthdays of a class say how long a year is (∞: no pair). {config.capacity_steps} training
steps. Loss / empirical: 1 for the exact posterior mean over the training images, which copies.

![capacity](capacity.png)
"""


def _curves(config: Config, rows, counts, contours) -> Figure:
    """Memorised fraction against K of one N, or against N of one K."""
    against, of = ("width", "K") if len(counts) == 1 else ("count", "N")
    boundary = counts[0] if of == "K" else config.widths[0]
    fixed = f"N = {boundary} training images" if of == "K" else f"K = {boundary} units"
    figure, [[axes]] = plotting.panels(1, 1, width=5.5, height=3.0)
    for colour, kind in zip(plotting.COLOURS, contours, strict=False):
        own = sorted((row for row in rows if row["kind"] == kind), key=lambda row: row[against])
        column = lambda key, own=own: [row[key] for row in own]  # noqa: E731
        plotting.curve(
            axes, column(against), column("memorised"), low=column("memorised_low"), high=column("memorised_high"),
            color=colour, label=TITLES[kind],
        )  # fmt: skip
    ticks = sorted({row[against] for row in rows} | {boundary})
    plotting.plain_log(axes, "x", ticks)
    axes.axvline(
        counts[0] if of == "K" else config.widths[0], color="0.5", linestyle=":", label="K = N (predicted for softmax)"
    )
    if len(ticks) == 1:
        axes.set_xlim(ticks[0] / 2, ticks[0] * 2)
    axes.set(xlabel=f"{'units K' if of == 'K' else 'training images N'}", ylabel="memorised fraction")
    axes.set_ylim(-0.05, 1.05)
    axes.set_title(
        f"{facts(config)}, {fixed}; {config.num_samples} samples each,\n95 % intervals, one training seed", fontsize=9
    )
    plotting.legend(figure)  # inside it would lie over points: at 0 as at 1 there are some
    return figure


def _maps(config: Config, rows, counts, contours) -> Figure:
    """Memorised fraction for every N and K, a panel for every kind of units."""
    widths = list(config.widths)
    figure, [panels] = plotting.panels(1, len(contours), height=2.9, sharey=True)
    size = min(8.0, 100.0 / (len(contours) * len(counts)))  # points; numbers as wide as their cells
    for axes, (kind, contour) in zip(panels, contours.items(), strict=True):
        cells = {(row["count"], row["width"]): row["memorised"] for row in rows if row["kind"] == kind}
        values = np.array([[cells.get((n, k), np.nan) for n in counts] for k in widths])
        axes.set_facecolor("0.9")
        image = axes.imshow(values, origin="lower", vmin=0, vmax=1, cmap="viridis", aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            known = np.isfinite(value)
            colour = "0.6" if not known else "black" if value > 0.6 else "white"
            text = f"{value:.2f}" if known else "–"
            axes.text(j, i, text, ha="center", va="center", fontsize=size, color=colour, zorder=4)
        _boundaries(axes, counts, widths, contour)
        axes.set_xticks(range(len(counts)), counts, fontsize=8, rotation=45 if len(counts) > 5 else 0)
        axes.set_yticks(range(len(widths)), widths, fontsize=8)
        axes.set(xlabel="training images N", xlim=(-0.5, len(counts) - 0.5), ylim=(-0.5, len(widths) - 0.5))
        axes.set_title(TITLES[kind], fontsize=8)
    panels[0].set_ylabel("units K")
    figure.suptitle(
        f"{facts(config)}, {config.num_samples} samples a cell, one training seed; –: no more prototypes than images",
        fontsize=9,
    )
    bar = figure.colorbar(image, ax=panels)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("memorised fraction", fontsize=8)
    plotting.legend(figure, panels=panels)
    return figure


def _boundaries(axes: Axes, counts: list[int], widths: list[int], contour: list[float | None]) -> None:
    """K = N, and the K at which half is memorised. Positions along the axes are those of the sizes in log scale."""
    columns = np.linspace(-0.5, len(counts) - 0.5, 101)
    rows = _position(_position(columns, np.arange(len(counts)), np.log(counts)), np.log(widths), np.arange(len(widths)))
    axes.plot(columns, rows, color=IDENTITY, linestyle="--", linewidth=1.5, label="K = N (predicted for softmax)")
    reached = [(j, np.log(k)) for j, k in enumerate(contour) if k is not None]
    if reached:  # what was interpolated; a contour outside the K that were run is not drawn
        j, k = zip(*reached, strict=True)
        half = _position(np.array(k), np.log(widths), np.arange(len(widths)))
        plotting.curve(axes, j, half, color=HALF, label="half memorised")


def _position(at, xp, fp) -> np.ndarray:
    """Linear interpolation, continued beyond both ends; the points may come in any order."""
    order = np.argsort(xp)
    xp, fp = np.asarray(xp, float)[order], np.asarray(fp, float)[order]
    piece = np.clip(np.searchsorted(xp, at) - 1, 0, len(xp) - 2)
    return fp[piece] + (at - xp[piece]) * (fp[piece + 1] - fp[piece]) / (xp[piece + 1] - xp[piece])
