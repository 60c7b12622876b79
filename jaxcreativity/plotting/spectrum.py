"""Variance per mode: spectra of covariances, of the data, as predicted, and as sampled."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from jaxcreativity.plotting._groups import full_name, groups_of, roles_of
from jaxcreativity.plotting.axes import COLOURS, PAGE_WIDTH, curve, legend, panels

_SHARED_COLOURS = ("black", "#7F7F7F")
_MARKERS = (None, "o", "s", "^", "D", "v")


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

    Example:
        >>> import numpy as np
        >>> data = np.diag([4.0, 2.0, 1.0])
        >>> figure = spectra({"data": data, "full": {"theory": data, "network": 1.1 * data}}, modes_of="data")
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['data', 'theory', 'network']
    """
    groups = groups_of("curves", curves)
    matrices = {
        (group, name): _spectrum_input(full_name((group, name)), c)
        for group, members in groups.items()
        for name, c in members.items()
    }
    counts = _resolve_counts({} if counts is None else counts, matrices)
    values = _variances(matrices, modes_of)
    if relative:
        if modes_of is None:
            raise ValueError('relative needs modes_of, the curve to divide by, e.g. modes_of="data"')
        values = _relative(values, values[modes_of, None])

    largest = max(float(v.max()) for v in values.values())
    if not largest > 0:
        raise ValueError("no curve has any variance: nothing to draw on logarithmic axes")

    shared = [row for row in matrices if row[1] is None]
    members_of = {group: [row for row in matrices if row[0] == group] for group, m in groups.items() if None not in m}
    members_of = members_of or {None: []}
    columns = min(2, len(members_of))
    lines = -(-len(members_of) // columns)
    width, height = (PAGE_WIDTH, 2.6) if columns == 2 else (0.75 * PAGE_WIDTH, 3.4)
    figure, grid = panels(lines, columns, width=width, height=height, sharex=True, sharey=True)
    for axes in grid.ravel()[len(members_of) :]:
        axes.remove()
    roles = roles_of(groups)
    for index, (axes, (group, members)) in enumerate(zip(grid.ravel(), members_of.items(), strict=False)):
        styles = {row: _shared_style(position, group is None) for position, row in enumerate(shared)}
        styles |= {row: _member_style(roles.index(row[1])) for row in members}
        for row, style in styles.items():
            _draw(axes, row, values[row], counts.get(row), largest, style)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.grid(which="major", color="0.9")
        axes.set_axisbelow(True)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        legend(axes, fontsize=7.5).set_in_layout(False)  # may cover lines, but does not shrink its panel
        if group is not None:
            axes.set_title(group, fontsize=9)
        if index + columns >= len(members_of):
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("mode, by decreasing eigenvalue" + (f" of {modes_of}" if modes_of else ""))
        if index % columns == 0:
            axes.set_ylabel(f"variance / variance of {modes_of}" if relative else f"variance\n({unit})")
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def _draw(axes: Axes, row, values, count, largest, style):
    drawn = values > 1e-7 * largest
    name = row[1] or row[0]
    notes = [] if count is None else [f"{count:,} samples".replace(",", " ")]
    if not drawn.all():
        notes.append(f"{drawn.sum()} of {values.size} modes")
    label = f"{name} ({', '.join(notes)})" if notes else name
    if not drawn.any():
        axes.text(0.97, 0.95, f"{name}: no variance", fontsize=7.5, ha="right", va="top", transform=axes.transAxes)
    curve(axes, np.arange(1, values.size + 1), np.where(drawn, values, np.nan), label=label, **style)


def _shared_style(position, alone):
    if alone:
        # No groups: every curve has a colour, the first black.
        colour = ("black", *COLOURS)[position % (1 + len(COLOURS))]
        return {"color": colour, "marker": None, "linewidth": 1.5, "linestyle": ("-", "--", "-.", ":")[position % 4]}
    colour = _SHARED_COLOURS[position % len(_SHARED_COLOURS)]
    return {
        "color": colour,
        "marker": None,
        "linewidth": 1.2,
        "linestyle": ("-", "--", "-.", ":")[position % 4],
        "zorder": 1.5,
    }


def _member_style(position):
    style = {"color": COLOURS[position % len(COLOURS)], "zorder": 2 + position}
    if position == 0:
        return style | {"marker": None, "linewidth": 2}
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
                f"{full_name(row)}"
            )
    return {row: np.einsum("im,ij,jm->m", vectors, c, vectors, optimize=True) for row, c in matrices.items()}


def _relative(values, reference):
    seen = reference > 1e-7 * reference.max()
    return {row: np.where(seen, v / np.where(seen, reference, 1.0), 0.0) for row, v in values.items()}


def _resolve_counts(counts, rows):
    """Counts per row, from keys that name a row in full or a member of every group."""
    resolved, used = {}, set()
    for row in rows:
        for key in (full_name(row), row[1]):
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
