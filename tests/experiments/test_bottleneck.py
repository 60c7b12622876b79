"""The bottleneck experiment: its contour, its resume, its figures at all sizes, and a whole small run."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from experiments import bottleneck
from experiments.bottleneck import capacity, capacity_report
from experiments.bottleneck.settings import log_grid
from experiments.runner import Run, run
from jaxcreativity import networks


def test_contour_is_where_half_is_memorised_in_log_k():
    cells = {16: (0.0, 0.5, 1.0), 64: (0.1, 0.2, 0.8), 256: (0.0, 0.1, 0.2)}
    rows = [
        {"kind": "softmax", "count": n, "width": k, "memorised": f}
        for n, fractions in cells.items()
        for k, f in zip((8, 32, 128), fractions, strict=True)
    ]
    contour = capacity.contour([*rows[::-1], {**rows[0], "kind": "silu"}], "softmax", [16, 64, 256])
    np.testing.assert_allclose(contour[:2], [32, 64])
    assert contour[2] is None


def test_each_network_of_a_group_sees_its_own_images():
    """Two sets trained side by side: the one of a single image learns to return it at all noise levels."""
    x = jax.random.normal(jax.random.key(0), (4, 2, 2, 1), "float32")
    config = bottleneck.Config(capacity_steps=1000, sampler_steps=3, progress=False)
    trained = capacity.train_together(config, x, networks.ShallowMLP(8, "softmax"), [1, 3], log_grid(config, 0.1))
    y = x[1] + 0.1
    one, three = (float(np.abs(network(y, 0.1) - x[0]).max()) for network in trained)
    assert one < 0.05
    assert three > 0.3


def test_finished_cells_are_read_not_computed(tmp_path):
    (tmp_path / "environment.json").write_text('[{"seconds": 0, "computed": []}]')
    opened = Run(tmp_path, bottleneck.Config(), 0.0)
    first = opened.stage("a", lambda: ({"value": 0.5}, {"images": np.arange(3.0)}))
    second = opened.stage("a", lambda: pytest.fail("computed again"))
    assert first[0] == second[0] == {"value": 0.5}
    np.testing.assert_array_equal(second[1]["images"], np.arange(3.0))


@pytest.mark.parametrize(
    ("counts", "widths"), [((16,), (8,)), ((16,), (8, 32)), ((16, 64), (32,)), ((16, 64), (8, 32)), ((8, 16, 64),) * 2]
)
def test_figure_of_capacity_at_every_size(counts, widths):
    rows = [
        {"kind": kind, "count": n, "width": k, "memorised": 0.9 * (k >= n), "memorised_low": 0.0, "memorised_high": 1.0}
        for kind in ("softmax", "prototypes")
        for n in counts
        for k in widths
        if kind == "softmax" or k <= n
    ]
    config = dataclasses.replace(bottleneck.Config(), counts=counts, widths=widths)
    contours = {kind: capacity.contour(rows, kind, list(counts)) for kind in ("softmax", "prototypes")}
    draw = capacity_report._curves if 1 in (len(counts), len(widths)) else capacity_report._maps
    figure = draw(config, rows, list(counts), contours)
    axes = figure.axes[0]
    # Fewer than three points are not joined; what stands in the legend can be seen.
    for line in axes.lines:
        if line.get_label() != "K = N (predicted for softmax)":
            assert line.get_linestyle() == "None" or len(line.get_xdata()) > 2
    legend = axes.get_legend() or (figure.legends or [None])[0]
    assert legend is not None
    assert "K = N (predicted for softmax)" in {text.get_text() for text in legend.get_texts()}


def test_reports_of_what_was_measured_name_what_failed(tmp_path):
    opened = Run(tmp_path, bottleneck.Config(progress=False), 0.0)
    part = {name: bottleneck.EXPERIMENT.parts[name].report for name in ("codes", "capacity", "encoder", "rank")}
    failed = {"failed": "the loss became inf before step 7"}
    row = {
        "memorised": 0.5, "memorised_low": 0.4, "memorised_high": 0.6, "memorised_closed_form": 1.0, "hull_ratio": 0.5,
        "held_out_memorised": 0.1, "held_out_hull_ratio": 0.5, "loss": 1.0, "loss_closed_form": 1.0, "loss_ratio": 1.0,
        "pearson_median": 0.9, "pearson_q25": 0.8, "pearson_q75": 1.0, "support_size": None, "support_low": None,
        "support_high": None,
    }  # fmt: skip
    codes = [{"code_size": 2, "decoder": "linear", **row}, {"code_size": 2, "decoder": "nonlinear", **failed}]
    images = {name: np.zeros((12, 4, 4, 1)) for name in ("held-out images", "linear 2 network", "linear 2 closed form")}
    assert "\n\nThe nonlinear decoder of r = 2 failed: the loss" in part["codes"](opened, {"codes": codes}, images)
    cells = [{"kind": "softmax", "count": 16, "width": k, **(row if k == 8 else failed)} for k in (8, 32)]
    found = {"cells": cells, "counts": [16], "contours": {"softmax": [None]}}
    assert "\n\nK = 32 softmax units with N = 16 failed" in part["capacity"](opened, {"capacity": found}, {})
    rows = [{"code_size": r, "width": 4, "count": 16, **(row if r == 1 else failed)} for r in (1, 2)]
    assert "\n\nr = 2 with a decoder of 4 units failed" in part["encoder"](opened, {"encoder": rows}, {})
    ranks = [
        {"network": "r = 2", "largest_rank": 2, "rank_above_1_percent": [1.0, 2.0]},
        {"network": "r = 4", **failed},
    ]
    curves = {"levels": np.array([2.0, 1.0]), "pixels": np.array(16)}
    assert "\n\nThe network of r = 4 failed" in part["rank"](opened, {"rank": ranks}, curves)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parts": ("code",)}, r"--parts: unknown parts .'code'.; there are codes, capacity, encoder, rank"),
        ({"activations": ("relu",)}, "--activations: unknown activations"),
        ({"capacity_steps": 0}, "--capacity-steps must be at least 1, got 0"),
        ({"counts": (4000,)}, "--counts and --encoder-images need at least 4000 training images"),
        ({"code_sizes": (64, 128)}, "--code-sizes must name a number below 64"),
        ({"counts": (4, 16)}, "--counts must be at least 5, got 4"),
        ({"encoder_ranks": (1, 65)}, "--encoder-ranks must be at most 64, that of the pixels, got 65"),
        ({"sigma_max": 0.1}, "--sigma-min must be above 0 and below --sigma-max"),
    ],
)
def test_bad_settings_write_nothing(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        run(bottleneck.EXPERIMENT, bottleneck.Config(**settings, output=str(tmp_path), progress=False))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_small_run(tmp_path):
    config = bottleneck.Config(small=True, output=str(tmp_path), progress=False)
    metrics = run(bottleneck.EXPERIMENT, config)
    folder = tmp_path / "bottleneck-digits"
    assert {path.name for path in folder.glob("*.png")} == {
        "codes.png", "code_sizes.png", "capacity.png", "encoder.png", "rank.png",
    }  # fmt: skip
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    linear, nonlinear = metrics["codes"]
    # Measured after 500 steps: 0.993 and 0.88.
    assert linear["pearson_median"] > 0.95
    assert nonlinear["memorised"] < 0.1 < nonlinear["memorised_closed_form"]
    memorised = {(row["kind"], row["count"], row["width"]): row["memorised"] for row in metrics["capacity"]["cells"]}
    assert memorised["softmax", 16, 8] < 0.2 < 0.6 < memorised["softmax", 16, 32]
    supports = {row["kind"]: row["support_size"] for row in metrics["capacity"]["cells"] if row["width"] == 8}
    assert supports["prototypes"] < 10
    few, many = metrics["encoder"]
    assert few["memorised"] < 0.2 < many["memorised"]
    assert metrics["rank"][0]["largest_rank"] == 4
    again = run(bottleneck.EXPERIMENT, config)  # from the parts
    assert again == metrics
    # The report is drawn again from what was stored: the same, byte for byte.
    summary = (folder / "summary.md").read_bytes()
    for name in ("summary.md", "capacity.png"):
        (folder / name).unlink()
    assert run(bottleneck.EXPERIMENT, dataclasses.replace(config, report_only=True)) == metrics
    assert (folder / "summary.md").read_bytes() == summary
    assert (folder / "capacity.png").exists()
