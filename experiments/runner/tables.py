"""Tables and captions of the reports."""

from collections.abc import Iterable, Sequence

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
