"""Tables and figures of `experiments.polynomial`, from stored numbers and arrays."""

import itertools
import math
import textwrap

import numpy as np
from matplotlib.figure import Figure

from experiments.runner import Arrays, Numbers, Run, table
from jaxcreativity import plotting

POINTS = np.linspace(-4.5, 4.5, 901)
"""Where predicted densities and distribution functions are evaluated."""
BINS = np.linspace(-3.5, 3.5, 71)
"""Of the histograms of samples."""


def head(run: Run, metrics: Numbers) -> str:
    """Beginning of the summary: what was run."""
    config = run.settings
    return f"""# What polynomial denoisers generate

A denoiser that is a polynomial of degree p sees its target through the moments of order up to 2p alone, and these
decide what it generates. {config.sampler_steps} DDIM steps from {config.sigma_max:g} to {config.sigma_min:g} standard
deviations; {config.num_samples} samples, {config.train_steps} training steps, seed {config.seed}. Every target has mean
0 and variance 1.
"""


def report_laws(run: Run, numbers: Numbers, arrays: Arrays) -> str:
    """Predicted and trained laws: figure, table, moment matching."""
    config, rows = run.settings, numbers["marginals"]
    run.save(_densities(numbers, arrays, config.num_samples, config.train_steps), "densities.png")
    laws = table(
        ["target", "p", "KS sampler", "KS network", "moments 1–4 predicted", "network", "diverge: predicted", "sampler",
         "network", "many steps"],
        [
            [
                row["target"], str(row["degree"]), f"{row['ks_theory']:.4f}", f"{row['ks_network']:.4f}",
                _cells(row["moments_predicted"]), _cells(row["moments_network"]), f"{row['diverging_predicted']:.1e}",
                f"{row['diverged_theory']:.1e}", f"{row['diverged_network']:.1e}", f"{row['blow_up_limit']:.1e}",
            ]
            for row in rows
        ],
    )  # fmt: skip
    matching = table(
        ["degree", "predicted laws", "samples of the networks"],
        [
            [degree, f"{distance['predicted']:.1e}", f"{distance['networks']:.1e}"]
            for degree, distance in numbers["moment_matching"].items()
        ],
    )
    failures = "".join(
        f"\n\nDegree {row['degree']} failed: {row['failed']}." for row in numbers.get("failed_degrees", [])
    )
    return f"""## Laws

{laws}{failures}

KS (Kolmogorov–Smirnov): largest distance, on a grid of spacing 0.01, between the predicted distribution function and
that of samples, from the closed-form denoiser ("sampler") and from the trained network; below
{_chance(config.num_samples):.4f} is chance. Networks on atoms learn slowly: where every datum is an atom, the features
of degree 3 and more vanish on the data, and what vanishes has no gradient. So large distances of the network stand
beside small ones of the sampler: the prediction holds, the network has not been trained to its end.

"diverge": probability that a sample is infinite on this grid of noise levels; "many steps": in the limit of many.
Blow-up: a polynomial grows faster than its argument, so a trajectory that strays far enough is thrown to infinity at a
positive noise level. The seeds with which this begins are poles of the map from noise to sample, points at which it is
infinite; near a pole samples are finite and huge, which is why moments can be infinite, or large beyond use, where
hardly any sample diverges.

![densities](densities.png)

## Moment matching

The mixture and its three Gauss atoms (the nodes of Gauss quadrature for the mixture) have equal moments up to order 5:
the laws that degree 2 generates from them are equal, those of degree 3 are not. Largest distance of the two
distribution functions (that of two equal laws is below {_chance(config.num_samples / 2):.1e} by chance for samples):

{matching}
"""


def report_images(run: Run, numbers: Numbers, arrays: Arrays) -> str:
    """Samples of images and the shares that diverged."""
    config, side = run.settings, run.settings.kernel_size
    x = arrays["training images"]
    names = {
        "training images": "training images",
        "linear k × k": f"degree 1, {side} × {side} patch",
        f"degree {config.patch_degree}, k × k": f"degree {config.patch_degree}, {side} × {side} patch",
        "empirical": "no constraint\n(empirical)",
    }
    shown = {label: np.nan_to_num(arrays[name], posinf=1.0, neginf=-1.0) for name, label in names.items()}
    notes = {names[name]: f"{round(share * len(x))} diverged" for name, share in numbers["patch"].items() if share}
    figure = plotting.sample_grid(
        shown,
        title=f"{config.dataset} at {x.shape[1]}×{x.shape[2]}: what a polynomial of a patch generates",
        notes=notes,
        caption="Samples in one column start from the same noise; training images are the first of the set.",
    )
    run.save(figure, "images.png")
    shares = table(
        ["denoiser", "diverged samples"],
        [[names[name].replace("\n", " "), f"{100 * share:.0f} %"] for name, share in numbers["patch"].items()],
    )
    return f"""## Images

Every pixel is estimated by one polynomial of the {side} × {side} patch around it, the same everywhere
({config.patch_images} training images):

{shares}

Such a denoiser cannot know what is drawn outside its patch. Degree 1 generates a Gaussian texture with the data's
correlations between neighbours; degree {config.patch_degree} sees moments up to order {2 * config.patch_degree} of a
patch too, and changes the same texture's shades, from the same noise. Without a constraint the best denoiser is the
empirical one, which generates copies of training images.

![images](images.png)
"""


def _densities(numbers: Numbers, arrays: Arrays, num_samples: int, steps: int) -> Figure:
    """Histogram of the network's samples and predicted density: a column per degree, targets in one block or more."""
    rows = numbers["marginals"]
    degrees = list(dict.fromkeys(row["degree"] for row in rows))
    names = list(dict.fromkeys(row["target"] for row in rows))
    distance = {(row["target"], row["degree"]): row["ks_network"] for row in rows}
    blocks = max(b for b in range(1, max(1, 6 // len(degrees)) + 1) if len(names) % b == 0)
    lines = len(names) // blocks
    figure, panels = plotting.panels(lines, blocks * len(degrees), height=0.95, sharex=True)
    for (i, name), (j, degree) in itertools.product(enumerate(names), enumerate(degrees)):
        block, line = divmod(i, lines)
        axes, heights = panels[line, block * len(degrees) + j], arrays["network"][j, i]
        axes.stairs(heights, BINS, fill=True, color="#9ecae1", label="samples of the network")
        axes.stairs(arrays["target"][i], BINS, color="0.55", linewidth=0.8, label="target")
        axes.plot(POINTS, arrays["density"][j, i], color="black", linewidth=1.1, label="predicted density")
        axes.set(xlim=(-3.5, 3.5), ylim=(0, 1.25 * max(heights.max(), 0.3)), xticks=(-2, 0, 2), yticks=[])
        above = distance[name, degree] > _chance(num_samples)
        axes.text(
            0.97, 0.95, f"{distance[name, degree]:.3f}", transform=axes.transAxes, ha="right", va="top", fontsize=8,
            color="#b2182b" if above else "0.3", weight="bold" if above else "normal",
            bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
        if line == 0:
            axes.set_title(f"degree {degree}", fontsize=8)
        if j == 0:
            axes.set_ylabel(",\n".join(textwrap.fill(part, 12) for part in name.split(", ")), fontsize=8)
    plotting.legend(figure, panels=[panels[0, 0]], loc="outside upper center")
    closest = max(row["ks_theory"] for row in rows)
    figure.supxlabel(
        "value (standard deviations of the target); density from 0, cut off above the histogram\n"
        f"number: KS distance of {num_samples} samples of the network from the prediction, red where beyond chance "
        f"({_chance(num_samples):.3f}):\nnot learned in {steps} training steps; samples of the closed form are "
        f"{closest:.3f} from it at most",
        fontsize=8,
    )  # fmt: skip
    return figure


def _chance(num_samples: float) -> float:
    """KS distance that samples of the law itself exceed once in a thousand times."""
    return 1.95 / math.sqrt(num_samples)


def _cells(values) -> str:
    return ", ".join("inf" if v is None else f"{v:.2f}" if abs(v) < 1e4 else f"{v:.0e}" for v in values)
