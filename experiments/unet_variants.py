"""Which small change of a UNet makes its samples novel, realistic, or neither, and which closed form explains them?

    python -m experiments.unet_variants --small          # three variants on digits: part of `make demo`
    python -m experiments.unet_variants                  # all variants that fit 8x8 digits
    python -m experiments.unet_variants --dataset mnist --image-size 32 --widths 32 64 128 --train-steps 20000 \
        --batch-size 16 --num-samples 4096               # the full set, for a GPU
    python -m experiments.unet_variants --network my_package.my_module:factory    # your own network
    python -m experiments.unet_variants --help

One change per network, all else equal: images, their order, noise, noise levels, steps and seeds. Three parts:

- `variants`: every variant with several training seeds; novelty (distance to the training set, copies, patches),
  realism (Frechet and kernel distance, precision, recall, coverage in a stated feature space), and the agreement, image
  by image from the same noise, with every closed form.
- `sweep`: the baseline and one variant on N = 2^4 ... 2^14 images: from memorising to generalising.
- `controls`: the baseline on images whose pixels were shuffled by one permutation, and pairs of networks trained on
  disjoint parts of the data.

Writes `runs/<name>/`: config.json, environment.json, metrics.json, summary.md, figures, and a folder per network with
its checkpoints, samples and numbers, from which a killed run resumes; at most a tenth of one training is lost.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import runs, unet_variants_report
from experiments.unet_variants_run import Setup, draw, estimate
from experiments.unet_variants_setup import (
    SMALL,
    SMALL_FORMS,
    SMALL_VARIANTS,
    Config,
    check_run,
    choose_variants,
    plan,
    sweep_names,
)
from jaxcreativity import data, schedules
from jaxcreativity.metrics import features as feature_spaces
from jaxcreativity.theory import bottleneck, linear, polynomial
from jaxcreativity.theory.empirical import EmpiricalDenoiser
from jaxcreativity.theory.patches import by_level, predicted_patch_sizes


def main(config: Config) -> dict[str, Any]:
    """Run the experiment; returns what `metrics.json` holds.

    Raises:
        ValueError: for bad settings, data or networks, before anything is trained.
    """
    started = time.perf_counter()
    say = print if config.progress else (lambda *_, **__: None)
    config = resolve(config)
    dataset = data.load(config.dataset, image_size=config.image_size, num_images=config.num_images, seed=config.seed)
    variants = choose_variants(config, dataset.shape, say)
    cells = plan(config, variants, len(dataset.train))
    has_labels = bool(config.classifier_steps) and dataset.train_labels is not None
    num_features = 64 if has_labels else min(32, dataset.train[0].size)
    check_run(config, dataset.train, dataset.test, num_features)
    folder = runs.open_run(Path(config.output) / config.name, config)

    permutation = np.random.default_rng(config.seed).permutation(len(dataset.train))
    x = jnp.asarray(dataset.train[permutation])
    z = jax.random.normal(jax.random.key(config.seed + 1), (config.num_samples, *dataset.shape), x.dtype)
    sigmas = schedules.grid(schedules.cosine(), config.sampler_steps)
    setup = Setup(config, folder, x, jnp.asarray(dataset.test), z, sigmas, None, {})

    estimates = estimate(setup, variants)
    say(_estimate_table(config, estimates, cells))
    if has_labels:
        features = feature_spaces.classifier(
            x, dataset.train_labels[permutation], setup.test, dataset.test_labels, key=jax.random.key(config.seed + 2),
            num_steps=config.classifier_steps, checkpoint_folder=folder / "classifier", progress=config.progress,
        )  # fmt: skip
    else:
        features = feature_spaces.pca(x, num_features)
    setup = dataclasses.replace(setup, features=features, forms=closed_forms(setup, say))
    say(f"closed forms: {time.perf_counter() - started:.0f} s; realism in the features of {features.name}")

    results = {"estimates": estimates, "cells": {}, "sweep": sweep_names(config, variants)}
    samples, todo = {}, sum(map(len, cells.values()))
    done, began = 0, time.perf_counter()
    for part, members in cells.items():
        found = results["cells"][part] = []
        for cell in members:
            numbers, arrays = setup.run(cell)
            found.append({"label": cell.label, "folder": cell.folder, "seed": cell.seed, **numbers})
            samples[cell.folder] = arrays.get("samples")
            done += 1
            left = (time.perf_counter() - began) / done * (todo - done)
            say(f"[{done}/{todo}] {cell.label}: {numbers['seconds']:.0f} s; about {left:.0f} s left", flush=True)
        metrics = unet_variants_report.write(setup, variants, results, samples)  # of the parts so far
        metrics["seconds"] = time.perf_counter() - started
        runs.write_json(folder / "metrics.json", metrics)
    say(f"\n{(folder / 'summary.md').read_text()}\n{metrics['seconds']:.0f} s in all; written to {folder}/")
    return metrics


def resolve(config: Config) -> Config:
    """Fill in what `--small` and defaults set."""
    if config.small:
        config = dataclasses.replace(config, **SMALL)
        if config.network is None:
            config = dataclasses.replace(config, variants=config.variants or SMALL_VARIANTS)
    name = f"unet-variants-{Path(config.dataset).stem}" + ("-small" if config.small else "")
    return dataclasses.replace(config, name=config.name or name)


def closed_forms(setup: Setup, say=print) -> dict[str, np.ndarray]:
    """Samples of every closed form from the first seeds, computed once per run."""
    path = setup.folder / "closed_forms.npz"
    if path.exists():
        with np.load(path) as stored:
            return dict(stored)
    config, x, sigmas = setup.config, setup.x, setup.sigmas
    z = setup.z[: config.num_pairs]
    predicted = predicted_patch_sizes(x, sigmas)
    sizes = [min(config.els_sizes, key=lambda k, wanted=wanted: abs(k - wanted)) for wanted in predicted]
    sizes = [min(k, 2 * max(x.shape[1:3]) - 1) for k in sizes]
    count = min(config.num_prototypes, len(np.unique(np.asarray(x), axis=0)))
    machine = lambda boundary: by_level(x, sigmas, sizes, equivariant=True, boundary=boundary)  # noqa: E731
    forms = {
        "empirical": lambda: EmpiricalDenoiser(x, chunk_size=4096),
        "linear, full": lambda: linear.fit(x, "full"),
        "linear, stationary": lambda: linear.fit(x, "stationary"),
        "linear, local": lambda: linear.fit(x, "local", kernel_size=3),
        "linear, pixelwise": lambda: linear.fit(x, "pixelwise"),
        "polynomial (PCA, 2)": lambda: polynomial.fit(x, 2, basis="pca", sigmas=sigmas),
        f"{count} prototypes": lambda: bottleneck.fit_prototypes(x, count, jax.random.key(config.seed + 3)),
        "ELS, border": lambda: machine("broken"),
        "ELS, circular": lambda: machine("circular"),
    }
    samples = {}
    for name, build in forms.items():
        if config.small and name not in SMALL_FORMS:
            continue
        began = time.perf_counter()
        # A polynomial may diverge: such a sample is held at the edge of what is compared.
        samples[name] = np.clip(np.nan_to_num(np.asarray(draw(build(), z, sigmas, batch_size=8))), -10, 10)
        say(f"{name}: {time.perf_counter() - began:.0f} s")
    np.savez(path.with_name("closed_forms.partial.npz"), **samples)
    path.with_name("closed_forms.partial.npz").replace(path)
    return samples


def _estimate_table(config, estimates, cells) -> str:
    rows = [
        [name, f"{e['parameters']}", f"{e['gflop_per_step']:.2f}", f"{e['memory_mib']:.0f}", f"{e['seconds']:.0f}"]
        for name, e in estimates.items()
    ]
    networks = sum(map(len, cells.values()))
    per_network = {name: e["seconds"] for name, e in estimates.items()}
    seeds = config.training_seeds if "variants" in cells else 0
    first = next(iter(per_network.values()))
    total = seeds * sum(per_network.values()) + first * (networks - seeds * len(per_network))
    table = runs.table(["variant", "parameters", "GFLOP a step", "MiB", "s a network"], rows)
    return (
        f"{table}\nEstimate: {networks} networks, {total / 60:.1f} minutes of training beside compilation and sampling"
    )


if __name__ == "__main__":
    runs.cli(main, Config, __doc__)
