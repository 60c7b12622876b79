"""Derivatives of closed forms and of a trained network: what each does to an image, and where they part.

    python -m experiments.probing                      # digits, a few minutes on two CPU cores
    python -m experiments.probing --dataset faces
    python -m experiments.probing --help

Probes the empirical denoiser, linear denoisers, a patch machine and a trained MLP: spectrum and asymmetry of the
Jacobian, receptive field against noise level, symmetry errors, singular values of the sample with respect to its noise,
the training images that a sample owes most to, and the seeds on which theory and network disagree most, found by
gradient ascent through both samplers in one traced program. Writes `runs/<name>/`: config.json, environment.json,
metrics.json, summary.md, five figures and the networks' checkpoints. A killed run resumes when started again.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments import runs
from jaxcreativity import data, networks, plotting, probing, sample, schedules, training
from jaxcreativity.denoiser import Denoiser
from jaxcreativity.theory import linear
from jaxcreativity.theory.bottleneck.prototypes import PrototypeDenoiser
from jaxcreativity.theory.empirical import EmpiricalDenoiser
from jaxcreativity.theory.patches import LocalDenoiser

NETWORKS: dict[str, tuple[Callable[[tuple[float, ...]], nn.Module], dict[str, Any]]] = {
    "linear": (networks.DenseLinear, {"learning_rate": 3e-2}),
    "MLP": (lambda levels: networks.MLP(), {"learning_rate": 1e-3, "prediction": "v"}),
}
"""From noise levels to a network, and what it is trained with."""

PATCH_SIZE = 5
"""Of the patch machine."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of one run."""

    dataset: str = "digits"
    """Embedded (digits, natural_patches, faces), a TFDS name (mnist, ...), or a folder or array file."""
    image_size: int | None = None
    """Side to resize to; the native size by default. Jacobians are dense: keep it at 16 or below."""
    num_images: int = 500
    sampler_steps: int = 20
    sigma_min: float = 0.05
    sigma_max: float = 20.0
    sigmas: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    """Noise levels at which denoisers are probed."""
    num_points: int = 8
    """Noisy images that a probe is averaged over."""
    train_steps: int = 1500
    ascent_steps: int = 20
    """Steps of gradient ascent on the noise."""
    removed: int = 10
    """Training images that are left out to test influences."""
    seed: int = 0
    name: str | None = None
    """Name of the run's folder; probing-<dataset> by default."""
    output: str = "runs"
    progress: bool = True


def main(config: Config) -> dict[str, Any]:
    """Run the experiment; returns what `metrics.json` holds.

    Raises:
        ValueError: for bad settings or data, or a run folder of another configuration.
    """
    started = time.perf_counter()
    say = print if config.progress else (lambda *_: None)
    x = jnp.asarray(data.load(config.dataset, image_size=config.image_size, num_images=config.num_images).train)
    if not 0 < config.removed < len(x):
        raise ValueError(f"removed must lie between 1 and {len(x) - 1}, got {config.removed}")
    config = dataclasses.replace(config, name=config.name or f"probing-{Path(config.dataset).stem}")
    folder = runs.open_run(Path(config.output) / config.name, config)
    grid = schedules.grid(schedules.log_linear(config.sigma_min, config.sigma_max), config.sampler_steps)
    train = functools.partial(_train, config, folder, sigmas=grid)
    mlp = train("MLP", x)
    denoisers = {
        "empirical": EmpiricalDenoiser(x),
        "linear, full": linear.fit(x, "full"),
        "linear, stationary": linear.fit(x, "stationary"),
        "linear, 3 × 3": linear.fit(x, "local", kernel_size=3),
        f"ELS, {PATCH_SIZE} × {PATCH_SIZE}": _patch_machine(x),
        "MLP": mlp,
    }
    key = jax.random.key(config.seed + 1)
    metrics = {}
    for name, probe in (
        ("jacobian", lambda: _jacobians(config, folder, denoisers, x, key)),
        ("receptive_field", lambda: _receptive_fields(config, folder, denoisers, x, key)),
        ("symmetry", lambda: _symmetries(config, denoisers, x, key)),
        ("sample", lambda: _samples(config, folder, denoisers, x, grid, key)),
        ("influence", lambda: _influences(config, folder, train, x, grid, key)),
        ("discrepancy", lambda: _disagreement(config, folder, denoisers["linear, full"], mlp, x, grid, key)),
    ):
        metrics[name] = probe()
        say(f"{name}: {time.perf_counter() - started:.0f} s")
    metrics["seconds"] = time.perf_counter() - started
    runs.write_json(folder / "metrics.json", metrics)
    summary = _summary(config, metrics)
    runs.write_text(folder / "summary.md", summary)
    say(f"\n{summary}\nwritten to {folder}/")
    return metrics


def _train(config, folder, name: str, x: jax.Array, run: str = "all", *, sigmas: jax.Array, seed: int = 0) -> Denoiser:
    """One of NETWORKS, trained on `x` or taken from the checkpoint of that run."""
    module, options = NETWORKS[name]
    return training.fit(
        module(tuple(np.asarray(sigmas[:-1]).tolist())), x, sigmas, key=jax.random.key(config.seed + seed),
        num_steps=config.train_steps, checkpoint_folder=folder / "networks" / f"{name}, {run}",
        progress=config.progress, label=f"{name}, {run}", **options,
    )  # fmt: skip


def _patch_machine(x: jax.Array, weights: jax.Array | None = None) -> LocalDenoiser:
    return LocalDenoiser(x, PATCH_SIZE, equivariant=True, boundary="broken", weights=weights)


def _noisy(x: jax.Array, sigma: float, key: jax.Array, n: int) -> jax.Array:
    return x[:n] + sigma * jax.random.normal(key, (n, *x.shape[1:]), x.dtype)


@jax.jit
def _probe_jacobian(denoiser: Denoiser, points: jax.Array, sigma: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Singular values, and asymmetry, of the Jacobian at every point."""

    def one(y):
        operator = probing.jacobian(denoiser, y, sigma)
        return jnp.linalg.svd(operator.dense(), compute_uv=False), probing.asymmetry(operator)

    return jax.lax.map(one, points)


def _jacobians(config, folder, denoisers, x, key) -> dict[str, Any]:
    figure = Figure(figsize=(3.0 * len(config.sigmas), 3.2), layout="constrained", dpi=150)
    panels = figure.subplots(1, len(config.sigmas), sharey=True, squeeze=False)[0]
    rows = []
    for panel, sigma in zip(panels, config.sigmas, strict=True):
        points = _noisy(x, sigma, key, config.num_points)
        for name, denoiser in denoisers.items():
            values, asymmetry = _probe_jacobian(denoiser, points, jnp.asarray(sigma, x.dtype))
            rank = jax.vmap(probing.effective_rank)(values)
            # Where the posterior is one image, J is 0 up to rounding and has no symmetry to speak of.
            moves = bool((values[:, 0] > 1e-3).all())
            rows.append({"denoiser": name, "sigma": sigma, "asymmetry": float(asymmetry.mean()) if moves else None,
                         "effective_rank": float(rank.mean()), "sum": float(values.sum(1).mean())})  # fmt: skip
            panel.plot(np.arange(1, values.shape[1] + 1), np.median(np.asarray(values), axis=0), label=name)
        panel.set(xscale="log", yscale="log", ylim=(1e-4, 3), title=f"σ = {sigma:g}", xlabel="index")
    panels[0].set_ylabel("singular value of ∂D/∂y")
    panels[0].legend(fontsize=6, frameon=False)
    figure.suptitle(f"{config.dataset}: median over {config.num_points} noisy images", fontsize=10)
    plotting.save(figure, folder / "jacobians.png")
    return rows


@jax.jit
def _probe_field(denoiser: Denoiser, points: jax.Array, sigma: jax.Array) -> jax.Array:
    """Receptive field of the middle pixel, root mean square over points."""
    pixel = points.shape[1] // 2, points.shape[2] // 2
    fields = jax.lax.map(lambda y: probing.receptive_field(denoiser, y, sigma, pixel), points)
    return jnp.sqrt(jnp.mean(jnp.square(fields), axis=0))


def _receptive_fields(config, folder, denoisers, x, key) -> list[dict[str, Any]]:
    sigmas = np.geomspace(config.sigma_min, config.sigma_max, 12)
    pixel = x.shape[1] // 2, x.shape[2] // 2
    figure = Figure(figsize=(9.0, 3.4), layout="constrained", dpi=150)
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.3))
    curve = left.subplots()
    maps = right.subplots(len(denoisers), len(config.sigmas), squeeze=False)
    rows = []
    for row, (name, denoiser) in enumerate(denoisers.items()):
        at = lambda sigma, d=denoiser: _probe_field(  # noqa: E731
            d, _noisy(x, sigma, key, config.num_points), jnp.asarray(sigma, x.dtype)
        )
        radii = [float(probing.radius(at(sigma), pixel)) for sigma in sigmas]
        rows += [{"denoiser": name, "sigma": float(s), "radius": r} for s, r in zip(sigmas, radii, strict=True)]
        curve.plot(sigmas, radii, marker=".", label=name)
        for column, sigma in enumerate(config.sigmas):
            field, panel = np.asarray(at(sigma)), maps[row, column]
            panel.imshow(field / max(field.max(), 1e-6), cmap="magma", vmin=0, vmax=1)
            panel.set(xticks=[], yticks=[])
            if row == 0:
                panel.set_title(f"σ = {sigma:g}", fontsize=7)
            if column == 0:
                panel.set_ylabel(name, fontsize=6, rotation=0, ha="right", va="center")
    curve.set(xscale="log", xlabel="noise level σ", ylabel="radius of the receptive field (pixels)")
    curve.legend(fontsize=6, frameon=False)
    figure.suptitle(f"{config.dataset}: middle pixel, rms over {config.num_points} noisy images", fontsize=10)
    plotting.save(figure, folder / "receptive_fields.png")
    return rows


def _symmetries(config, denoisers, x, key) -> list[dict[str, Any]]:
    transforms = [name for name in probing.TRANSFORMS if name != "rotate" or x.shape[1] == x.shape[2]]
    error = jax.jit(jax.vmap(probing.equivariance_error, (None, 0, None, None)), static_argnums=3)
    sigma = config.sigmas[len(config.sigmas) // 2]
    points = _noisy(x, sigma, key, config.num_points)
    level = jnp.asarray(sigma, x.dtype)
    return [
        {"denoiser": name, "sigma": sigma}
        | {transform: float(jnp.median(error(denoiser, points, level, transform))) for transform in transforms}
        for name, denoiser in denoisers.items()
    ]


def _samples(config, folder, denoisers, x, grid, key) -> list[dict[str, Any]]:
    z = jax.random.normal(key, (config.num_points, *x.shape[1:]), x.dtype)
    probe = jax.jit(lambda d, z: jax.lax.map(lambda z: probing.sample_jacobian(d, z, grid), z))
    figure = Figure(figsize=(5.0, 3.4), layout="constrained", dpi=150)
    panel, rows = figure.subplots(), []
    for name, denoiser in denoisers.items():
        found = probe(denoiser, z)
        values = np.asarray(found.singular_values)
        panel.plot(np.arange(1, values.shape[1] + 1), np.median(values, axis=0), label=name)
        dimension = [int((v > 0.01 * v[0]).sum()) for v in values]
        rows.append({"denoiser": name, "dimension": float(np.mean(dimension)), "largest": float(values[:, 0].mean())})
    panel.set(xscale="log", yscale="log", ylim=(1e-4, None), xlabel="index", ylabel="singular value of ∂x/∂z")
    panel.set_title(f"{config.dataset}: median over {config.num_points} seeds", fontsize=10)
    panel.legend(fontsize=7, frameon=False)
    plotting.save(figure, folder / "sample_jacobians.png")
    return rows


def _influences(config, folder, train, x, grid, key) -> list[dict[str, Any]]:
    """The most influential images on one sample, and what leaving them out does: predicted, recomputed, retrained."""
    n = len(x)
    z = jax.random.normal(jax.random.fold_in(key, 1), x.shape[1:], x.dtype)
    theories = {
        "linear, full": lambda w: linear.fit(x, "full", weights=w),
        "empirical": lambda w: PrototypeDenoiser(x, jnp.log(w)),
        f"ELS, {PATCH_SIZE} × {PATCH_SIZE}": lambda w: _patch_machine(x, w),
    }
    rows, shown = [], {}
    rng = np.random.default_rng(config.seed)
    for name, theory in theories.items():
        generate = jax.jit(lambda w, theory=theory: sample(theory(w), z, grid))
        effects = np.asarray(jax.jit(lambda z, theory=theory: probing.influence(theory, z, grid, n))(z))
        flat = effects.reshape(n, -1)
        direction = np.linalg.svd(flat, full_matrices=False)[2][0]
        along = flat @ direction
        order = np.argsort(-along * np.sign(along[np.abs(along).argmax()]))

        def change(indices, generate=generate):
            # Weights of 1e-6: the logarithm of 0 would be no weight.
            return np.asarray(generate(jnp.ones(n).at[jnp.asarray(indices)].set(1e-6)) - generate(jnp.ones(n)))

        chosen = order[: config.removed]
        actual, predicted = change(chosen).ravel(), -flat[chosen].sum(0)
        at_random = [np.linalg.norm(change(rng.choice(n, config.removed, replace=False))) for _ in range(10)]
        correlation = np.corrcoef(actual, predicted)[0, 1] if actual.std() > 0 and predicted.std() > 0 else None
        rows.append({
            "denoiser": name, "correlation": None if correlation is None else float(correlation),
            "change": float(np.linalg.norm(actual)), "predicted_change": float(np.linalg.norm(predicted)),
            "random_change": float(np.median(at_random)),
        })  # fmt: skip
        if name == "linear, full":
            rows += [_retrained(train, network, x, chosen, predicted, z, grid) for network in NETWORKS]
        if correlation is None:
            continue  # a copy of one image, which no weight changes
        x_0 = np.asarray(generate(jnp.ones(n)))
        shown[name] = np.concatenate([x_0[None], np.asarray(x)[order[:5]], np.asarray(x)[order[-5:]]])
    labels = ["sample", *["+"] * 5, *["−"] * 5]
    title = (
        f"{config.dataset}: a sample and the training images of strongest influence, + and −, on its leading direction"
    )
    caption = "More weight of a + image moves the sample one way, of a − image the other."
    figure = plotting.sample_grid(shown, title=title, seeds=labels, columns="influence", caption=caption)
    plotting.save(figure, folder / "influence.png")
    return rows


def _retrained(train, name: str, x, left_out, predicted, z, grid) -> dict[str, Any]:
    """Change of a network's sample when it is trained without some images, against the linear theory's prediction.

    `random_change` is what training on all images with other random numbers does.
    """
    kept = jnp.asarray(np.setdiff1d(np.arange(len(x)), left_out))
    draw = jax.jit(lambda denoiser: sample(denoiser, z, grid))
    before, without, other = (
        np.asarray(draw(network)).ravel()
        for network in (train(name, x), train(name, x[kept], "without"), train(name, x, "other seed", seed=1))
    )
    return {
        "denoiser": f"network: {name}", "correlation": float(np.corrcoef(without - before, predicted)[0, 1]),
        "change": float(np.linalg.norm(without - before)), "predicted_change": float(np.linalg.norm(predicted)),
        "random_change": float(np.linalg.norm(other - before)),
    }  # fmt: skip


def _disagreement(config, folder, theory, network, x, grid, key) -> dict[str, Any]:
    """Noise of fixed norm on which theory and network disagree most, by gradient ascent."""
    z = jax.random.normal(jax.random.fold_in(key, 2), (config.num_points, *x.shape[1:]), x.dtype)
    norm = jnp.linalg.norm(z.reshape(len(z), -1), axis=1).reshape(-1, *[1] * (z.ndim - 1))

    @jax.jit
    def step(z):
        value, gradient = jax.value_and_grad(lambda z: probing.discrepancy(theory, network, z, grid))(z)
        size = jnp.linalg.norm(gradient.reshape(len(z), -1), axis=1).reshape(norm.shape)
        moved = z + 0.1 * norm * gradient / jnp.maximum(size, 1e-12)
        moved_norm = jnp.linalg.norm(moved.reshape(len(z), -1), axis=1).reshape(norm.shape)
        return value, moved * norm / moved_norm

    values, found = [], z
    for _ in range(config.ascent_steps):
        value, found = step(found)
        values.append(float(value))
    values.append(float(step(found)[0]))
    draw = jax.jit(jax.vmap(sample, (None, 0, None)))
    rows = {
        f"{when}: {name}": np.asarray(draw(denoiser, noise, grid))
        for when, noise in (("random seeds", z), ("found seeds", found))
        for name, denoiser in (("theory", theory), ("network", network))
    }
    title = f"{config.dataset}: linear theory and MLP before and after ascent on their squared distance"
    plotting.save(plotting.sample_grid(rows, title=title), folder / "disagreement.png")
    return {"mean_square": values}


def _summary(config, metrics) -> str:
    def table(rows, digits=3):
        header = list(rows[0])
        cell = lambda v: v if isinstance(v, str) else "–" if v is None else f"{v:.{digits}g}"  # noqa: E731
        return runs.table(header, [[cell(row[h]) for h in header] for row in rows])

    ascent = metrics["discrepancy"]["mean_square"]
    return f"""# Probing denoisers on {config.dataset}

{config.num_images} images, {config.num_points} noisy images or seeds per number, {config.train_steps} training steps,
{config.sampler_steps} sampling steps from σ = {config.sigma_max:g} to {config.sigma_min:g}, seed {config.seed};
{metrics["seconds"]:.0f} s.

Jacobian ∂D/∂y: asymmetry |J − Jᵀ|/|J| (0: the score is a gradient), effective rank, sum of singular values.

{table(metrics["jacobian"])}

![jacobians](jacobians.png)
![receptive fields](receptive_fields.png)

Symmetry: median of |D(Ty) − TD(y)| / |TD(y) − mean|.

{table(metrics["symmetry"])}

∂x/∂z: local dimension (singular values above 1 % of the largest) and largest singular value.

{table(metrics["sample"])}

![sample Jacobians](sample_jacobians.png)

Influence: {config.removed} images that move one sample most are left out. Correlation of its change with the
linearisation, size of both, and the median size for as many random images. (A sample of the empirical denoiser is a
copy of one image, and changes only when that image goes.) For networks, trained with and without these images: the
same against the linearisation of the linear theory, and last the change by training with other random numbers.

{table(metrics["influence"])}

![influence](influence.png)

Gradient ascent on the noise, its norm fixed: mean squared distance of theory (linear, full) and MLP from
{ascent[0]:.3g} to {ascent[-1]:.3g} in {config.ascent_steps} steps.

![disagreement](disagreement.png)
"""


if __name__ == "__main__":
    runs.cli(main, Config, __doc__)
