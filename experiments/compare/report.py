"""Tables and figures of the comparison, from what was measured."""

from collections.abc import Callable

import numpy as np

from experiments.compare.entries import ENTRIES
from experiments.runner import Arrays, Numbers, Run, number, quartiles, table, without_empty_columns
from jaxcreativity import plotting

TITLES = {
    "nonlinear": "A nonlinear network between two theories",
    "training": "What weight decay and early stopping do to a linear network",
    "linear": "Linear networks against their closed forms",
}

ABOUT = {
    "nonlinear": """\
A multi-layer perceptron (MLP), for which no closed form is known. Two stand on either side of it: the *empirical*
denoiser, the exact optimum on the training images, whose samples are training images; and the *full* linear denoiser,
the best one without any nonlinearity, whose samples are Gaussian.""",
    "training": """\
A linear network without constraint, trained with a penalty on its weights, or stopped when only the leading directions
were learned. Each stands beside the closed form that knows the effect and the one that leaves it out.""",
    "linear": """\
Linear networks of each structure: *full* (any matrix), *pixelwise* (a weight per pixel), *stationary* (a convolution
that wraps around), *local* (one whose filter is {kernel_size} pixels wide), *low rank* (through a bottleneck of
r = {rank} numbers, so that images vary in r directions). Their closed forms are exact: what is left is training and
sampling.""",
}

EXPLAINED = """\
*Closed form*: a denoiser that is computed from the images, without training. *Correlation* (Pearson) and *R²* compare
the network's image with the closed form's image of the same noise: median over {num_pairs} noises (quartiles). The
other columns compare {num_samples} samples of the network with the Gaussian that the closed form predicts: *cov. error*
is the relative (Frobenius) error of the covariance; *W₂* the distance of two Gaussians (Wasserstein-2, or Bures: the
root mean square by which images must change to turn one law into the other, in pixel values). The *floor* is what as
many samples of the predicted Gaussian itself give: an error near it is no disagreement."""

EMPIRICAL = """\
*Corr. empirical* is the correlation with the images of the empirical denoiser, the exact optimum on the training
images."""

EXACT = """\
*W₂ exact* compares the predicted law with the exact law of the trained weights, without sampling: what is left is
training."""

NOVELTY = """\
*Nearest / second nearest*: distance to the nearest training image over that to the second nearest, median (quartiles);
near-duplicates among the training images count as one. An image below 1/3 counts as *memorised*; how much hangs on this
threshold is in the columns *below 1/6* and *below 2/3*."""

SPECTRA = {
    "nonlinear": """\
Variances of the generated images along the directions of the data's covariance, the one of most variance first. In the
last ones the data hardly vary; what the network has there, training has not yet shrunk away.""",
    "training": """\
Variances of the generated images along the directions of the data's covariance. Early stopping is without biases, so
the mean image is one more direction of variance; it has a part in every direction of the figure, also in those in which
the data do not vary, which makes the curve jagged.""",
    "linear": """\
Variances of the generated images along the directions of the data's covariance. In the last ones the data hardly
vary; what the networks have there, training has not yet shrunk away. Predicted at low rank are r directions and no
more; the network finds its own at each noise level, and they take in a little of the next ones, whose variances are
nearly as large.""",
}


def head(run: Run, metrics: Numbers) -> str:
    """What the run is of."""
    config, data = run.settings, metrics["data"]
    return f"""# {config.dataset}: closed forms against trained networks

{data["train"]} training and {data["test"]} held-out images of {"×".join(map(str, data["shape"]))};
{config.sampler_steps} DDIM steps, {config.schedule} schedule;
{run.origin}.
"""


def report(part: str) -> Callable[[Run, Numbers, Arrays], str]:
    """What draws the figures and writes the section of one part."""

    def report(run: Run, numbers: Numbers, arrays: Arrays) -> str:
        rows = numbers["comparisons"]
        names = list(dict.fromkeys(row["network"] for row in rows if "failed" not in row))
        _samples(run, part, names, rows, arrays)
        figures = [f"![samples: a column starts from one noise](samples_{part}.png)"]
        if _spectra(run, part, names, numbers["data"]["train"], arrays):
            figures += [SPECTRA[part], f"![variances of the generated images](spectra_{part}.png)"]
        blocks = [f"## {TITLES[part]}", ABOUT[part].format(**vars(run.settings)), _comparisons(part, rows)]
        blocks += [f"{row['network']} and {row['closed_form']}: {row['failed']}." for row in rows if "failed" in row]
        if part == "nonlinear":
            blocks += [_nearer(name, rows) for name in names]
        first = next(p for p in TITLES if any(ENTRIES[name].part == p for name in run.settings.entries))
        blocks += [EXPLAINED.format(**vars(run.settings))] * (part == first)
        blocks += [EMPIRICAL] * (part != "nonlinear")
        blocks += [EXACT] * any("wasserstein2_exact" in row for row in rows)
        blocks += [_novelty(numbers["novelty"]), *([NOVELTY] * (part == first)), *figures]
        return "\n\n".join(blocks) + "\n"

    return report


def _comparisons(part: str, rows: list[Numbers]) -> str:
    def with_floor(row, key):
        return f"{row[key]:.3f} ({row[key + '_floor']:.3f})" if key in row else "–"

    columns = {
        "network": lambda row: row["network"],
        "closed form": lambda row: row["closed_form"],
        "correlation": lambda row: "failed" if "failed" in row else quartiles(row, "pearson"),
        "R²": lambda row: "–" if "failed" in row else quartiles(row, "r_squared"),
        "corr. empirical": lambda row: number(row.get("pearson_with_empirical_median")),
        "cov. error (floor)": lambda row: with_floor(row, "covariance_error"),
        "W₂ (floor)": lambda row: with_floor(row, "wasserstein2"),
        "W₂ exact": lambda row: number(row.get("wasserstein2_exact")),
    }
    if part == "nonlinear":  # has a row for it
        del columns["corr. empirical"]
    return table(*without_empty_columns(list(columns), [[cell(row) for cell in columns.values()] for row in rows]))


def _nearer(name: str, rows: list[Numbers]) -> str:
    """Which closed form is nearer to a network."""
    own = [row for row in rows if row["network"] == name and "failed" not in row]
    first, *others = sorted(own, key=lambda row: -row["pearson_median"])
    against = "".join(f"; {row['closed_form']}: {row['pearson_median']:.3f}" for row in others)
    return (
        f"Nearest to the images of the {name}: the {first['closed_form']} one ({first['pearson_median']:.3f}{against})."
    )


def _novelty(novelties: Numbers) -> str:
    shares = {"memorised": "fraction", "below 1/6": "at_half", "below 2/3": "at_double"}
    share = lambda row, name: f"{100 * row[name]:.1f} %" if name in row else "–"  # noqa: E731
    return table(
        *without_empty_columns(
            ["samples", "nearest / second nearest", *shares],
            [
                [name, quartiles(row, "ratio"), *(share(row, f"memorised_{which}") for which in shares.values())]
                for name, row in novelties.items()
            ],
        )
    )


def _samples(run: Run, part: str, names: list[str], rows: list[Numbers], arrays: Arrays) -> None:
    count = min(len(arrays["held-out images"]), len(arrays["empirical"]))
    images = {
        "held-out images": arrays["held-out images"][:count],
        "empirical closed form": arrays["empirical"][:count],
    }
    notes = {}
    for name in names:
        own = [row for row in rows if row["network"] == name and "failed" not in row]
        group = {row["closed_form"]: arrays[f"{name}/closed form/{row['closed_form']}"][:count] for row in own}
        group.pop("empirical", None)  # a row of its own already
        if part == "nonlinear":
            group = {f"{form} linear": images for form, images in group.items()}
        if part == "linear":
            group = {"closed form": next(iter(group.values()))}
        images[name] = group | {"network": arrays[f"{name}/network"][:count]}
        lines = [f"r = {row['pearson_median']:.3f}" + f" ({row['closed_form']})" * (len(own) > 1) for row in own]
        notes[name] = "\n".join(lines)
    title = f"{run.settings.dataset}: r = median correlation of closed form and network"
    caption = "Below the first row, samplers in one column start from the same noise."
    run.save(plotting.sample_grid(images, title=title, notes=notes, caption=caption), f"samples_{part}.png")


def _spectra(run: Run, part: str, names: list[str], num_images: int, arrays: Arrays) -> bool:
    """Draw the spectra of those entries for which a Gaussian is predicted; whether there are any."""
    # Variances along the data's axes: in those coordinates, diagonal covariances.
    diagonal = lambda variances: np.diag(np.maximum(variances, 0.0))  # noqa: E731
    curves, prefix = {}, "variances/"
    for name in names:
        own = {k.removeprefix(f"{name}/{prefix}"): v for k, v in arrays.items() if k.startswith(f"{name}/{prefix}")}
        predicted = [form for form in own if form != "network"]
        if predicted:
            what = "predicted" if ENTRIES[name].part != "nonlinear" else f"{predicted[0]} linear theory"
            curves[name] = {what: diagonal(own[predicted[0]]), "network": diagonal(own["network"])}
    if not curves:
        return False
    curves = {"data": diagonal(arrays["variances"])} | curves
    counts = {"data": num_images, "network": run.settings.num_samples}
    what = "variance of the generated images along the data's principal axes"
    title = f"{run.settings.dataset}: {what}, seed {run.settings.seed}"
    run.save(plotting.spectra(curves, title=title, counts=counts, modes_of="data"), f"spectra_{part}.png")
    return True
