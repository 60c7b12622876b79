"""Tables and figures of the parts `sweep` and `controls`: how many images, and which."""

import numpy as np

from experiments.runner import Arrays, Numbers, Run, number, table
from experiments.unet_variants.columns import COLUMNS, SWEEP_COLUMNS, find_number
from jaxcreativity import plotting


def report_sweep(run: Run, numbers: Numbers, _: Arrays) -> str:
    """Draw the figure of the sweep over data sizes and write its section."""
    cells = numbers["cells"]["sweep"]
    rows = [
        {"name": cell["name"], "count": cell["count_planned"]}
        | {column: find_number(find, cell) for column, find in SWEEP_COLUMNS.items()}
        for cell in cells
    ]
    _draw(run, numbers, rows, find_number(lambda n: n["realism"]["held_out_frechet"], cells[-1]))
    found = table(
        ["network", "N", *SWEEP_COLUMNS],
        [[row["name"], str(row["count"]), *(number(row[column]) for column in SWEEP_COLUMNS)] for row in rows],
    )
    failures = "".join(
        f"{cell['label']}: training failed ({cell['failed']}).\n\n" for cell in cells if "failed" in cell
    )
    return f"""## Data size

{found}

{failures}One training seed. *Novelty*: median distance to the nearest of those N images, over that of held-out images;
*frechet*: distance of the Gaussians fitted to the features of samples and of all training images; *gap*: loss on
held-out over loss on training images; *r empirical*: correlation with the images that the empirical denoiser of those N
images makes of the same noise.

![data size](sweep.png)
"""


def _draw(run: Run, numbers: Numbers, rows: list[Numbers], held_out_frechet: float | None) -> None:
    figure, (panels,) = plotting.panels(1, 3)
    shown = {
        "memorised": "memorised fraction",
        "novelty": "novelty: distance to nearest training\nimage / that of held-out images",
        "frechet": "Fréchet distance from the data",
    }
    held_out = {"novelty": 1.0, "frechet": held_out_frechet}
    for axes, (column, label) in zip(panels, shown.items(), strict=True):
        for colour, name in zip(plotting.COLOURS, numbers["sweep"], strict=False):
            own = [row for row in rows if row["name"] == name]
            plotting.curve(axes, [row["count"] for row in own], [row[column] for row in own], color=colour, label=name)
        if held_out.get(column) is not None:
            axes.axhline(held_out[column], color="0.5", linestyle=":", label="held-out images")
        axes.set(xlabel="training images N", ylabel=label)
        plotting.plain_log(axes, "x", _ticks([row["count"] for row in rows]))
    panels[0].set_ylim(-0.04, 1.04)
    plotting.plain_log(panels[2], "y")
    plotting.legend(figure)
    height, width, _ = numbers["data"]["shape"]
    figure.suptitle(
        f"{run.settings.dataset} at {height}x{width}: {run.settings.num_samples} samples of one network each, one "
        "training seed",
        fontsize=9,
    )
    run.save(figure, "sweep.png")


def _ticks(counts: list[int]) -> list[int]:
    """At most five of the data sizes, the ends among them."""
    counts = sorted(set(counts))
    return [counts[i] for i in np.unique(np.linspace(0, len(counts) - 1, min(5, len(counts))).round().astype(int))]


def report_controls(run: Run, numbers: Numbers, _: Arrays) -> str:
    """Write the section of the controls."""
    shuffled = next(cell for cell in numbers["cells"]["controls"] if cell["label"] == "shuffled pixels")
    lines = table(
        ["shuffled pixels", "value"],
        [
            [column, number(find_number(find, shuffled), 0 if column == "finite" else 3)]
            for column, find in COLUMNS.items()
        ]
        + [
            [f"r, {name}", number(found["pearson_median"] if found else None)]
            for name, found in (shuffled.get("agreement") or {}).items()
        ],
    )
    pairs = table(
        ["N of each", "correlation", "memorised, first", "memorised, second"],
        [
            [str(row["count"]), number(row["correlation"]), *map(number, row["memorised"])]
            for row in numbers["disjoint"]
        ],
    )
    return f"""## Controls

The baseline on images whose pixels were shuffled by one permutation (samples are shuffled back before all measures):

{lines}

Two networks trained on disjoint sets of N images, from the same noise:

{pairs}

*Correlation*: median over {run.settings.num_pairs} noises.
"""
