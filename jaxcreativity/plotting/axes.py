"""Colours, axes, curves and legends that stay honest and legible when a figure is small; writing a figure."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, StrMethodFormatter

from jaxcreativity.plotting._figure import NotebookFigure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe & Ito (2008): told apart with every common form of colour blindness. Black is for what is compared with."""

PAGE_WIDTH = 7.5
"""Inches. Text of 8 points is legible where a figure of this width is shown as wide as a page."""

_FEWEST_FOR_A_LINE = 3


def panels(
    rows: int,
    columns: int,
    *,
    width: float = PAGE_WIDTH,
    height: float = 2.6,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, np.ndarray]:
    """A figure with a grid of axes whose numbers and labels have 8 points; titles and legends need `fontsize=8`.

    Args:
        rows: of the grid.
        columns: of the grid.
        width: of the figure, in inches.
        height: of a row, in inches.
        sharex: whether all panels have one horizontal axis.
        sharey: whether all panels have one vertical axis.

    Returns:
        The figure, and its axes `(rows, columns)`.

    Example:
        >>> figure, axes = panels(1, 2)
        >>> axes.shape
        (1, 2)
    """
    figure = NotebookFigure(figsize=(width, height * rows + 0.4), dpi=150, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    for axes in grid.ravel():
        axes.tick_params(which="both", labelsize=8)
        for axis in (axes.xaxis, axes.yaxis):
            axis.label.set_size(8)
            axis.get_offset_text().set_size(8)
    return figure, grid


def curve(
    axes: Axes,
    x: Iterable,
    y: Iterable,
    *,
    low: Iterable | None = None,
    high: Iterable | None = None,
    label: str | None = None,
    color: str = COLOURS[0],
    marker: str | None = "o",
    linestyle: str = "-",
    **style: Any,
) -> None:
    """Measured points, joined by a line only if they are three or more: two points show no course.

    Points without a value (`None`, NaN, infinite) are left out; if all are, nothing is drawn and the legend has no
    entry. An interval is a band around a line, a bar at each of two points or one.

    Args:
        axes: drawn into.
        x: where, numbers.
        y: values, numbers or `None`.
        low: lower ends of intervals; needs `high`.
        high: upper ends.
        label: for the legend.
        color: of everything.
        marker: of the points; `None` for a line alone, while there is one.
        linestyle: of the line.
        **style: further properties of Matplotlib's `Line2D`.

    Raises:
        ValueError: if the numbers of x, y, low and high differ, or only one of `low` and `high` is given.

    Example:
        >>> axes = Figure().subplots()
        >>> curve(axes, [1, 2, 4], [0.1, 0.4, None], label="network")
        >>> axes.lines[0].get_linestyle()
        'None'
    """
    if (low is None) != (high is None):
        raise ValueError("an interval needs both low and high")
    given = {"x": x, "y": y} | ({} if low is None else {"low": low, "high": high})
    values = {name: np.asarray(list(v), float) for name, v in given.items()}
    if len({v.shape for v in values.values()}) > 1:
        counts = ", ".join(f"{name} {v.size}" for name, v in values.items())
        raise ValueError(f"x, y, low and high must have one entry per point, got {counts}")
    shown = np.isfinite(values["x"]) & np.isfinite(values["y"])
    if not shown.any():
        return
    x, y, *ends = (v[shown] for v in values.values())
    joined = x.size >= _FEWEST_FOR_A_LINE
    style = {"markersize": 4, "linewidth": 1.5, "color": color, "marker": marker, "linestyle": linestyle} | style
    if not joined:
        style |= {"marker": marker or "o", "linestyle": "none"}
    axes.plot(x, y, label=label, **style)
    if ends and joined:
        axes.fill_between(x, *ends, color=color, alpha=0.2, linewidth=0)
    elif ends:
        axes.vlines(x, *ends, color=color, alpha=0.5, linewidth=style["linewidth"])


def legend(target: Axes | Figure, *, panels: Iterable[Axes] | None = None, **style: Any) -> Legend | None:
    """A legend with every label once, and only of what can be seen. Call it last, when everything is drawn.

    Left out are lines without a point inside their panel's limits, and sets of points without any.

    Args:
        target: axes, or a figure for one legend of all its panels, below them.
        panels: axes whose entries are gathered; those of `target` by default.
        **style: of Matplotlib's `legend`, e.g. `loc`, `ncols`; without frame and in 8 points by default.

    Returns:
        The legend, `None` if it would be empty.

    Example:
        >>> axes = Figure().subplots()
        >>> _ = axes.plot([], [], label="nothing"), axes.axhline(0.5, label="held out")
        >>> [text.get_text() for text in legend(axes).get_texts()]
        ['held out']
    """
    if panels is None:
        panels = target.axes if isinstance(target, Figure) else [target]
    found = {}
    for axes in panels:
        axes.get_xlim(), axes.get_ylim()  # Matplotlib sets pending limits when it is asked for them
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if label not in found and _is_seen(axes, handle):
                found[label] = handle
    if not found:
        return None
    defaults = {"fontsize": 8, "frameon": False}
    if isinstance(target, Figure):
        defaults |= {"loc": "outside lower center", "ncols": min(len(found), 4)}
    return target.legend(list(found.values()), list(found), **(defaults | style))


def plain_log(axes: Axes, which: Literal["x", "y"], ticks: Sequence[float | int] | None = None) -> None:
    """Make one axis logarithmic, with plain numbers at `ticks`, or else at 1, 2 and 5 times powers of ten.

    Args:
        axes: whose axis.
        which: `"x"` or `"y"`.
        ticks: where numbers stand.
    """
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


def _is_seen(axes: Axes, handle: Any) -> bool:
    """Whether any part of what a legend entry stands for lies inside the axes' limits; other artists count as seen."""
    if isinstance(handle, Container):  # error bars, bars, stems: their first part has the points
        handle = next((part for part in handle if part is not None), None)
    if isinstance(handle, PathCollection):
        return bool(np.isfinite(np.ma.filled(handle.get_offsets(), np.nan)).all(axis=1).any())
    if not isinstance(handle, Line2D):
        return handle is not None
    path = handle.get_transform().transform_path(handle.get_path())
    inside = axes.bbox.padded(1)
    points = path.vertices[np.isfinite(path.vertices).all(axis=1)]
    if any(inside.contains(*point) for point in points):
        return True
    joined = handle.get_linestyle() not in ("None", "none", "", " ") and len(points) > 1
    return joined and path.intersects_bbox(inside, filled=False)
