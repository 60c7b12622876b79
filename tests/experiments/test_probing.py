"""The probing experiment, small, from the command line."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import probing
from experiments.runner import Run, run

PROJECT = Path(__file__).resolve().parent.parent.parent


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "experiments.probing", *arguments], cwd=PROJECT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_writes_figures_and_finds_the_known_symmetries(tmp_path):
    done = command(
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
    # The report is drawn again from what was stored: the same, byte for byte.
    summary = (folder / "summary.md").read_bytes()
    (folder / "summary.md").unlink()
    (folder / "influence.png").unlink()
    done = command("--report-only", "--no-progress", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (folder / "summary.md").read_bytes() == summary
    assert (folder / "influence.png").exists()


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # NumPy's, of the data's scale
def test_a_network_that_diverges_is_left_out_once_and_said(tmp_path):
    """Images whose squares float32 does not hold: their loss is no number from the first step on."""
    settings = {"train_steps": 1, "num_images": 20, "sampler_steps": 2, "progress": False}
    config = probing.Config(denoisers=("linear, full", "MLP"), **settings)
    config, setup = probing.EXPERIMENT.prepare(config)
    opened = Run(tmp_path, config, 0.0)
    huge = dataclasses.replace(setup, x=setup.x * 1e25, trained={})
    for _ in range(2):
        assert list(huge.denoisers(opened)) == ["linear, full"]
    assert list(huge.left_out) == ["left_out"]
    reason = huge.left_out["left_out"]["MLP"]
    assert reason.startswith("training failed: the loss became")
    assert reason.endswith("before step 1")
    with pytest.raises(FloatingPointError, match="training failed"):
        huge.denoisers(dataclasses.replace(opened, settings=dataclasses.replace(config, denoisers=("MLP",))))


def test_influences_need_a_denoiser_of_weighted_images():
    parts = lambda *names: probing.EXPERIMENT.chosen(probing.Config(denoisers=names))  # noqa: E731
    assert "influence" not in parts("MLP", "linear, stationary")
    assert "influence" in parts("MLP", "empirical")
    config = probing.Config(denoisers=("empirical",), num_images=20)
    assert probing.EXPERIMENT.prepare(config)[0].retrained == ()  # not silently trained for nothing


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"removed": 500}, "--removed must lie between"),
        ({"train_steps": 0}, "--train-steps must be at least 1, got 0"),
        ({"sigmas": (1.0, 0.0)}, "--sigmas must be one or more numbers above 0"),
        ({"num_points": 501}, "--num-points must lie between"),
        ({"image_size": 4, "num_images": 20}, "--image-size must be at least 5"),
        ({"dataset": "nothing_like_this"}, "nothing_like_this"),
    ],
)
def test_bad_settings_write_nothing(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        run(probing.EXPERIMENT, probing.Config(**settings, output=str(tmp_path), progress=False))
    assert not list(tmp_path.iterdir())
