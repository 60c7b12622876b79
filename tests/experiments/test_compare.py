"""The main job, small, as a newcomer runs it: from the command line, killed, and started again."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optax
import pytest

from experiments import compare, runner

PROJECT = Path(__file__).resolve().parent.parent.parent
COMMAND = [sys.executable, "-m", "experiments.compare"]


def run(*arguments, cwd=PROJECT):
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def small(output, **changes):
    settings = {
        "num-images": 100, "train-steps": 300, "num-samples": 200, "num-pairs": 20, "sampler-steps": 5,
        "output": output, "entries": "pixelwise",
    } | changes  # fmt: skip
    return [part for name, value in settings.items() for part in (f"--{name}", value)]


def test_writes_everything_and_theory_predicts_the_network(tmp_path):
    done = run(*small(tmp_path))
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "compare-digits"
    figures = {"samples_linear.png", "spectra_linear.png"}
    expected = figures | {
        "config.json",
        "environment.json",
        "metrics.json",
        "summary.md",
        "networks",
        "parts",
        "stages",
    }
    assert {path.name for path in folder.iterdir()} == expected
    metrics = json.loads((folder / "metrics.json").read_text())
    (row,) = metrics["comparisons"]
    assert row["network"] == row["closed_form"] == "pixelwise"
    assert row["pearson_median"] > 0.99
    assert row["r_squared_median"] > 0.95
    assert row["count"] == 20
    # The empirical denoiser memorises (five steps end at sigma = 0.3, where one sample in twenty still mixes two
    # images); held-out digits are no copies.
    assert metrics["novelty"]["empirical closed form"]["memorised_fraction"] > 0.8
    assert metrics["novelty"]["held-out images"]["memorised_fraction"] < 0.1
    config = json.loads((folder / "config.json").read_text())
    assert (config["image_size"], config["num_images"], config["entries"]) == (8, 100, ["pixelwise"])
    assert "| pixelwise |" in done.stdout
    for name in figures:
        assert (folder / name).read_bytes().startswith(b"\x89PNG")

    # The report alone, anew: the same, and nothing is computed.
    before = {name: (folder / name).read_bytes() for name in ("summary.md", "metrics.json", "environment.json")}
    for name in figures | {"summary.md"}:
        (folder / name).unlink()
    again = run("--output", tmp_path, "--report-only")
    assert again.returncode == 0, again.stderr
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert {path.name for path in folder.iterdir()} == expected


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_numbers(tmp_path):
    # The steps between two checkpoints take long enough to be killed in.
    arguments = small(tmp_path, **{"train-steps": 6000})
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    steps = tmp_path / "compare-digits" / "networks" / "pixelwise" / "steps"
    deadline = time.monotonic() + 200
    while not list(steps.glob("*0/_CHECKPOINT_METADATA")):
        assert process.poll() is None, "ended before its first checkpoint"
        assert time.monotonic() < deadline, "no checkpoint in 200 s"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "compare-digits" / "metrics.json").exists()
    left = max(int(path.name) for path in steps.iterdir() if path.name.isdigit())
    assert 0 < left < 6000

    resumed = run(*arguments)
    assert resumed.returncode == 0, resumed.stderr
    assert f"{left}/6000" in resumed.stderr  # the progress bar starts where the checkpoint was
    whole = run(*small(tmp_path, **{"train-steps": 6000, "name": "whole"}))
    assert whole.returncode == 0, whole.stderr
    read = lambda name: json.loads((tmp_path / name / "metrics.json").read_text())  # noqa: E731
    assert read("compare-digits") == read("whole")


@pytest.mark.slow
def test_folder_of_images(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(30):
        Image.fromarray(rng.integers(0, 255, (12, 10, 3), np.uint8)).save(tmp_path / f"{i}.png")
    done = run(
        "--dataset", tmp_path, *small(tmp_path / "runs", **{"image-size": 6, "num-images": 20, "train-steps": 20})
    )
    assert done.returncode == 0, done.stderr
    assert "6×6×3" in done.stdout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entries": ("polynomiall",)}, "unknown entries"),
        ({"num_pairs": 300}, "--num-pairs <= --num-samples"),
        ({"num_images": 10**7}, "--num-images"),
        ({"dataset": "no/such/folder"}, "no/such/folder"),
        ({"sampler_steps": 0}, "--sampler-steps must be at least 1, got 0"),
        ({"image_size": -1}, "--image-size must be at least 1, got -1"),
        ({"kernel_size": 4}, "--kernel-size must be odd"),
        ({"kernel_size": 9}, "--kernel-size must be at most the side of the images, 8, got 9"),
        ({"rank": 65}, "--rank must be at most 64"),
    ],
)
def test_bad_settings_write_nothing(tmp_path, changes, message):
    settings = {"num_images": 100, "num_samples": 200, "num_pairs": 20} | changes
    with pytest.raises(ValueError, match=message):
        runner.run(compare.EXPERIMENT, compare.Config(**settings, output=str(tmp_path), progress=False))
    assert not list(tmp_path.iterdir())


def test_bad_settings_end_in_one_line(tmp_path):
    done = run(*small(tmp_path, entries="polynomiall"))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "unknown entries" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_diverging_entry_leaves_the_others(tmp_path, monkeypatch):
    diverging = lambda s: {"optimizer": optax.sgd(1e30)}  # noqa: E731
    entries = compare.ENTRIES | {"low rank": dataclasses.replace(compare.ENTRIES["low rank"], training=diverging)}
    for name in entries:
        monkeypatch.setitem(compare.ENTRIES, name, entries[name])
    config = compare.Config(
        entries=("low rank", "pixelwise"), num_images=40, train_steps=20, batch_size=2, num_samples=80, num_pairs=4,
        sampler_steps=3, rank=2, output=str(tmp_path), progress=False,
    )  # fmt: skip
    metrics = runner.run(compare.EXPERIMENT, config)
    failed, row = metrics["comparisons"]
    assert failed["network"] == "low rank"
    assert "training failed: the loss became" in failed["failed"] or "samples diverged" in failed["failed"]
    assert row["network"] == "pixelwise"
    assert "failed" not in row
    summary = (tmp_path / "compare-digits" / "summary.md").read_text()
    assert f"low rank and low rank: {failed['failed']}" in summary


@pytest.mark.parametrize(("dataset", "batch_size"), [("digits", 32), ("faces", 32), ("digits", 1)])
def test_early_stopping_is_stable_however_few_steps_are_asked_for(dataset, batch_size):
    """Against the second moments of the inputs at each noise level, in float64: no direction is overshot."""
    config = compare.Config(
        dataset=dataset, image_size=8, num_images=80, train_steps=200, batch_size=batch_size, progress=False
    )
    _, setup = compare.EXPERIMENT.prepare(config)
    steps = compare.ENTRIES["early stopping"].training(setup)["num_steps"]
    x = np.asarray(setup.x, np.float64).reshape(80, -1)
    for sigma in setup.levels[::6]:
        moments = (x.T @ x / 80 + sigma**2 * np.eye(x.shape[1])) / (setup.sigma_data**2 + sigma**2)
        largest = np.linalg.norm(moments, 2) + np.trace(moments) / batch_size
        # Gradient flow for the time 2 in so many steps: each multiplies a direction by 1 - 2 / steps * its moment.
        assert 2 / steps * largest <= 1 + 1e-3
    assert compare.ENTRIES["early stopping"].training(
        dataclasses.replace(setup, config=dataclasses.replace(config, train_steps=8000))
    )["num_steps"] == 2000  # fmt: skip


@pytest.mark.slow
def test_every_entry_of_the_registry_runs(tmp_path):
    config = compare.Config(
        num_images=40, train_steps=4, batch_size=2, num_samples=80, num_pairs=4, sampler_steps=3, rank=2,
        output=str(tmp_path), progress=False,
    )  # fmt: skip
    metrics = runner.run(compare.EXPERIMENT, config)
    assert {row["network"] for row in metrics["comparisons"]} == set(compare.ENTRIES)
    # What surprises comes first.
    sections = [line for line in (tmp_path / "compare-digits" / "summary.md").read_text().splitlines() if "## " in line]
    assert [section.split()[2] for section in sections] == ["nonlinear", "weight", "networks"]
