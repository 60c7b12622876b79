"""The polynomial experiment, small, from the command line."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import polynomial
from experiments.polynomial.report import BINS, POINTS, head, report_images, report_laws
from experiments.runner import Run, run

PROJECT = Path(__file__).resolve().parent.parent.parent
COMMAND = [sys.executable, "-m", "experiments.polynomial"]
SETTINGS = ["--degrees", "3", "--num-targets", "5000", "--num-samples", "5000", "--train-steps", "400",
            "--batch-size", "256", "--patch-images", "60", "--no-progress"]  # fmt: skip


def command(*arguments):
    return subprocess.run([*COMMAND, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_trained_networks_generate_the_predicted_laws(tmp_path):
    done = command(*SETTINGS, "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "polynomial-digits"
    written = {path.name for path in folder.iterdir()}
    assert written >= {"config.json", "environment.json", "metrics.json", "summary.md", "densities.png", "images.png"}
    metrics = json.loads((folder / "metrics.json").read_text())
    rows = {row["target"]: row for row in metrics["marginals"]}
    for row in rows.values():
        assert row["ks_theory"] < 1.95 / math.sqrt(5000)
    for name in ("mixture", "Laplace", "exponential", "uniform"):
        assert rows[name]["ks_network"] < 0.03
    # Equal moments up to order 5 are not enough at degree 3.
    assert metrics["moment_matching"]["3"]["predicted"] > 0.1
    assert metrics["patch"]["empirical"] == 0
    # The report is drawn again from what was stored: the same, byte for byte.
    summary = (folder / "summary.md").read_bytes()
    (folder / "summary.md").unlink()
    (folder / "densities.png").unlink()
    done = command("--report-only", "--no-progress", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (folder / "summary.md").read_bytes() == summary
    assert (folder / "densities.png").exists()


def test_report_needs_numbers_and_curves_alone(tmp_path):
    """What was measured for one degree or for seven, with samples that diverged, is drawn from files alone."""
    names = ["mixture", "its three Gauss atoms", "two atoms, 4 : 1"]
    row = {
        "ks_theory": 0.01, "ks_network": 0.2, "moments_predicted": [0.0, None, 1.0, 2e5], "moments_theory": [None] * 4,
        "moments_network": [0.0] * 4, "diverging_predicted": 0.5, "diverged_theory": 0.5, "diverged_network": 0.0,
        "blow_up_limit": 1.0,
    }  # fmt: skip
    images = np.zeros((12, 4, 4, 1))
    for degrees in ((2,), (1, 2, 3, 4, 5, 6, 7)):
        opened = Run(tmp_path, polynomial.Config(degrees=degrees), 0.0)
        numbers = {
            "failed_degrees": [{"degree": 9, "failed": "the loss became inf"}],
            "marginals": [{"target": name, "degree": p, **row} for p in degrees for name in names],
            "moment_matching": {str(p): {"predicted": 0.1, "networks": 0.1} for p in degrees},
        }
        arrays = {
            "density": np.ones((len(degrees), 3, len(POINTS))), "network": np.ones((len(degrees), 3, len(BINS) - 1)),
            "target": np.ones((3, len(BINS) - 1)),
        }  # fmt: skip
        section = report_laws(opened, numbers, arrays)
        assert "inf" in section
        assert "\n\nDegree 9 failed: the loss became inf.\n\n" in section
        assert "degree" in head(opened, numbers)
    rows = {"linear k × k": images, "degree 2, k × k": np.where(np.arange(12) == 3, np.inf, images.T).T}
    shares = {"linear k × k": 0.0, "degree 2, k × k": 1 / 12, "empirical": 0.0}
    section = report_images(opened, {"patch": shares}, rows | {"empirical": images, "training images": images})
    assert "8 %" in section
    assert {path.name for path in tmp_path.iterdir()} == {"densities.png", "images.png"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "nothing_like_this"}, "nothing_like_this"),
        ({"train_steps": 0}, "--train-steps must be at least 1, got 0"),
        ({"degrees": (2, 0)}, "--degrees must be at least 1, got 0"),
        ({"kernel_size": 4}, "--kernel-size must be odd and at most 8, got 4"),
        ({"sigma_min": 30.0}, "--sigma-min must be above 0 and below --sigma-max, got 30 and 20"),
        ({"sampler_steps": 1}, "--sampler-steps must be at least 2, got 1"),
        ({"patch_images": 1}, "--patch-images must be at least 2, got 1"),
        ({"num_images": 2}, "--num-images must be at least 3, got 2"),
        ({"image_size": 1, "kernel_size": 1}, "two principal coordinates need three images of two numbers"),
        ({"also": ("digits",)}, "--dataset and --also must name different data sets"),
    ],
)
def test_bad_settings_write_nothing(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        run(polynomial.EXPERIMENT, polynomial.Config(**settings, output=str(tmp_path), progress=False))
    assert not list(tmp_path.iterdir())
