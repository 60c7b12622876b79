"""What polynomial denoisers generate: predicted densities against samples of trained polynomial networks.

    python -m experiments.polynomial                             # six laws, and coordinates of digits
    python -m experiments.polynomial --datasets digits mnist     # and of MNIST
    python -m experiments.polynomial --small                     # degrees 2 and 3, a minute: part of `make demo`
    python -m experiments.polynomial --help

All one-dimensional targets are trained at once, as the entries of one vector, by one network per degree: a linear
readout of Hermite features, which sees each entry on its own. The closed form is computed from the moments of the same
training set; both are sampled from the same noise. Writes `runs/<name>/`: config.json, environment.json, metrics.json,
summary.md, densities.png, images.png, and the networks' checkpoints. A killed run resumes when started again.

Moment matching: the third law puts masses on the Gauss nodes of the mixture, three atoms with the mixture's moments up
to order 5. Degree 2 sees moments up to 4, so it must generate the same law from both; degree 3 must not.
"""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from matplotlib.figure import Figure

from experiments import runs
from jaxcreativity import data, networks, plotting, sample, schedules, training
from jaxcreativity.theory import linear, polynomial
from jaxcreativity.theory.empirical import EmpiricalDenoiser


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of one run."""

    datasets: tuple[str, ...] = ("digits",)
    """Images of which a pixel and two principal coordinates are targets; the first one's patches are used too."""
    degrees: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    num_targets: int = 20_000
    """Training examples of each law."""
    num_samples: int = 20_000
    sampler_steps: int = 20
    sigma_min: float = 0.05
    """Lowest positive noise level, in standard deviations of the target."""
    sigma_max: float = 20.0
    train_steps: int = 4000
    batch_size: int = 512
    patch_degree: int = 2
    kernel_size: int = 3
    patch_images: int = 500
    small: bool = False
    """Replace degrees, training steps and patch images by the values of SMALL."""
    seed: int = 0
    name: str | None = None
    """Name of the run's folder; polynomial-<first data set> by default."""
    output: str = "runs"
    progress: bool = True


SMALL = {"degrees": (2, 3), "train_steps": 1000, "patch_images": 200}


def gauss_nodes(moments: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the `count` atoms with the moments 0 ... 2 count - 1 of a law."""
    denoiser = polynomial.from_moments(jnp.asarray(moments), count)
    target = jax.tree.map(np.asarray, denoiser.target)
    off = np.diag(target.beta[: count - 1], 1)
    values, vectors = np.linalg.eigh(np.diag(target.alpha[:count]) + off + off.T)
    return target.mean + target.scale * values, vectors[0] ** 2


def make_targets(config: Config, images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Training examples of every one-dimensional target, each `(num_targets,)` of mean 0 and variance 1."""
    n = config.num_targets
    keys = jax.random.split(jax.random.key(config.seed), 8)
    laws = data.synthetic
    mixture = laws.GaussianMixture(np.array([0.6, 0.4]), np.array([[-1.0], [1.2]]), np.array([[[0.09]], [[0.16]]]))
    mixed = np.asarray(mixture.sample(keys[0], n), np.float64)[:, 0]
    mixed = (mixed - mixed.mean()) / mixed.std()
    with jax.enable_x64(True):
        points, weights = gauss_nodes(np.array([(mixed**k).mean() for k in range(7)]), 3)
    counts = np.diff(np.round(np.concatenate([[0.0], np.cumsum(weights)]) * n).astype(int))
    targets = {
        "mixture": mixed,
        "its three Gauss atoms": np.repeat(points, counts),
        "Laplace": laws.Laplace(1.0).sample(keys[1], n)[:, 0],
        "exponential": laws.Exponential(1.0).sample(keys[2], n)[:, 0],
        "uniform": laws.Uniform(-1.0, 1.0).sample(keys[3], n)[:, 0],
        "two atoms": laws.Atoms(np.array([[-1.0], [1.0]])).sample(keys[4], n)[:, 0],
        "two atoms, 4 : 1": laws.Atoms(np.array([[0.0], [1.0]]), np.array([0.8, 0.2])).sample(keys[5], n)[:, 0],
    }
    for dataset, x in images.items():
        flat = x.reshape(len(x), -1).astype(np.float64)
        centred = flat - flat.mean(axis=0)
        _, directions = np.linalg.eigh(centred.T @ centred)
        chosen = np.resize(np.random.default_rng(config.seed).permutation(len(flat)), n)
        pixel = int(flat.var(axis=0).argmax())
        targets[f"{dataset}, pixel {pixel}"] = flat[chosen, pixel]
        for k in (1, 2):
            targets[f"{dataset}, component {k}"] = centred[chosen] @ directions[:, -k]
    standard = {}
    for name, x in targets.items():
        x = np.asarray(x, np.float64)
        # Moment matching needs the atoms where they are; their mean and variance are right already.
        standard[name] = x if name in list(targets)[:2] else (x - x.mean()) / x.std()
    return standard


def main(config: Config) -> dict[str, Any]:
    """Run the experiment; returns what `metrics.json` holds."""
    started = time.perf_counter()
    say = print if config.progress else (lambda *_: None)
    if config.small:
        config = dataclasses.replace(config, **SMALL)
    config = dataclasses.replace(config, name=config.name or f"polynomial-{Path(config.datasets[0]).stem}")
    images = {Path(dataset).stem: np.asarray(data.load(dataset).train) for dataset in config.datasets}
    folder = runs.open_run(Path(config.output) / config.name, config)
    targets = make_targets(config, images)
    x = jnp.asarray(np.stack(list(targets.values()), axis=1), jnp.float32)
    grid = schedules.grid(schedules.log_linear(config.sigma_min, config.sigma_max), config.sampler_steps)
    z = jax.random.normal(jax.random.key(config.seed + 1), (config.num_samples, x.shape[1]), x.dtype)
    draw = jax.jit(jax.vmap(sample, (None, 0, None)))
    points = np.linspace(-4.5, 4.5, 901)
    rows, curves, matching = [], {}, {}
    for degree in config.degrees:
        theory = polynomial.fit(x, degree, basis="pixel", sigmas=grid)
        network = training.fit(
            networks.PolynomialReadout(tuple(np.asarray(grid[:-1]).tolist()), degree), x, grid,
            key=jax.random.key(config.seed + 2), num_steps=config.train_steps, batch_size=config.batch_size,
            learning_rate=0.02, sigma_data=1.0, prediction="v", progress=config.progress, label=f"degree {degree}",
            checkpoint_folder=folder / "networks" / f"degree_{degree}",
        )  # fmt: skip
        of_theory, of_network = (np.asarray(draw(d, z, grid)) for d in (theory, network))
        law = _law(targets, degree, grid, points)
        curves[degree] = (law, of_network)
        for i, name in enumerate(targets):
            rows.append({"target": name, "degree": degree, **_compare(law, i, points, of_theory, of_network)})
        matching[str(degree)] = {
            "predicted": float(np.abs(law["cdf"][:, 0] - law["cdf"][:, 1]).max()),
            "networks": float(scipy.stats.ks_2samp(of_network[:, 0], of_network[:, 1]).statistic),
        }
        say(f"degree {degree}: {time.perf_counter() - started:.0f} s")
    first = next(iter(images.values()))
    patch = _patches(config, folder, jnp.asarray(first[: config.patch_images]), grid, draw)
    metrics = {"marginals": rows, "moment_matching": matching, "patch": patch, "seconds": time.perf_counter() - started}
    _plot(folder, targets, curves, points)
    runs.write_json(folder / "metrics.json", metrics)
    summary = _summary(config, metrics)
    runs.write_text(folder / "summary.md", summary)
    say(f"\n{summary}\n{metrics['seconds']:.0f} s in all; written to {folder}/")
    return metrics


def _law(targets, degree, grid, points) -> dict[str, np.ndarray]:
    """Predicted law of every target, in float64."""
    with jax.enable_x64(True):
        levels = jnp.asarray(np.asarray(grid, np.float64))
        denoiser = polynomial.fit(jnp.asarray(np.stack(list(targets.values()), axis=1)), degree, basis="pixel")
        queries = jnp.asarray(np.repeat(points[:, None], len(targets), axis=1))
        return {
            "cdf": np.asarray(polynomial.cdf(denoiser, queries, levels)),
            "density": np.asarray(polynomial.marginal_density(denoiser, queries, levels)),
            "moments": np.asarray(polynomial.generated_moments(denoiser, levels, 4)),
            "diverging": np.asarray(polynomial.diverging_probability(denoiser, levels)),
            "blow_up": np.asarray(polynomial.blow_up_probability(denoiser, float(levels[0]), float(levels[-2]))),
        }


def _compare(law, i, points, of_theory, of_network) -> dict[str, Any]:
    row = {}
    for name, samples in (("theory", of_theory[:, i]), ("network", of_network[:, i])):
        finite = samples[np.isfinite(samples)]
        counted = np.searchsorted(np.sort(samples), points, side="right") / len(samples)
        row[f"ks_{name}"] = float(np.abs(counted - law["cdf"][:, i]).max())
        row[f"diverged_{name}"] = float(1 - len(finite) / len(samples))
        row[f"moments_{name}"] = [_number((finite.astype(np.float64) ** k).mean()) for k in range(1, 5)]
    row["moments_predicted"] = [_number(m) for m in law["moments"][1:, i]]
    row["diverging_predicted"] = float(law["diverging"][i])
    row["blow_up_limit"] = float(law["blow_up"][i])
    return row


def _number(value) -> float | None:
    return float(value) if np.isfinite(value) else None


def _patches(config, folder, images, grid, draw) -> dict[str, float]:
    """Linear, quadratic and unconstrained samples of images from the same noise."""
    z = jax.random.normal(jax.random.key(config.seed + 3), (12, *images.shape[1:]), images.dtype)
    rows = {
        "linear k × k": linear.fit(images, "local", kernel_size=config.kernel_size),
        f"degree {config.patch_degree}, k × k": polynomial.fit(
            images, config.patch_degree, basis="patch", kernel_size=config.kernel_size, sigmas=grid
        ),
        "empirical": EmpiricalDenoiser(images),
    }
    samples = {name: np.asarray(draw(denoiser, z, grid)) for name, denoiser in rows.items()}
    shown = {name: np.nan_to_num(x, posinf=1.0, neginf=-1.0) for name, x in samples.items()}
    title = f"{config.datasets[0]}: one noise vector per column, k = {config.kernel_size}"
    plotting.save(plotting.sample_grid(shown, title=title), folder / "images.png")
    return {name: float(np.isinf(x).any(axis=(1, 2, 3)).mean()) for name, x in samples.items()}


def _plot(folder, targets, curves, points) -> None:
    """Histogram of the network's samples and predicted density: a row per target, a column per degree."""
    figure = Figure(figsize=(2.1 * len(curves), 1.5 * len(targets)), layout="constrained")
    axes = figure.subplots(len(targets), len(curves), squeeze=False)
    for column, (degree, (law, samples)) in enumerate(curves.items()):
        for row, (name, x) in enumerate(targets.items()):
            panel = axes[row, column]
            bins = np.linspace(-3.5, 3.5, 71)
            width = bins[1] - bins[0]
            heights = np.histogram(samples[:, row], bins)[0] / (len(samples) * width)
            truth = np.histogram(x, bins)[0] / (len(x) * width)
            panel.stairs(heights, bins, fill=True, color="#9ecae1", label="network")
            panel.stairs(truth, bins, color="0.6", linewidth=0.7, label="target")
            panel.plot(points, law["density"][:, row], color="black", linewidth=1.0, label="predicted")
            panel.set(xlim=(-3.5, 3.5), ylim=(0, 1.25 * max(heights.max(), 0.3)), yticks=[])
            if row == 0:
                panel.set_title(f"degree {degree}", fontsize=8)
            if column == 0:
                panel.set_ylabel(name, fontsize=6)
            panel.tick_params(labelsize=6)
    axes[0, 0].legend(fontsize=5, frameon=False)
    figure.suptitle(f"Generated laws: {len(samples)} samples per network", fontsize=9)
    figure.supxlabel("value (standard deviations of the target)", fontsize=8)
    figure.supylabel("probability density", fontsize=8)
    plotting.save(figure, folder / "densities.png")


def _summary(config, metrics) -> str:
    def cells(values):
        return ", ".join("inf" if v is None else f"{v:.2f}" if abs(v) < 1e4 else f"{v:.0e}" for v in values)

    table = runs.table(
        ["target", "p", "KS sampler", "KS network", "moments 1–4 predicted", "network", "diverge: predicted", "sampler",
         "network", "many steps"],
        [
            [
                row["target"], str(row["degree"]), f"{row['ks_theory']:.4f}", f"{row['ks_network']:.4f}",
                cells(row["moments_predicted"]), cells(row["moments_network"]), f"{row['diverging_predicted']:.1e}",
                f"{row['diverged_theory']:.1e}", f"{row['diverged_network']:.1e}", f"{row['blow_up_limit']:.1e}",
            ]
            for row in metrics["marginals"]
        ],
    )  # fmt: skip
    matching = runs.table(
        ["degree", "predicted laws", "samples of the networks"],
        [
            [degree, f"{distance['predicted']:.1e}", f"{distance['networks']:.1e}"]
            for degree, distance in metrics["moment_matching"].items()
        ],
    )
    patches = runs.table(
        ["denoiser", "diverged samples"], [[name, f"{100 * share:.0f} %"] for name, share in metrics["patch"].items()]
    )
    return f"""# What polynomial denoisers generate

{config.sampler_steps} DDIM steps from {config.sigma_max:g} to {config.sigma_min:g} standard deviations;
{config.num_samples} samples (KS below {1.95 / math.sqrt(config.num_samples):.4f} is chance), {config.train_steps}
training steps, seed {config.seed}. Every target has mean 0 and variance 1.

{table}

KS: largest distance, on a grid of spacing 0.01, between the predicted distribution function and that of samples, from
the closed-form denoiser and from the trained network. "diverge": probability that a sample is infinite on this grid;
"many steps": in the limit. Networks on atoms learn slowly: where every datum is an atom, the features of degree 3 and
more vanish on the data, and what vanishes has no gradient.

The mixture and its three Gauss atoms have equal moments up to order 5. Largest distance of the two distribution
functions (that of two equal laws is below {1.95 * math.sqrt(2 / config.num_samples):.1e} by chance for samples):

{matching}

Images from polynomials of a {config.kernel_size} × {config.kernel_size} patch ({config.patch_images} training images):

{patches}

![densities](densities.png)
![images](images.png)
"""


if __name__ == "__main__":
    runs.cli(main, Config, __doc__)
