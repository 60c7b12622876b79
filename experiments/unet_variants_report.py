"""Tables and figures of `experiments.unet_variants`, from the numbers of its networks."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments import runs
from experiments.unet_variants_run import Setup
from experiments.unet_variants_setup import Variant
from jaxcreativity import plotting
from jaxcreativity.metrics.comparison import agreement

# In metrics.json, by row of the table: how to find each number in the numbers of one network.
COLUMNS = {
    "finite": lambda n: n["num_finite"],
    "loss": lambda n: n["loss_test"],
    "gap": lambda n: n["loss_test"] / n["loss_train"],
    "memorised": lambda n: n["novelty"]["memorised_fraction"],
    "novelty": lambda n: n["novelty"]["distance_median"] / n["novelty"]["held_out_distance_median"],
    "patch 3": lambda n: n["patches"]["patch3_nearer"],
    "patch 7": lambda n: n["patches"]["patch7_nearer"],
    "frechet": lambda n: n["realism"]["frechet"],
    "kid": lambda n: n["realism"]["kernel_distance"],
    "precision": lambda n: n["realism"]["precision"],
    "recall": lambda n: n["realism"]["recall"],
    "coverage": lambda n: n["realism"]["coverage"],
    "spectrum": lambda n: n["realism"]["spectrum_error"],
}


def write(setup: Setup, variants: dict[str, Variant], results: dict[str, Any], samples: dict[str, Any]):
    """Write summary.md and the figures; returns the content of metrics.json."""
    cells, sections = results["cells"], []
    if cells.get("variants"):
        rows = [_row(name, setup, cells["variants"], samples) for name in variants]
        results["variants"] = rows
        sections.append(_variants(setup, rows, cells["variants"], samples))
    if cells.get("sweep"):
        sections.append(_sweep(setup, results["sweep"], cells["sweep"]))
    if cells.get("controls"):
        sections.append(_controls(setup, cells["controls"], samples))
    config, environment = setup.config, runs.environment()
    head = f"""# {config.dataset}: one change of the UNet at a time

{len(setup.x)} training images of {setup.x.shape[1:]}, {len(setup.test)} held out; {config.train_steps} steps of
{config.batch_size} images per noise level; {config.sampler_steps} DDIM steps; {config.num_samples} samples, the first
{config.num_pairs} compared with closed forms; realism in the features of {setup.features.name}; device
{environment["device"]["kind"]}, commit {environment["commit"]}.
"""
    runs.write_text(setup.folder / "summary.md", "\n".join([head, *sections]))
    return results


# --- variants -----------------------------------------------------------------------------------------------------


def _members(name, cells):
    return [cell for cell in cells if cell["label"].rpartition(", seed ")[0] == name]


def _number(find, cell):
    try:
        value = find(cell)
    except (KeyError, TypeError, ZeroDivisionError):  # nothing finite was generated, or training failed
        return None
    return None if value is None or not np.isfinite(value) else float(value)


def _row(name, setup, cells, samples):
    """Mean and standard deviation over training seeds of every number of a variant."""
    own = _members(name, cells)
    row = {"name": name, "failed": [cell["failed"] for cell in own if "failed" in cell]}
    for column, find in COLUMNS.items():
        values = [value for cell in own if (value := _number(find, cell)) is not None]
        row[column] = {"mean": float(np.mean(values)), "sd": float(np.std(values))} if values else None
    row["agreement"] = {}
    for form in setup.forms:
        medians = [cell["agreement"][form] for cell in own if (cell.get("agreement") or {}).get(form)]
        row["agreement"][form] = float(np.mean([m["pearson_median"] for m in medians])) if medians else None
    images = [samples[cell["folder"]] for cell in own if samples[cell["folder"]] is not None]
    row["agreement"]["another seed"] = _median_agreement(images, setup.config.num_pairs)
    known = {form: r for form, r in row["agreement"].items() if r is not None and form != "another seed"}
    row["best"] = max(known, key=known.get) if known else None
    return row


def _median_agreement(images, count):
    """Median correlation of pairs of networks on the seeds on which both are finite; mean over the pairs."""
    found = []
    for i, a in enumerate(images):
        for b in images[:i]:
            finite = np.isfinite(a[:count] + b[:count]).reshape(count, -1).all(axis=1)
            if finite.any():
                pairs = (np.clip(x[:count][finite], -10, 10) for x in (a, b))
                found.append(agreement(*pairs).summary()["pearson_median"])
    return float(np.mean(found)) if found else None


def _variants(setup, rows, cells, samples) -> str:
    reference = next((cell for cell in cells if cell.get("realism")), None)
    held_out = {}
    if reference:
        found = reference["realism"]
        held_out = {
            "frechet": found["held_out_frechet"], "kid": found["held_out_kernel_distance"],
            "precision": found["held_out_precision"], "recall": found["held_out_recall"],
            "coverage": found["held_out_coverage"], "spectrum": found["held_out_spectrum_error"],
            "memorised": reference["novelty"]["held_out_memorised_fraction"], "novelty": 1.0, "patch 3": 0.5,
            "patch 7": 0.5,
        }  # fmt: skip
    shown = [column for column in COLUMNS if column != "gap"]
    table = runs.table(
        ["variant", *shown],
        [[row["name"], *(_cell(row[column]) for column in shown)] for row in rows]
        + [["held-out images", *(f"{held_out[column]:.3f}" if column in held_out else "–" for column in shown)]],
    )
    best = runs.table(
        ["variant", "best closed form", "r", "another seed"],
        [
            [row["name"], row["best"] or "–", _short(row["agreement"].get(row["best"])),
             _short(row["agreement"]["another seed"])]
            for row in rows
        ],
    )  # fmt: skip
    _samples_figure(setup, rows, cells, samples)
    _trade_off(setup, rows, held_out)
    _heat_map(setup, rows)
    seeds, pairs = setup.config.training_seeds, setup.config.num_pairs
    failures = "".join(f"\n{row['name']}: training failed ({row['failed'][0]}).\n" for row in rows if row["failed"])
    return f"""## Variants

{table}

Mean (standard deviation) over {seeds} training seeds. finite: samples that did not diverge; loss: denoising loss per
entry on held-out images, mean over the noise levels; memorised: nearest training image less than a third as far as the
second; novelty: median distance to the nearest training image, over that of held-out images; patch k: probability that
a k x k patch is nearer to a training patch than one of a held-out image is; frechet, kid, precision, recall, coverage
in the features above; spectrum: error of the radial power spectrum.
{failures}
{best}

r: correlation of the images that closed form and network make of the same noise, median over {pairs} seeds; last, of
two networks that differ in their training seed alone.

![samples](samples.png)
![novelty and realism](novelty_realism.png)
![agreement](agreement.png)
"""


def _cell(value) -> str:
    if value is None:
        return "–"
    if value["mean"] >= 100:
        return f"{value['mean']:.0f}"
    return f"{value['mean']:.3f} ({value['sd']:.3f})"


def _short(value) -> str:
    return "–" if value is None else f"{value:.3f}"


def _samples_figure(setup, rows, cells, samples):
    """Rows: variants (first training seed), closed forms below; columns: noises."""
    count = min(12, setup.config.num_pairs)
    images = {}
    for row in rows:
        found = samples[_members(row["name"], cells)[0]["folder"]]
        if found is not None:
            images[row["name"]] = np.clip(np.nan_to_num(found[:count]), -1, 1)
    forms = {"closed forms": {name: form[:count] for name, form in setup.forms.items()}}
    notes = {row["name"]: f"{row['best']}: {row['agreement'][row['best']]:.2f}" for row in rows if row["best"]}
    notes = {name: note for name, note in notes.items() if name in images}
    title = f"{setup.config.dataset}: one noise per column; at the right the closed form nearest, median correlation"
    if setup.x.shape[3] in (1, 3):
        plotting.save(plotting.sample_grid(images | forms, title=title, notes=notes), setup.folder / "samples.png")


def _trade_off(setup, rows, held_out):
    figure = Figure(figsize=(6.4, 4.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    drawn = [row for row in rows if row["novelty"] and row["frechet"]]
    for index, row in enumerate(drawn):
        colour, marker = plotting.COLOURS[index % 6], "osD^vP"[index // 6 % 6]
        axes.errorbar(
            row["novelty"]["mean"], row["frechet"]["mean"], xerr=row["novelty"]["sd"], yerr=row["frechet"]["sd"],
            color=colour, marker=marker, markersize=5, linestyle="none", linewidth=1, label=row["name"],
        )  # fmt: skip
    if held_out:
        axes.plot(1.0, held_out["frechet"], "k*", markersize=10, label="held-out images", linestyle="none")
    axes.set(
        xlabel="novelty: distance to nearest training image / that of held-out images",
        ylabel="Fréchet distance from the data",
    )  # fmt: skip
    plotting.plain_log(axes, "y")
    axes.set_title(
        f"{_facts(setup)}, {setup.config.num_samples} samples each:\nmean and standard deviation", fontsize=9
    )
    figure.legend(fontsize=7, frameon=False, loc="outside right upper")
    plotting.save(figure, setup.folder / "novelty_realism.png")


def _facts(setup) -> str:
    """What a figure of the variants is of."""
    return f"{setup.config.dataset}, {len(setup.x)} images, {setup.config.training_seeds} training seeds"


def _heat_map(setup, rows):
    columns = [*setup.forms, "another seed"]
    values = np.array([[np.nan if (r := row["agreement"][c]) is None else r for c in columns] for row in rows])
    figure = Figure(figsize=(0.62 * len(columns) + 2.2, 0.27 * len(rows) + 1.8), dpi=150, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values, vmin=min(0.0, np.nanmin(values)), vmax=1, cmap="viridis", aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            best = columns[j] == rows[i]["best"]
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=6, weight="bold" if best else "normal",
                      color="black" if value > 0.6 else "white")  # fmt: skip
    for i in np.flatnonzero(np.isnan(values).all(axis=1)):
        axes.text((len(columns) - 1) / 2, i, "training failed", ha="center", va="center", fontsize=6)
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", fontsize=7)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=7)
    axes.set_title(
        f"{_facts(setup)}: correlation of the images that closed form (column)\n"
        f"and network (row) make of the same noise, median over {setup.config.num_pairs} noises; bold: the best",
        fontsize=8,
    )
    figure.colorbar(image, ax=axes, shrink=0.7)
    plotting.save(figure, setup.folder / "agreement.png")


# --- sweep and controls -------------------------------------------------------------------------------------------


SWEEP_COLUMNS = {
    "memorised": COLUMNS["memorised"],
    "novelty": COLUMNS["novelty"],
    "frechet": COLUMNS["frechet"],
    "loss": COLUMNS["loss"],
    "gap": COLUMNS["gap"],
    "r empirical": lambda n: n["agreement"]["empirical"]["pearson_median"],
}


def _sweep(setup, names, cells) -> str:
    rows = []
    for cell in cells:
        name = cell["label"].rpartition(", ")[0]
        rows.append({"name": name, "count": cell["count"]} | {c: _number(f, cell) for c, f in SWEEP_COLUMNS.items()})
    figure = Figure(figsize=(9, 3), dpi=150, layout="constrained")
    panels = figure.subplots(1, 3)
    shown = {
        "memorised": "memorised fraction",
        "novelty": "novelty: distance to nearest training\nimage / that of held-out images",
        "frechet": "Fréchet distance from the data",
    }
    held_out = {"novelty": 1.0, "frechet": _number(lambda n: n["realism"]["held_out_frechet"], cells[-1])}
    for axes, (column, label) in zip(panels, shown.items(), strict=True):
        for colour, name in zip(plotting.COLOURS, names, strict=False):
            points = [(row["count"], row[column]) for row in rows if row["name"] == name and row[column] is not None]
            axes.plot(*np.array(points).reshape(-1, 2).T, "o-", color=colour, label=name, markersize=4)
        if held_out.get(column) is not None:
            axes.axhline(held_out[column], color="0.5", linestyle=":", label="held-out images")
        axes.set(xscale="log", xlabel="training images N")
        axes.set_ylabel(label, fontsize=8)
    plotting.plain_log(panels[2], "y")
    figure.legend(*panels[1].get_legend_handles_labels(), fontsize=7, frameon=False, loc="outside right center")
    facts = runs.facts(setup.config.dataset, setup.x)
    figure.suptitle(f"{facts}: {setup.config.num_samples} samples of one network each, one training seed", fontsize=9)
    plotting.save(figure, setup.folder / "sweep.png")
    table = runs.table(
        ["network", "N", *SWEEP_COLUMNS],
        [[row["name"], str(row["count"]), *(_short(row[column]) for column in SWEEP_COLUMNS)] for row in rows],
    )
    return f"""## Data size

{table}

One training seed. novelty as above, of those N images; frechet from all training images; gap: loss on held-out over
loss on training images; r empirical: correlation with the empirical denoiser of those N images, same noise.

![sweep](sweep.png)
"""


def _controls(setup, cells, samples) -> str:
    count = setup.config.num_pairs
    shuffled = next(cell for cell in cells if cell["label"] == "shuffled pixels")
    lines = runs.table(
        ["shuffled pixels", "value"],
        [[column, _short(_number(find, shuffled))] for column, find in COLUMNS.items()]
        + [
            [f"r, {name}", _short(found["pearson_median"] if found else None)]
            for name, found in (shuffled.get("agreement") or {}).items()
        ],
    )
    pairs = {}
    for cell in cells:
        if cell["label"].startswith("part"):
            pairs.setdefault(cell["count"], []).append(cell)
    rows = []
    for n, pair in pairs.items():
        images = [samples[cell["folder"]] for cell in pair]
        r = None if any(x is None for x in images) else _median_agreement(images, count)
        memorised = [_number(COLUMNS["memorised"], cell) for cell in pair]
        rows.append([str(n), _short(r), *map(_short, memorised)])
    table = runs.table(["N of each", "correlation", "memorised, first", "memorised, second"], rows)
    return f"""## Controls

The baseline on images whose pixels were shuffled by one permutation (samples are shuffled back before all measures):

{lines}

Two networks trained on disjoint sets of N images, from the same noise:

{table}

Correlation: median over {count} seeds.
"""
