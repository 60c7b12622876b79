"""Curves, legends and axes: nothing is joined, named or labelled that is not there."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxcreativity import plotting


def labels(legend):
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize(
    ("y", "points", "linestyle"),
    [
        ([1.0, 2.0, 3.0, 4.0], 4, "-"),
        ([1.0, None, 3.0, np.nan], 2, "None"),
        ([1.0, np.inf, np.nan, None], 1, "None"),
    ],
)
def test_a_curve_joins_three_points_or_more(y, points, linestyle):
    axes = Figure().subplots()
    plotting.curve(axes, [1, 2, 3, 4], y, low=np.zeros(4), high=np.ones(4), label="network", color="red")
    (line,) = axes.lines
    assert line.get_xdata().size == points
    assert line.get_linestyle() == linestyle
    assert line.get_marker() == "o"
    (interval,) = axes.collections
    heights = [np.ptp(path.vertices[:, 1]) for path in interval.get_paths()]
    assert heights == [1.0] * (1 if points > 2 else points)


def test_a_curve_without_a_marker_has_one_where_it_has_no_line():
    axes = Figure().subplots()
    plotting.curve(axes, [1, 2, 3], [1, 2, 3], marker=None, linestyle="--")
    plotting.curve(axes, [1, 2], [1, 2], marker=None, linestyle="--")
    assert [(line.get_marker(), line.get_linestyle()) for line in axes.lines] == [("None", "--"), ("o", "None")]


def test_a_curve_without_values_leaves_no_trace():
    axes = Figure().subplots()
    plotting.curve(axes, [1, 2], [None, np.nan], low=[0, 0], high=[1, 1], label="network")
    assert not axes.lines
    assert not axes.collections
    assert plotting.legend(axes) is None


def test_a_legend_names_what_can_be_seen():
    axes = Figure().subplots()
    axes.plot([0, 1, 2], [0, 1, 2], label="line")
    axes.plot([], [], label="empty")
    axes.plot([1, 2], [np.nan, np.nan], label="nothing but NaN")
    axes.plot([7, 8], [1, 1], "o", label="points beyond the limits")
    axes.plot([-1, 9], [1, 1], label="line across the limits")
    axes.axvline(8, label="mark beyond the limits")
    axes.axvline(1, label="mark")
    axes.axhline(1, label="level")
    axes.scatter([], [], label="no points")
    axes.scatter([1], [1], label="points")
    axes.errorbar([1], [1], yerr=[0.1], label="error bars")
    axes.fill_between([0, 1], [0, 0], [1, 1], label="band")
    axes.stairs([1, 2], [0, 1, 2], label="steps")
    axes.set_xlim(0, 3)
    seen = ["line", "line across the limits", "mark", "level", "points", "error bars", "band", "steps"]
    assert sorted(labels(plotting.legend(axes))) == sorted(seen)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_the_limits_that_count_are_those_in_which_the_figure_is_drawn(scale):
    axes = Figure().subplots()
    axes.plot([10, 100, 1000], [7, 8, 9], label="line")
    if scale == "log":
        plotting.plain_log(axes, "x")
    assert labels(plotting.legend(axes)) == ["line"]


def test_the_legend_of_a_figure_has_the_labels_of_all_panels_once():
    figure, ((left, right),) = plotting.panels(1, 2)
    left.plot([0, 1], [0, 1], label="a")
    left.plot([], [], label="b")
    for axes, label in ((right, "a"), (right, "b"), (right, "c")):
        axes.plot([0, 1], [0, 1], label=label)
    legend = plotting.legend(figure)
    assert labels(legend) == ["a", "b", "c"]
    assert legend.get_texts()[0].get_fontsize() == 8
    assert labels(plotting.legend(figure, panels=[left], ncols=1)) == ["a"]


def test_panels_are_as_wide_as_a_page_and_legible():
    figure, grid = plotting.panels(2, 3, sharex=True)
    assert grid.shape == (2, 3)
    assert figure.get_figwidth() == plotting.PAGE_WIDTH
    for axes in grid.ravel():
        axes.set(xlabel="x", ylabel="y")
        sizes = {text.get_fontsize() for text in (axes.xaxis.label, axes.yaxis.label, *axes.get_yticklabels())}
        assert sizes == {8}


@pytest.mark.parametrize(
    ("interval", "message"),
    [({"low": [0, 0]}, "both low and high"), ({"low": [0], "high": [1, 1]}, "got x 2, y 2, low 1, high 2")],
)
def test_bad_intervals_raise(interval, message):
    with pytest.raises(ValueError, match=message):
        plotting.curve(Figure().subplots(), [1, 2], [1, 2], **interval)


@pytest.mark.parametrize(("ticks", "expected"), [(None, ["1", "2", "5", "10", "20"]), ([3, 12], ["3", "12"])])
def test_plain_log(ticks, expected):
    axes = Figure().subplots()
    axes.set_ylim(0.9, 21)
    plotting.plain_log(axes, "y", ticks)
    low, high = axes.get_ylim()
    shown = [
        label.get_text() for at, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True) if low < at < high
    ]
    assert (axes.get_yscale(), axes.get_xscale()) == ("log", "linear")
    assert shown == expected
    assert len(axes.get_yticks(minor=True)) == 0
