"""The polynomial experiment, small, from the command line."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import polynomial

PROJECT = Path(__file__).resolve().parent.parent.parent
COMMAND = [sys.executable, "-m", "experiments.polynomial"]
SETTINGS = ["--degrees", "3", "--num-targets", "5000", "--num-samples", "5000", "--train-steps", "400",
            "--batch-size", "256", "--patch-images", "60", "--no-progress"]  # fmt: skip


def run(*arguments):
    return subprocess.run([*COMMAND, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_trained_networks_generate_the_predicted_laws(tmp_path):
    done = run(*SETTINGS, "--output", str(tmp_path))
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


def test_unknown_data(tmp_path):
    with pytest.raises(ValueError, match="nothing_like_this"):
        polynomial.main(polynomial.Config(datasets=("nothing_like_this",), output=str(tmp_path), progress=False))
    assert not list(tmp_path.iterdir())
