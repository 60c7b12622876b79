"""Figures: samples of several denoisers side by side, and spectra of their covariances.

Every function returns a `matplotlib.figure.Figure` that belongs to no window and no global state (no pyplot), so it
works on a machine without display and leaves a notebook's own figures alone; `save` writes it.

Both figures take a mapping from name to content, and a mapping inside it is a group, e.g.
`{"full": {"theory": x, "trained": y}}`: its members are drawn next to each other, in a colour per member's name that is
the same in all groups.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, StrMethodFormatter

from jaxcreativity import _checks

# Okabe & Ito (2008): told apart with every common form of colour blindness. Black is for what is compared with.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_SHARED_COLOURS = ("black", "#7F7F7F")
_MARKERS = (None, "o", "s", "^", "D", "v")
_PIXEL_ROW = 0.62  # inches per row of images


def sample_grid(
    rows: Mapping[str, Any],
    *,
    title: str | None = None,
    seeds: Sequence[int] | None = None,
    notes: Mapping[str, str] | None = None,
    columns: str = "seed",
    caption: str | None = None,
) -> Figure:
    """Images in a grid: one row per denoiser, one column per seed, so that a column shows one noise vector's fates.

    Images are clipped to [-1, 1], black to white or RGB.

    Args:
        rows: name -> images `(n, height, width, channels)` with 1 or 3 channels, or name of a group ->
            {name: images}; all with the same n. Rows of a group stand close together, e.g. theory above trained.
        title: above the grid.
        seeds: what to write above each column, by default 0 to n - 1.
        notes: name of a row or a group -> text at its right end, e.g. the median correlation.
        columns: what the numbers above the columns are.
        caption: below the grid; by default that a column starts from one noise. How values are shown is added.

    Raises:
        ValueError: if there are no rows, images are not `(n, height, width, 1 or 3)`, floating point and finite, the
            numbers of images or seeds differ, or a note belongs to no row.
    """
    groups = _groups("rows", rows)
    images = {
        (group, name): _images(group if name is None else f"{group}: {name}", x)
        for group, members in groups.items()
        for name, x in members.items()
    }
    counts = {row: x.shape[0] for row, x in images.items()}
    n = next(iter(counts.values()))
    if len(set(counts.values())) > 1:
        raise ValueError(f"every row needs the same number of images, one per seed, got {list(counts.values())}")
    seeds = list(range(n)) if seeds is None else list(seeds)
    if len(seeds) != n:
        raise ValueError(f"seeds must name each of the {n} columns, got {len(seeds)}")
    notes = {} if notes is None else dict(notes)
    if unknown := set(notes) - set(groups):
        raise ValueError(f"notes must belong to {', '.join(groups)}; got {', '.join(sorted(unknown))}")

    # Rows of a group touch; groups are apart. Heights in units of a row.
    gap, height, tops = 0.3, 0.0, {}
    for group, members in groups.items():
        for name in members:
            tops[group, name] = height
            height += 1.0
        height += gap
    height -= gap

    # Inches around the grid: what the longest labels take at their font sizes.
    roles = _roles(groups)
    indent = 0.15 + 0.085 * max(map(len, roles)) if roles else 0.0
    left = 0.2 + 0.085 * max(map(len, groups)) + indent
    right = 0.15 + 0.075 * max([0, *map(len, notes.values())])
    above, below = 0.3 + (0.35 if title else 0.0), 0.35
    aspect = max(x.shape[2] / x.shape[1] for x in images.values())
    inside = n * aspect * _PIXEL_ROW, height * _PIXEL_ROW
    # A narrow grid leaves room for caption and title.
    slack = max(0.0, max(6.2, 0.115 * len(title or "")) - (left + inside[0] + right))
    left, right = left + slack / 2, right + slack / 2
    size = left + inside[0] + right, above + inside[1] + below
    figure = Figure(figsize=size, dpi=150)
    to_x, to_y = (lambda inches: inches / size[0]), (lambda inches: 1 - inches / size[1])

    for (group, name), x in images.items():
        top = above + tops[group, name] * _PIXEL_ROW
        axes = figure.add_axes((to_x(left), to_y(top + _PIXEL_ROW), to_x(inside[0]), _PIXEL_ROW / size[1]))
        strip, centres = _strip(x)
        axes.imshow(strip, interpolation="nearest", aspect="auto", resample=False)
        axes.set_yticks([])
        axes.set_xticks([])
        axes.spines[:].set_visible(False)
        axes.set_label(group if name is None else f"{group}: {name}")
        if top == above:
            axes.xaxis.tick_top()
            axes.set_xticks(centres, [str(seed) for seed in seeds], fontsize=8)
            axes.tick_params(length=0, pad=2)
        if name is not None:
            colour = COLOURS[roles.index(name) % len(COLOURS)]
            middle = top + _PIXEL_ROW / 2
            figure.text(
                to_x(left - 0.12), to_y(middle), name, ha="right", va="center", fontsize=8, color=colour, weight="bold"
            )
            axes.spines["left"].set(visible=True, color=colour, linewidth=3)

    for group, members in groups.items():
        middle = above + (tops[group, next(iter(members))] + len(members) / 2) * _PIXEL_ROW
        edge = left - 0.12 - (0.0 if None in members else indent)
        figure.text(to_x(edge), to_y(middle), group, ha="right", va="center", fontsize=9)
        if group in notes:
            figure.text(to_x(left + inside[0] + 0.1), to_y(middle), notes[group], ha="left", va="center", fontsize=8)
    figure.text(to_x(left - 0.12), to_y(above - 0.1), columns, ha="right", va="center", fontsize=8)
    if title:
        figure.text(0.5, to_y(0.2), title, ha="center", va="center", fontsize=11)
    shades = "−1 black, 1 white" if all(x.shape[3] == 1 for x in images.values()) else "RGB"
    caption = caption or f"{n} seeds; samplers in one column start from the same noise."
    caption = f"{caption} Values clipped to [−1, 1], {shades}."
    figure.text(0.5, 0.12 / size[1], caption, ha="center", va="center", fontsize=8)
    return figure


def spectra(
    curves: Mapping[str, Any],
    *,
    title: str | None = None,
    counts: Mapping[str, int] | None = None,
    modes_of: str | None = None,
    relative: bool = False,
    unit: str = "squared pixel value, images in [−1, 1]",
) -> Figure:
    """Variance per mode on logarithmic axes: of the data, as predicted, and as sampled.

    Curves outside groups (the data) are drawn in every panel, each group gets a panel of its own. The member's name
    that comes first of all (theory) is a line, the others (samples of a trained network) are markers.

    Two ways to compare covariances:

    - by default every curve shows its own eigenvalues in decreasing order. Those of a covariance estimated from n
      samples are spread out by sampling (the largest too large, all beyond the n-th zero), the law being right.
    - `modes_of="data"` shows the variances along the eigenvectors of that curve, `v_i^T C v_i`, for which sampling is
      unbiased, and so compares the same direction everywhere; with `relative=True` divided by the data's variance,
      i.e. the gain in variance of each mode.

    Modes with less than 1e-7 of the largest value in the figure are not drawn; where that leaves some out, the legend
    says how many are left.

    Args:
        curves: name -> covariance `(d, d)` or variances per mode `(d,)`, or name of a group -> {name: either}.
        title: above the figure.
        counts: name of a curve, or `"group: member"`, or a member's name in every group -> number of samples that it
            was estimated from, for the legend.
        modes_of: name of an ungrouped curve, a covariance, whose eigenvectors are the modes of all.
        relative: divide by the variances of `modes_of`.
        unit: of a variance, for the axis.

    Raises:
        ValueError: if there are no curves, one is not a finite, floating-point `(d, d)` symmetric matrix or `(d,)`,
            none has any variance, counts belong to no curve, `modes_of` is no ungrouped covariance, variances are
            given where covariances are needed, or `relative` comes without `modes_of`.
    """
    groups = _groups("curves", curves)
    matrices = {
        (group, name): _spectrum_input(group if name is None else f"{group}: {name}", c)
        for group, members in groups.items()
        for name, c in members.items()
    }
    counts = _resolve_counts({} if counts is None else counts, matrices)
    values = _variances(matrices, modes_of)
    if relative:
        if modes_of is None:
            raise ValueError('relative needs modes_of, the curve to divide by, e.g. modes_of="data"')
        values = _relative(values, values[modes_of, None])

    shared = [row for row in matrices if row[1] is None]
    panels = {group: [row for row in matrices if row[0] == group] for group, m in groups.items() if None not in m}
    panels = panels or {None: []}
    columns = min(3, math.ceil(len(panels) ** 0.5))
    lines = -(-len(panels) // columns)
    size = (4.2 * columns + 0.6 if len(panels) > 1 else 6.4), 3.4 * lines + 0.5
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes in grid[len(panels) :]:
        axes.remove()
    largest = max(float(v.max()) for v in values.values())
    if not largest > 0:
        raise ValueError("no curve has any variance: nothing to draw on logarithmic axes")
    roles = _roles(groups)
    for index, (axes, (group, members)) in enumerate(zip(grid, panels.items(), strict=False)):
        for position, row in enumerate(shared):
            _draw(axes, row, values[row], counts.get(row), largest, _shared_style(position, group is None))
        for row in members:
            _draw(axes, row, values[row], counts.get(row), largest, _member_style(roles.index(row[1])))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.grid(which="major", color="0.9")
        axes.set_axisbelow(True)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.legend(fontsize=7, frameon=False, loc="best")
        if group is not None:
            axes.set_title(group, fontsize=10)
        if index + columns >= len(panels):
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("mode, by decreasing eigenvalue" + (f" of {modes_of}" if modes_of else ""))
        if index % columns == 0:
            axes.set_ylabel(f"variance / variance of {modes_of}" if relative else f"variance\n({unit})")
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def plain_log(axes: Axes, which: Literal["x", "y"], ticks: Sequence[float | int] | None = None) -> None:
    """Make one axis logarithmic, with plain numbers at `ticks`, or else at 1, 2 and 5 times powers of ten."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)) if ticks is None else FixedLocator(ticks))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def save(figure: Figure, path: str | os.PathLike) -> Path:
    """Write a figure in the format of the path's suffix; missing folders are made, a whole file or none is left.

    Returns:
        The path.

    Raises:
        ValueError: if Matplotlib writes no such format.
    """
    path = Path(path)
    suffix = path.suffix.lower().removeprefix(".")
    formats = figure.canvas.get_supported_filetypes()
    if suffix not in formats:
        raise ValueError(f"path must end in one of .{', .'.join(sorted(formats))}; got {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        figure.savefig(partial, format=suffix)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


# --- images -------------------------------------------------------------------------------------------------------


def _strip(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One RGB image of all images side by side with white margins, and the horizontal centre of each."""
    n, height, width, _ = images.shape
    scale = -(-32 // min(height, width))  # so that a margin is thinner than a pixel of a small image
    large = np.repeat(np.repeat(0.5 * np.clip(images, -1, 1) + 0.5, scale, axis=1), scale, axis=2)
    margin = max(1, scale * height // 24)
    pad = ((0, 0), (margin, margin), (margin, margin), (0, 0))
    tiles = np.pad(np.broadcast_to(large, (*large.shape[:3], 3)), pad, constant_values=1.0)
    step = scale * width + 2 * margin
    return np.concatenate(list(tiles), axis=1), (np.arange(n) + 0.5) * step - 0.5


def _images(name, x) -> np.ndarray:
    x = np.asarray(_checks.examples(name, x, ndim=4), np.float64)
    if x.shape[3] not in (1, 3):
        raise ValueError(f"{name} must have 1 channel (grey) or 3 (RGB), got shape {x.shape}")
    return x


# --- spectra ------------------------------------------------------------------------------------------------------


def _draw(axes: Axes, row, values, count, largest, style):
    drawn = values > 1e-7 * largest
    name = row[1] or row[0]
    notes = [] if count is None else [f"{count:,} samples".replace(",", " ")]
    if not drawn.all():
        notes.append(f"{drawn.sum()} of {values.size} modes")
    label = f"{name} ({', '.join(notes)})" if notes else name
    modes = np.arange(1, values.size + 1)
    axes.plot(modes[drawn], values[drawn], label=label, **style)


def _shared_style(position, alone):
    if alone:
        # No groups: every curve has a colour, the first black.
        colour = ("black", *COLOURS)[position % (1 + len(COLOURS))]
        return {"color": colour, "linewidth": 1.5, "linestyle": ("-", "--", "-.", ":")[position % 4]}
    colour = _SHARED_COLOURS[position % len(_SHARED_COLOURS)]
    return {"color": colour, "linewidth": 1.2, "linestyle": ("-", "--", "-.", ":")[position % 4], "zorder": 1.5}


def _member_style(position):
    style = {"color": COLOURS[position % len(COLOURS)], "zorder": 2 + position}
    if position == 0:
        return style | {"linewidth": 2}
    marker = _MARKERS[1 + (position - 1) % (len(_MARKERS) - 1)]
    return style | {"linestyle": "none", "marker": marker, "markersize": 4, "markerfacecolor": "none"}


def _variances(matrices, modes_of) -> dict[Any, np.ndarray]:
    if modes_of is None:
        return {row: np.sort(c if c.ndim == 1 else np.linalg.eigvalsh(c))[::-1] for row, c in matrices.items()}
    reference = matrices.get((modes_of, None))
    if reference is None or reference.ndim != 2:
        raise ValueError(f"modes_of must name an ungrouped curve that is a covariance (d, d), got {modes_of!r}")
    vectors = np.linalg.eigh(reference)[1][:, ::-1]
    for row, c in matrices.items():
        if c.shape != reference.shape:
            raise ValueError(
                f"with modes_of every curve must be a covariance of the shape {reference.shape}, got {c.shape} for "
                f"{': '.join(filter(None, row))}"
            )
    return {row: np.einsum("im,ij,jm->m", vectors, c, vectors, optimize=True) for row, c in matrices.items()}


def _relative(values, reference):
    seen = reference > 1e-7 * reference.max()
    return {row: np.where(seen, v / np.where(seen, reference, 1.0), 0.0) for row, v in values.items()}


def _resolve_counts(counts, rows):
    """Counts per row, from keys that name a row in full or a member of every group."""
    resolved, used = {}, set()
    for row in rows:
        for key in (row[0] if row[1] is None else f"{row[0]}: {row[1]}", row[1]):
            if key in counts:
                resolved.setdefault(row, counts[key])
                used.add(key)
    if unknown := set(counts) - used:
        raise ValueError(f"counts must belong to curves, got {', '.join(sorted(unknown))}")
    return resolved


def _spectrum_input(name, curve: Shaped[ArrayLike, "..."]) -> np.ndarray:
    curve = np.asarray(curve)
    if curve.ndim not in (1, 2) or curve.size == 0 or (curve.ndim == 2 and curve.shape[0] != curve.shape[1]):
        raise ValueError(f"{name} must be a covariance (d, d) or variances (d,), got shape {curve.shape}")
    if not jnp.issubdtype(curve.dtype, jnp.floating) or not np.isfinite(curve).all():
        raise ValueError(f"{name} must be floating point and finite, got {curve.dtype}")
    curve = curve.astype(np.float64)
    if curve.ndim == 2 and np.abs(curve - curve.T).max() > 1e-3 * np.abs(curve).max():
        raise ValueError(f"{name} must be a symmetric covariance; for d x d samples pass their covariance")
    return curve


# --- names --------------------------------------------------------------------------------------------------------


def _groups(argument, content) -> dict[str, dict[str | None, Any]]:
    """Name -> members; what stands alone is its own group's member `None`."""
    if not content:
        raise ValueError(f"{argument} is empty: nothing to draw")
    groups = {name: dict(x) if isinstance(x, Mapping) else {None: x} for name, x in content.items()}
    if empty := [name for name, members in groups.items() if not members]:
        raise ValueError(f"{argument} has groups without members: {', '.join(empty)}")
    return groups


def _roles(groups) -> list[str]:
    """Names of members, each once, in the order in which they appear: one colour per name in all groups."""
    return list(dict.fromkeys(name for members in groups.values() for name in members if name is not None))
