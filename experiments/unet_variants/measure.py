"""What the parts of the study measure: their networks, and what needs several of them."""

import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from experiments.runner import Arrays, Measured, Numbers, Run
from experiments.unet_variants.columns import COLUMNS, find_number
from experiments.unet_variants.estimate import estimate, estimate_table
from experiments.unet_variants.forms import closed_forms
from experiments.unet_variants.network import measure_network
from experiments.unet_variants.prepare import Setup
from jaxcreativity.metrics import agreement
from jaxcreativity.metrics import features as feature_spaces

SHOWN = 12
"""Samples of each that the figure shows."""


def measure_variants(run: Run, setup: Setup) -> Measured:
    """Every variant with every training seed."""
    numbers, samples, forms = _measure_cells(run, setup, "variants")
    cells = numbers["cells"]["variants"]
    with run.doing("comparing networks of different training seeds"):
        rows = [_row(name, setup, cells, samples, list(forms)) for name in setup.variants]
    arrays = {f"form/{name}": form[:SHOWN] for name, form in forms.items()}
    for name in setup.variants:
        images = samples[next(cell["folder"] for cell in cells if cell["name"] == name)]
        if images is not None:
            arrays[f"variant/{name}"] = images[: min(SHOWN, setup.config.num_pairs)]
    return numbers | {"variants": rows, "seconds": time.perf_counter() - run.started}, arrays


def measure_sweep(run: Run, setup: Setup) -> Measured:
    """The baseline and one variant on training sets of all sizes."""
    numbers, _, _ = _measure_cells(run, setup, "sweep")
    return numbers | {"seconds": time.perf_counter() - run.started}, {}


def measure_controls(run: Run, setup: Setup) -> Measured:
    """Shuffled pixels, and pairs of networks of disjoint training sets."""
    numbers, samples, _ = _measure_cells(run, setup, "controls")
    pairs: dict[int, list[Numbers]] = {}
    for cell in numbers["cells"]["controls"]:
        if cell["label"].startswith("part"):
            pairs.setdefault(cell["count_planned"], []).append(cell)
    with run.doing("comparing networks of disjoint training sets"):
        rows = [
            {
                "count": count,
                "correlation": _median_agreement([samples[cell["folder"]] for cell in pair], setup.config.num_pairs),
                "memorised": [find_number(COLUMNS["memorised"], cell) for cell in pair],
            }
            for count, pair in pairs.items()
        ]
    return numbers | {"disjoint": rows, "seconds": time.perf_counter() - run.started}, {}


def _measure_cells(run: Run, setup: Setup, part: str) -> tuple[Numbers, dict[str, np.ndarray | None], Arrays]:
    """Numbers and samples of all networks of a part, and samples of the closed forms."""
    estimates, _ = run.stage("estimates", lambda: _estimate(run, setup))
    features = _features(run, setup)
    forms = closed_forms(run, setup)
    found, samples, spent = [], {}, 0.0
    members = setup.cells[part]
    for done, cell in enumerate(members, start=1):
        began = time.perf_counter()
        numbers, arrays = measure_network(run, setup, cell, features, forms)
        spent += time.perf_counter() - began
        found.append({
            "label": cell.label, "folder": cell.folder, "name": cell.name, "seed": cell.seed,
            "count_planned": cell.count, **numbers,
        })  # fmt: skip
        samples[cell.folder] = arrays.get("samples")
        left = spent / done * (len(members) - done)
        run.say(f"[{done}/{len(members)}] {cell.label}: {numbers['seconds']:.0f} s; about {left:.0f} s left")
    data = {"train": len(setup.x), "test": len(setup.test), "shape": list(setup.x.shape[1:])}
    shared = {"data": data, "features": features.name, "estimates": estimates, "sweep": setup.swept}
    return shared | {"cells": {part: found}}, samples, forms


def _estimate(run: Run, setup: Setup) -> Measured:
    with run.doing(f"estimating what {len(setup.variants)} variants take"):
        estimates = estimate(setup)
    run.say(estimate_table(setup, estimates))
    return estimates, {}


def _features(run: Run, setup: Setup) -> Any:
    """The space that realism is measured in."""
    if setup.labels is None:
        return feature_spaces.pca(setup.x, setup.num_features)
    config = setup.config
    with run.doing("training the classifier whose features realism is measured in"):
        return feature_spaces.classifier(
            setup.x, setup.labels[0], setup.test, setup.labels[1], key=jax.random.key(config.seed + 2),
            num_steps=config.classifier_steps, checkpoint_folder=run.folder / "classifier", progress=config.progress,
        )  # fmt: skip


def _row(name: str, setup: Setup, cells: list[Numbers], samples: dict[str, Any], forms: list[str]) -> Numbers:
    """Mean and standard deviation over training seeds of every number of a variant."""
    own = [cell for cell in cells if cell["name"] == name]
    row: Numbers = {"name": name, "failed": [cell["failed"] for cell in own if "failed" in cell]}
    for column, find in COLUMNS.items():
        values = [value for cell in own if (value := find_number(find, cell)) is not None]
        row[column] = {"mean": float(np.mean(values)), "sd": float(np.std(values))} if values else None
    row["agreement"] = {}
    for form in forms:
        medians = [cell["agreement"][form] for cell in own if (cell.get("agreement") or {}).get(form)]
        row["agreement"][form] = float(np.mean([m["pearson_median"] for m in medians])) if medians else None
    images = [samples[cell["folder"]] for cell in own]
    row["agreement"]["another seed"] = _median_agreement(images, setup.config.num_pairs)
    known = {form: r for form, r in row["agreement"].items() if r is not None and form != "another seed"}
    row["best"] = max(known, key=known.get) if known else None
    return row


def _median_agreement(images: Sequence[np.ndarray | None], count: int) -> float | None:
    """Median correlation of pairs of networks on the noises on which both are finite; mean over the pairs."""
    found, images = [], [x for x in images if x is not None]
    for i, a in enumerate(images):
        for b in images[:i]:
            finite = np.isfinite(a[:count] + b[:count]).reshape(count, -1).all(axis=1)
            if finite.any():
                pairs = (np.clip(x[:count][finite], -10, 10) for x in (a, b))
                found.append(agreement(*pairs).summary()["pearson_median"])
    return float(np.mean(found)) if found else None
