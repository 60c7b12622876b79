"""Figures of the variants."""

import numpy as np

from experiments.runner import Arrays, Numbers, Run
from jaxcreativity import plotting


def draw_samples(run: Run, rows: list[Numbers], arrays: Arrays) -> bool:
    """Variants (first training seed), closed forms below, a noise per column; whether images can be shown."""
    images = {
        name.removeprefix("variant/"): np.clip(np.nan_to_num(x), -1, 1)
        for name, x in arrays.items()
        if name.startswith("variant/")
    }
    forms = {name.removeprefix("form/"): x for name, x in arrays.items() if name.startswith("form/")}
    if next(iter(forms.values())).shape[3] not in (1, 3):
        return False
    notes = {row["name"]: f"{row['best']}: {row['agreement'][row['best']]:.2f}" for row in rows if row["best"]}
    notes = {name: note for name, note in notes.items() if name in images}
    title = f"{run.settings.dataset}: at the right the closed form nearest, median correlation"
    run.save(plotting.sample_grid(images | {"closed forms": forms}, title=title, notes=notes), "samples.png")
    return True


def draw_trade_off(run: Run, numbers: Numbers, held_out: Numbers) -> bool:
    """Novelty against realism, a point per variant; whether there are any."""
    drawn = [row for row in numbers["variants"] if row["novelty"] and row["frechet"]]
    if not drawn:
        return False
    many = run.settings.training_seeds > 1
    figure, ((axes,),) = plotting.panels(1, 1, height=4.2)
    for index, row in enumerate(drawn):
        style = {
            "color": plotting.COLOURS[index % 6], "marker": "osD^vP"[index // 6 % 6], "markersize": 5,
            "linestyle": "none", "label": row["name"],
        }  # fmt: skip
        x, y = row["novelty"], row["frechet"]
        if many:
            axes.errorbar(x["mean"], y["mean"], xerr=x["sd"], yerr=y["sd"], linewidth=1, **style)
        else:
            axes.plot(x["mean"], y["mean"], **style)
    if held_out:
        axes.plot(1.0, held_out["frechet"], "k*", markersize=10, label="held-out images", linestyle="none")
    axes.set(
        xlabel="novelty: distance to nearest training image / that of held-out images",
        ylabel=f"squared Fréchet distance from the data,\nin the features of {numbers['features']}",
    )  # fmt: skip
    plotting.plain_log(axes, "y")
    spread = ": mean and standard deviation" if many else ""
    axes.set_title(f"{_facts(run, numbers)}\n{run.settings.num_samples} samples of each{spread}", fontsize=9)
    plotting.legend(figure, loc="outside right upper", ncols=1)
    run.save(figure, "novelty_realism.png")
    return True


def draw_agreement(run: Run, numbers: Numbers) -> None:
    """Median correlation of every network (row) with every closed form (column)."""
    rows = numbers["variants"]
    columns = [c for c in rows[0]["agreement"] if any(row["agreement"][c] is not None for row in rows)]
    values = np.array([[np.nan if (r := row["agreement"][c]) is None else r for c in columns] for row in rows])
    if not columns:
        values = np.full((len(rows), 1), np.nan)
    width = min(plotting.PAGE_WIDTH, 0.72 * max(1, len(columns)) + 3.2)
    figure, ((axes,),) = plotting.panels(1, 1, width=width, height=0.27 * len(rows) + 1.6)
    lowest = min(0.0, np.nanmin(values, initial=0.0))
    image = axes.imshow(values, vmin=lowest, vmax=1, cmap="viridis", aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            best = columns[j] == rows[i]["best"]
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, weight="bold" if best else "normal",
                      color="black" if value > 0.6 else "white")  # fmt: skip
        elif not np.isnan(values[i]).all():
            axes.text(j, i, "–", ha="center", va="center", fontsize=8)
    for i in np.flatnonzero(np.isnan(values).all(axis=1)):
        failed = "training failed" if rows[i]["failed"] else "no finite sample"
        axes.text((values.shape[1] - 1) / 2, i, failed, ha="center", va="center", fontsize=8)
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=8)
    axes.set_title(
        f"{_facts(run, numbers)}: correlation of the\nimages that closed form (column) and network (row) make\n"
        f"of the same noise, median over {run.settings.num_pairs} noises; bold: the best",
        fontsize=8.5,
    )
    bar = figure.colorbar(image, ax=axes, shrink=0.9)
    bar.ax.tick_params(labelsize=8)
    run.save(figure, "agreement.png")


def _facts(run: Run, numbers: Numbers) -> str:
    """What a figure of the variants is of."""
    seeds = run.settings.training_seeds
    return f"{run.settings.dataset}, {numbers['data']['train']} images, {seeds} training seed{'s' * (seeds > 1)}"
