"""The probing experiment, small, from the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import probing

PROJECT = Path(__file__).resolve().parent.parent.parent


def run(*arguments):
    command = [sys.executable, "-m", "experiments.probing", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_writes_figures_and_finds_the_known_symmetries(tmp_path):
    done = run(
        "--num-images", "80", "--num-points", "2", "--train-steps", "50", "--sampler-steps", "6", "--ascent-steps", "2",
        "--sigmas", "1.0", "--removed", "3", "--no-progress", "--output", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "probing-digits"
    assert {path.name for path in folder.glob("*.png")} == {
        "jacobians.png", "receptive_fields.png", "sample_jacobians.png", "influence.png", "disagreement.png",
    }  # fmt: skip
    metrics = json.loads((folder / "metrics.json").read_text())
    symmetry = {row["denoiser"]: row for row in metrics["symmetry"]}
    assert symmetry["linear, stationary"]["shift down"] < 1e-4 < symmetry["linear, full"]["shift down"]
    asymmetry = {row["denoiser"]: row["asymmetry"] for row in metrics["jacobian"]}
    assert asymmetry["linear, full"] < 1e-5 < asymmetry["MLP"]
    ascent = metrics["discrepancy"]["mean_square"]
    assert ascent[-1] > ascent[0]


def test_more_left_out_than_there_are(tmp_path):
    with pytest.raises(ValueError, match="removed must lie between"):
        probing.main(probing.Config(removed=500, output=str(tmp_path), progress=False))
    assert not list(tmp_path.iterdir())
