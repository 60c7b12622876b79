"""Images in a grid: what several denoisers make of the same noises."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from jaxcreativity import _checks
from jaxcreativity.plotting._figure import NotebookFigure
from jaxcreativity.plotting._groups import Row, full_name, groups_of, roles_of
from jaxcreativity.plotting.axes import COLOURS, PAGE_WIDTH

# Inches.
_ROW = 0.62
_BETWEEN_GROUPS = 0.3 * _ROW
_GAP = 0.12

_LARGEST_TEXT = 1.4


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

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 1))
        >>> figure = sample_grid({"data": x, "linear": {"theory": x, "network": x}}, notes={"linear": "r = 1.00"})
        >>> [axes.get_label() for axes in figure.axes]
        ['data', 'linear: theory', 'linear: network']
    """
    groups = groups_of("rows", rows)
    images = {
        (group, name): _images(full_name((group, name)), x)
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
    shades = "−1 black, 1 white" if all(x.shape[3] == 1 for x in images.values()) else "RGB"
    caption = caption or f"{n} seeds; samplers in one column start from the same noise."
    caption = f"{caption} Values clipped to [−1, 1], {shades}."

    aspect = max(x.shape[2] / x.shape[1] for x in images.values())
    place = _layout(groups, n * aspect * _ROW, notes.values(), title or "", caption)
    figure = NotebookFigure(figsize=place.size, dpi=150)
    roles = roles_of(groups)
    for row, x in images.items():
        axes = _draw_row(figure, place, place.tops[row], x)
        axes.set_label(full_name(row))
        if place.tops[row] == place.above:
            middles = (np.arange(n) + 0.5) * axes.get_images()[0].get_array().shape[1] / n - 0.5
            axes.xaxis.tick_top()
            axes.set_xticks(middles, [str(seed) for seed in seeds], fontsize=8 * place.text)
            axes.tick_params(length=0, pad=2)
        if row[1] is not None:
            style = {"color": COLOURS[roles.index(row[1]) % len(COLOURS)], "weight": "bold"}
            _write(figure, place, place.left - _GAP, place.tops[row] + _ROW / 2, row[1], ha="right", **style)
            axes.spines["left"].set(visible=True, color=style["color"], linewidth=3)

    for group, members in groups.items():
        middle = place.tops[group, next(iter(members))] + len(members) / 2 * _ROW
        edge = place.left - _GAP - (0.0 if None in members else place.indent)
        _write(figure, place, edge, middle, group, ha="right", size=9)
        if group in notes:
            _write(figure, place, place.left + place.inside + 0.1, middle, notes[group], ha="left")
    _write(figure, place, place.left - _GAP, place.above - 0.1 * place.text, columns, ha="right")
    if title:
        _write(figure, place, place.size[0] / 2, 0.2 * place.text, title, size=11)
    _write(figure, place, place.size[0] / 2, place.size[1] - 0.12 * place.text, caption)
    return figure


class _Layout(NamedTuple):
    """Where things stand, in inches from the left and from the top; `text` multiplies all font sizes."""

    size: tuple[float, float]
    text: float
    left: float
    above: float
    inside: float
    indent: float
    tops: dict[Row, float]


def _longest(text: str) -> int:
    """Length of the longest line of a label."""
    return max(map(len, text.splitlines()), default=0)


def _layout(groups, inside, notes, title, caption) -> _Layout:
    # What the longest labels take at their font sizes.
    roles = roles_of(groups)
    indent = 0.1 + 0.08 * max(map(_longest, roles)) if roles else 0.0
    left = 0.2 + max(0.08 * _longest(name) + (0.0 if None in members else indent) for name, members in groups.items())
    right = 0.15 + 0.07 * max([0, *map(_longest, notes)])
    # A figure wider than a page is shown smaller: its text is larger, within limits.
    text = min(max(1.0, inside / max(PAGE_WIDTH - left - right, 0.1)), _LARGEST_TEXT)
    left, right, indent = text * left, text * right, text * indent
    above, below = text * (0.3 + (0.35 if title else 0.0)), text * 0.35
    # A narrow grid leaves room for caption and title.
    needed = text * max(6.2, 0.09 * len(title), 0.062 * len(caption))
    slack = max(0.0, needed - (left + inside + right))
    left, right = left + slack / 2, right + slack / 2

    # Rows of a group touch; groups are apart.
    top, tops = above, {}
    for group, members in groups.items():
        for name in members:
            tops[group, name] = top
            top += _ROW
        top += _BETWEEN_GROUPS
    size = left + inside + right, top - _BETWEEN_GROUPS + below
    return _Layout(size, text, left, above, inside, indent, tops)


def _draw_row(figure, place, top, images):
    """The images of one row, side by side."""
    width, height = place.size
    box = place.left / width, 1 - (top + _ROW) / height, place.inside / width, _ROW / height
    axes = figure.add_axes(box)
    axes.imshow(_strip(images), interpolation="nearest", aspect="auto", resample=False)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def _write(figure, place, x, y, text, *, size=8, ha="center", **style):
    width, height = place.size
    figure.text(x / width, 1 - y / height, text, ha=ha, va="center", fontsize=size * place.text, **style)


def _strip(images: np.ndarray) -> np.ndarray:
    """One RGB image of all images side by side, each with a white margin."""
    height, width = images.shape[1:3]
    scale = -(-32 // min(height, width))  # so that a margin is thinner than a pixel of a small image
    large = np.repeat(np.repeat(0.5 * np.clip(images, -1, 1) + 0.5, scale, axis=1), scale, axis=2)
    margin = max(1, scale * height // 24)
    pad = ((0, 0), (margin, margin), (margin, margin), (0, 0))
    tiles = np.pad(np.broadcast_to(large, (*large.shape[:3], 3)), pad, constant_values=1.0)
    return np.concatenate(list(tiles), axis=1)


def _images(name, x) -> np.ndarray:
    x = np.asarray(_checks.examples(name, x, ndim=4), np.float64)
    if x.shape[3] not in (1, 3):
        raise ValueError(f"{name} must have 1 channel (grey) or 3 (RGB), got shape {x.shape}")
    return x
