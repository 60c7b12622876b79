"""Tables and captions of the reports."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np


def facts(dataset: str, x: np.ndarray | jax.Array) -> str:
    """What a figure is of: the data set and the size of its images `x`, `(n, height, width, channels)`."""
    return f"{dataset} at {x.shape[1]}x{x.shape[2]}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, padded so that it reads well in a terminal too; the first column is flush left."""
    rows = [list(header), *map(list, rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = []
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    rule = "|" + "|".join([":" + "-" * (widths[0] + 1), *("-" * (w + 1) + ":" for w in widths[1:])]) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of rows that have the same columns, numbers to three digits."""
    cells = [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row.values()] for row in rows]
    return table(list(rows[0]), cells)


def split_failed(rows: Iterable[Mapping[str, Any]], label: str) -> tuple[list[dict[str, Any]], str]:
    """The rows that were measured, and what stands below their table: a paragraph for each that failed.

    Args:
        rows: numbers; of what failed there are only those that say what it is, and `failed`, the reason.
        label: what a row is called, to be formatted with its entries.

    Raises:
        ValueError: if all failed.
    """
    rows = [dict(row) for row in rows]
    reasons = [f"{label.format_map(row)} failed: {row['failed']}." for row in rows if "failed" in row]
    measured = [row for row in rows if "failed" not in row]
    if reasons and not measured:
        raise ValueError(" ".join(reasons))
    return measured, "".join(f"\n\n{reason}" for reason in reasons)


def number(value: float | None, digits: int = 3) -> str:
    """A number in a cell; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def quartiles(row: Mapping[str, Any], name: str) -> str:
    """Median and, in brackets, the quartiles of what a `summary()` holds under this name."""
    return f"{row[name + '_median']:.3f} ({row[name + '_q25']:.3f}–{row[name + '_q75']:.3f})"


def without_empty_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table without the columns in which no row has anything but a dash."""
    kept = [i for i in range(len(header)) if any(row[i] != "–" for row in rows)]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows]
