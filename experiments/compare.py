"""The main job: every closed form against its trained network, from the same noise.

    python -m experiments.compare                       # the embedded digits, minutes on two CPU cores
    python -m experiments.compare --dataset mnist       # also cifar10, natural_patches, faces, path/to/folder
    python -m experiments.compare --help

Fits the closed forms, trains the networks with the denoising loss, samples all of them with one jitted, vmapped
reverse-diffusion scan, prints two tables and writes `runs/<name>/`: config.json, environment.json, metrics.json,
summary.md, samples.png, spectra.png, and the networks' checkpoints. A killed run resumes when started again.

To add an architecture, add one line to `ENTRIES`.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import runs
from jaxcreativity import data, networks, plotting, sample, schedules, training
from jaxcreativity.denoiser import Denoiser
from jaxcreativity.distributions import gaussian
from jaxcreativity.metrics import agreement, covariance_error, novelty, sampling_error
from jaxcreativity.theory import linear
from jaxcreativity.theory.empirical import EmpiricalDenoiser
from jaxcreativity.theory.linear import affine

MAX_CPU_SIDE = 16
MAX_EXACT_LAW_ENTRIES = 1024


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of one comparison; together with the data they determine every number."""

    dataset: str = "digits"
    """Embedded (digits, natural_patches, faces), a TFDS name (mnist, cifar10, ...), or a folder or array file."""
    image_size: int | None = None
    """Side to resize to. By default the native size, halved on CPUs until it is at most 16."""
    num_images: int | None = None
    """Training images; all by default."""
    sampler_steps: int = 20
    schedule: Literal["cosine", "linear_beta", "karras", "log_linear"] = "cosine"
    rank: int = 8
    """Width of the linear bottleneck."""
    kernel_size: int = 3
    """Side of the local filter."""
    train_steps: int = 2000
    batch_size: int = 32
    """Images per noise level and training step."""
    num_samples: int = 2048
    """Samples per network for covariance and Wasserstein distance."""
    num_pairs: int = 256
    """Of these, samples for the agreement with closed forms and for novelty."""
    entries: tuple[str, ...] = ()
    """Which rows to run, by their names in ENTRIES; all by default."""
    seed: int = 0
    name: str | None = None
    """Name of the run's folder; compare-<dataset> by default."""
    output: str = "runs"
    progress: bool = True


@dataclasses.dataclass(frozen=True)
class Setup:
    """What the entries are made from."""

    config: Config
    x: jax.Array
    sigmas: jax.Array
    sigma_data: float

    @property
    def levels(self) -> tuple[float, ...]:
        """The positive noise levels."""
        return tuple(np.asarray(self.sigmas[:-1]).tolist())

    def key(self, purpose: Literal["training", "noise", "floor"]) -> jax.Array:
        """A random key for each purpose, the same in every run with this seed."""
        return jax.random.fold_in(jax.random.key(self.config.seed), ("training", "noise", "floor").index(purpose))

    @property
    def gradient_scale(self) -> float:
        """Loss of `training` (a mean over levels and entries) over that of `theory.linear` (per entry and level)."""
        return 1 / (len(self.levels) * self.x[0].size)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One architecture: its network, its closed form, and what it is trained with.

    `without` is a closed form that leaves out a training effect, for comparison.
    """

    network: Callable[[Setup], nn.Module]
    theory: Callable[[Setup], Denoiser]
    training: Callable[[Setup], dict[str, Any]] = lambda s: {"learning_rate": 3e-2}
    without: Callable[[Setup], Denoiser] | None = None


WEIGHT_DECAY = 0.1  # of the order of the data's mean variance per mode: shrinks samples visibly
EARLY_STOPPING_TIME = 2.0  # fits the leading modes only


def _early_stopping(s: Setup) -> dict[str, Any]:
    # Plain gradient descent of `steps` steps is gradient flow for the time 2 * steps * rate * gradient_scale.
    steps = max(1, s.config.train_steps // 4)
    rate = EARLY_STOPPING_TIME / (2 * steps * s.gradient_scale)
    return {"optimizer": optax.sgd(rate), "num_steps": steps, "ema_decay": None}


ENTRIES: dict[str, Entry] = {
    "full": Entry(
        lambda s: networks.DenseLinear(s.levels),
        lambda s: linear.fit(s.x, "full"),
    ),
    "pixelwise": Entry(
        lambda s: networks.PixelwiseLinear(s.levels),
        lambda s: linear.fit(s.x, "pixelwise"),
    ),
    "stationary": Entry(
        lambda s: networks.ConvLinear(s.levels),
        lambda s: linear.fit(s.x, "stationary"),
    ),
    "local": Entry(
        lambda s: networks.ConvLinear(s.levels, kernel_size=s.config.kernel_size),
        lambda s: linear.fit(s.x, "local", kernel_size=s.config.kernel_size),
    ),
    "low rank": Entry(
        lambda s: networks.LowRankLinear(s.levels, rank=s.config.rank),
        lambda s: linear.fit(s.x, "low_rank", rank=s.config.rank),
    ),
    "weight decay": Entry(
        lambda s: networks.DenseLinear(s.levels),
        lambda s: linear.fit(s.x, "full", weight_decay=WEIGHT_DECAY, sigma_data=s.sigma_data),
        lambda s: {"learning_rate": 3e-2, "weight_penalty": WEIGHT_DECAY * s.gradient_scale},
        without=lambda s: linear.fit(s.x, "full"),
    ),
    "early stopping": Entry(
        lambda s: networks.DenseLinear(s.levels, use_bias=False),
        lambda s: linear.fit(
            s.x, "full", bias=False, training_time=EARLY_STOPPING_TIME, sigma_data=s.sigma_data
        ),
        _early_stopping,
        without=lambda s: linear.fit(s.x, "full", bias=False),
    ),
    "MLP": Entry(
        lambda s: networks.MLP(),
        lambda s: _empirical(s),
        lambda s: {"learning_rate": 1e-3, "prediction": "v"},
        without=lambda s: linear.fit(s.x, "full"),
    ),
}  # fmt: skip

SCHEDULES: Mapping[str, Callable[[], schedules.Schedule]] = {
    "cosine": schedules.cosine,
    "linear_beta": schedules.linear_beta,
    "karras": lambda: schedules.karras(0.02, 80.0),
    "log_linear": lambda: schedules.log_linear(0.02, 80.0),
}

sample_all = jax.jit(jax.vmap(sample, (None, 0, None)))


def main(config: Config) -> dict[str, Any]:
    """Run the comparison; returns what `metrics.json` holds.

    Raises:
        ValueError: for bad settings or data, or a run folder of another configuration.
    """
    started = time.perf_counter()
    say = print if config.progress else (lambda *_: None)
    if not 2 <= config.num_pairs <= config.num_samples:
        raise ValueError(f"need 2 <= num_pairs <= num_samples, got {config.num_pairs} and {config.num_samples}")
    unknown = set(config.entries) - set(ENTRIES)
    if unknown:
        raise ValueError(f"unknown entries {sorted(unknown)}; there are {', '.join(ENTRIES)}")
    dataset = _load(config)
    config = dataclasses.replace(
        config,
        entries=config.entries or tuple(ENTRIES),
        image_size=dataset.train.shape[1] if config.image_size is None else config.image_size,
        num_images=len(dataset.train),
        name=config.name or f"compare-{Path(config.dataset).stem}",
    )
    folder = runs.open_run(Path(config.output) / config.name, config)
    x = jnp.asarray(dataset.train)
    setup = Setup(
        config,
        x,
        schedules.grid(SCHEDULES[config.schedule](), config.sampler_steps),
        float(jnp.sqrt(jnp.mean(jnp.square(x)))),
    )
    say(f"{folder}/: {len(x)} training and {len(dataset.test)} held-out images of {x.shape[1:]}")

    # 1. Closed forms: of each entry its own, then the one that leaves its training effect out.
    entries = {name: ENTRIES[name] for name in config.entries}
    theories = {name: [make(setup) for make in (e.theory, e.without) if make] for name, e in entries.items()}
    say(f"closed forms fitted in {time.perf_counter() - started:.0f} s; training {len(entries)} networks")

    # 2. Trained networks.
    trained = {name: _train(name, entry, setup, folder) for name, entry in entries.items()}

    # 3. Samples of all of them from the same noise.
    z = jax.random.normal(setup.key("noise"), (config.num_samples, *x.shape[1:]), x.dtype)
    draw = lambda denoiser, count: np.asarray(sample_all(denoiser, z[:count], setup.sigmas))  # noqa: E731
    empirical = draw(_empirical(setup), config.num_pairs)
    of_theory = {name: [draw(theory, config.num_pairs) for theory in both] for name, both in theories.items()}
    of_network = {name: draw(network, config.num_samples) for name, network in trained.items()}

    # 4. Numbers, tables, figures.
    comparisons = []
    for name in entries:
        for theory, samples in zip(theories[name], of_theory[name], strict=True):
            row = _compare(setup, theory, samples, trained[name], of_network[name], empirical)
            comparisons.append({"network": name, "closed_form": _theory_label(theory), **row})
    shown = {"held-out images": dataset.test[: config.num_pairs], "empirical closed form": empirical}
    shown |= {f"{name}, network": samples[: config.num_pairs] for name, samples in of_network.items()}
    novelties = {name: novelty(jnp.asarray(images), x).summary() for name, images in shown.items()}
    metrics = {"comparisons": comparisons, "novelty": novelties}
    runs.write_json(folder / "metrics.json", metrics)
    _plot(setup, folder, dataset, theories, of_theory, of_network, empirical)
    summary = _summary(setup, dataset, metrics)
    runs.write_text(folder / "summary.md", summary)
    say(f"\n{summary}\n{time.perf_counter() - started:.0f} s in all; written to {folder}/")
    return metrics


def _empirical(s: Setup) -> EmpiricalDenoiser:
    return EmpiricalDenoiser(s.x, chunk_size=4096)


def _load(config: Config) -> data.Dataset:
    options = {"num_images": config.num_images, "seed": config.seed}
    if config.image_size is not None or jax.default_backend() != "cpu":
        return data.load(config.dataset, image_size=config.image_size, **options)
    dataset = data.load(config.dataset, **options)
    side = max(dataset.train.shape[1:3])
    if side <= MAX_CPU_SIDE:
        return dataset
    while side > MAX_CPU_SIDE:
        side //= 2
    native = max(dataset.train.shape[1:3])
    print(f"on a CPU images are resized to {side} x {side}; --image-size {native} keeps their size")
    return data.load(config.dataset, image_size=side, **options)


def _train(name: str, entry: Entry, setup: Setup, folder: Path) -> networks.NetworkDenoiser:
    config = setup.config
    key = jax.random.fold_in(setup.key("training"), list(ENTRIES).index(name))
    options = {"num_steps": config.train_steps, "batch_size": config.batch_size} | entry.training(setup)
    return training.fit(
        entry.network(setup), setup.x, setup.sigmas, key=key, sigma_data=setup.sigma_data,
        checkpoint_folder=folder / "networks" / name.replace(" ", "_"), progress=config.progress, label=name, **options,
    )  # fmt: skip


def _compare(setup, theory, theory_samples, network, network_samples, empirical) -> dict[str, Any]:
    n = len(theory_samples)
    row = dict(agreement(theory_samples, network_samples[:n]).summary())
    row["pearson_with_empirical_median"] = agreement(empirical, network_samples[:n]).summary()["pearson_median"]
    if isinstance(theory, EmpiricalDenoiser):
        return row
    predicted = linear.generated(theory, setup.sigmas)
    count = len(network_samples)
    ideal = predicted.sample(setup.key("floor"), count)
    row |= {
        "covariance_error": float(covariance_error(network_samples.reshape(count, -1), predicted.covariance)),
        "covariance_error_floor": float(sampling_error(predicted.covariance, count)),
        "wasserstein2": _wasserstein2(predicted, gaussian.fit(network_samples)),
        "wasserstein2_floor": _wasserstein2(predicted, gaussian.fit(ideal)),
        "total_standard_deviation": float(jnp.sqrt(jnp.trace(predicted.covariance))),
    }
    if not isinstance(network.module, networks.MLP) and setup.x[0].size <= MAX_EXACT_LAW_ENTRIES:
        law = linear.generated(affine.from_denoiser(network, setup.sigmas, setup.x.shape[1:]), setup.sigmas)
        row["wasserstein2_exact"] = _wasserstein2(predicted, law)
    return row


def _wasserstein2(p: gaussian.Gaussian, q: gaussian.Gaussian) -> float:
    # A small distance is the root of a small difference of traces: float32 has no digits left for it.
    with jax.enable_x64(True):
        p, q = (jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), law) for law in (p, q))
        return float(gaussian.wasserstein2(p, q))


def _theory_label(theory: Denoiser) -> str:
    if isinstance(theory, EmpiricalDenoiser):
        return "empirical"
    effects = []
    if float(theory.weight_decay):
        effects.append("weight decay")
    if np.isfinite(theory.training_time):
        effects.append("stopped early")
    return ", ".join([theory.structure.replace("_", " "), *effects])


def _plot(setup, folder, dataset, theories, of_theory, of_network, empirical) -> None:
    columns = min(12, len(empirical), len(dataset.test))
    rows = {"held-out images": dataset.test[:columns], "empirical closed form": empirical[:columns]}
    notes = {}
    for name, samples in of_network.items():
        closed_form, network = of_theory[name][0], samples[: setup.config.num_pairs]
        pair = {"closed form": closed_form[:columns], "network": network[:columns]}
        rows[name] = {"network": network[:columns]} if name == "MLP" else pair
        notes[name] = f"r = {agreement(closed_form, network).summary()['pearson_median']:.3f}"
        notes[name] += " (empirical)" if name == "MLP" else ""
    title = f"{setup.config.dataset}: r = median correlation of closed form and network"
    caption = "Below the first row, samplers in one column start from the same noise."
    plotting.save(plotting.sample_grid(rows, title=title, notes=notes, caption=caption), folder / "samples.png")

    curves: dict[str, Any] = {"data": gaussian.fit(setup.x).covariance}
    for name, (theory, *_) in theories.items():
        if not isinstance(theory, EmpiricalDenoiser):
            predicted = linear.generated(theory, setup.sigmas).covariance
            curves[name] = {"predicted": predicted, "network": gaussian.fit(of_network[name]).covariance}
    counts = {"data": len(setup.x), "network": setup.config.num_samples}
    title = f"{setup.config.dataset}: variance of the generated images along the data's principal axes"
    plotting.save(plotting.spectra(curves, title=title, counts=counts, modes_of="data"), folder / "spectra.png")


def _summary(setup, dataset, metrics) -> str:
    config, environment = setup.config, runs.environment()
    cell = lambda row, key, digits=3: f"{row[key]:.{digits}f}" if key in row else "–"  # noqa: E731

    def quartiles(row, key):
        return f"{row[key + '_median']:.3f} ({row[key + '_q25']:.3f}–{row[key + '_q75']:.3f})"

    def with_floor(row, key):
        return f"{cell(row, key)} ({cell(row, key + '_floor')})" if key in row else "–"

    first = runs.table(
        [
            "network", "closed form", "correlation", "R²", "corr. empirical", "cov. error (floor)", "W₂ (floor)",
            "W₂ exact",
        ],
        [
            [
                row["network"], row["closed_form"], quartiles(row, "pearson"), quartiles(row, "r_squared"),
                cell(row, "pearson_with_empirical_median"), with_floor(row, "covariance_error"),
                with_floor(row, "wasserstein2"), cell(row, "wasserstein2_exact"),
            ]
            for row in metrics["comparisons"]
        ],
    )  # fmt: skip
    second = runs.table(
        ["samples", "nearest / second nearest", "memorised"],
        [
            [name, quartiles(row, "ratio"), f"{100 * row['memorised_fraction']:.1f} %"]
            for name, row in metrics["novelty"].items()
        ],
    )
    return f"""# {config.dataset}: closed forms against trained networks

{len(setup.x)} training and {len(dataset.test)} held-out images of {"×".join(map(str, setup.x.shape[1:]))};
{config.sampler_steps} DDIM steps, {config.schedule} schedule; {config.num_pairs} shared seeds for correlation, R² and
novelty, {config.num_samples} for covariance and W₂; device {environment["device"]["kind"]}, commit
{environment["commit"]}.

{first}

Correlation (Pearson) and R² compare the network's sample with the closed form's sample of the same noise: median
(quartiles). "corr. empirical" is the network's correlation with the empirical denoiser's samples. Covariance error
(relative, Frobenius) and W₂ (Bures, in units of the data) compare the network's samples with the predicted Gaussian;
the floor is what as many samples of that Gaussian itself give. "W₂ exact" compares the predicted law with the exact
law of the trained weights: no sampling.

{second}

Distance to the nearest training image over that to the second nearest: median (quartiles); below 1/3 counts as
memorised.

![samples](samples.png)
![spectra](spectra.png)
"""


if __name__ == "__main__":
    runs.cli(main, Config, __doc__)
