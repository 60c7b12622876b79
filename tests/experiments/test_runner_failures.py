"""What goes wrong in a run: parts that fail, settings that cannot be kept, interruptions; a toy takes no time."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import runner
from experiments.runner import options
from experiments.runner.settings import LARGEST_SEED, check_seed
from jaxcreativity import data

PROJECT = Path(__file__).resolve().parents[2]
FAILURES = {
    "diverges": FloatingPointError("the loss became inf before step 7; lower the learning rate"),
    "refuses": ValueError("num_images=3 is too few.\nAnd more"),
    "memory": RuntimeError("RESOURCE_EXHAUSTED: out of memory"),
}


@dataclasses.dataclass(frozen=True)
class Config(runner.Settings):
    fails: tuple[str, ...] = ()
    progress: bool = False


attempts = []


def measure(name):
    def measure(run, prepared):
        rows = []
        for i in range(2):

            def one(i=i):
                attempts.append(f"{name}/{i}")
                if f"{name}/{i}/wait" in run.settings.fails:
                    time.sleep(60)
                for kind, error in FAILURES.items():
                    if f"{name}/{i}/{kind}" in run.settings.fails:
                        raise error
                return {"value": float(i)}, {}

            rows.append({"row": i, **run.attempt(f"{name}-{i}", one)[0]})
        for kind, error in FAILURES.items():
            if f"{name}/{kind}" in run.settings.fails:
                raise error
        return {"rows": rows, "of": {name: 1}}, {"x": np.arange(2.0)}

    return measure


def report(name):
    def report(run, numbers, arrays):
        rows, failures = runner.split_failed(numbers["rows"], "Row {row}")
        return f"## {name}\n\n{[row['value'] for row in rows]}{failures}\n"

    return report


EXPERIMENT = runner.Experiment(
    "toy", Config, lambda config: (config, None), {n: runner.Part(measure(n), report(n)) for n in ("a", "b")},
    lambda run, metrics: f"# Toy, {len(metrics['rows'])} rows\n", data=lambda _: (),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh():
    attempts.clear()


def run(output, *fails, **changes):
    return runner.run(EXPERIMENT, Config(output=str(output), fails=fails, **changes))


def stored(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.json")}


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_part_that_fails_leaves_the_others(tmp_path, first):
    other = "b" if first == "a" else "a"
    with pytest.raises(RuntimeError, match=rf"^{first} failed: --num-images 3 is too few\. All else is in "):
        run(tmp_path, f"{first}/refuses")
    folder = tmp_path / "toy-digits"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["rows"] == [{"row": 0, "value": 0.0}, {"row": 1, "value": 1.0}]
    assert metrics["failed"] == {first: "--num-images 3 is too few"}
    summary = (folder / "summary.md").read_text()
    assert summary.startswith("# Toy, 2 rows")
    assert f"## {first.upper()}\n\nFailed: --num-images 3 is too few.\n" in summary
    assert f"## {other}\n\n[0.0, 1.0]" in summary
    assert f"parts/{other}.json" in stored(folder)
    # The same report again from what is stored; the same command tries again what failed, and that alone.
    run(tmp_path, report_only=True)
    assert (folder / "summary.md").read_text() == summary
    attempts.clear()
    with pytest.raises(RuntimeError, match=f"^{first} failed"):
        run(tmp_path, f"{first}/refuses")
    assert attempts == []


def test_a_row_that_diverges_has_its_reason_and_is_a_result(tmp_path):
    for _ in range(2):
        metrics = run(tmp_path, "a/1/diverges")
    assert attempts == ["a/0", "a/1", "b/0", "b/1"]
    assert metrics["rows"][:2] == [{"row": 0, "value": 0.0}, {"row": 1, "failed": "the loss became inf before step 7"}]
    summary = (tmp_path / "toy-digits" / "summary.md").read_text()
    assert "[0.0]\n\nRow 1 failed: the loss became inf before step 7.\n" in summary


def test_a_row_without_memory_is_tried_again(tmp_path):
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"^a-0 failed: RESOURCE_EXHAUSTED: out of memory\. All else is in"):
            run(tmp_path, "a/0/memory")
    assert attempts == ["a/0", "a/1", "b/0", "b/1", "a/0"]
    assert stored(tmp_path / "toy-digits") >= {"stages/a-1.json", "parts/b.json"}
    assert not {"stages/a-0.json", "parts/a.json"} & stored(tmp_path / "toy-digits")
    assert "Row 0 failed: RESOURCE_EXHAUSTED" in (tmp_path / "toy-digits" / "summary.md").read_text()


def test_a_part_all_of_whose_rows_failed_has_failed(tmp_path):
    with pytest.raises(RuntimeError, match=r"^a failed: Row 0 failed: --num-images 3 is too few. Row 1 failed"):
        run(tmp_path, "a/0/refuses", "a/1/diverges")


def test_where_nothing_could_be_computed_the_folder_is_free_for_other_settings(tmp_path):
    experiment = dataclasses.replace(EXPERIMENT, parts={"a": runner.Part(lambda *_: 1 / 0, report("a"))})
    with pytest.raises(ZeroDivisionError):
        runner.run(experiment, Config(output=str(tmp_path)))
    assert not list(tmp_path.iterdir())


def test_advice_names_the_option_if_there_is_one():
    @dataclasses.dataclass(frozen=True)
    class WithRate(Config):
        learning_rate: float = 1e-3

    assert options.why(FAILURES["diverges"], Config()) == "the loss became inf before step 7"
    assert options.why(FAILURES["diverges"], WithRate()) == "the loss became inf before step 7; lower --learning-rate"


@pytest.mark.parametrize("seed", [-1, 2**31, 2**32, 2**40, 1.0, True])
def test_seeds_that_random_keys_do_not_keep_are_refused(tmp_path, seed):
    with pytest.raises(ValueError, match=rf"^--seed must be a whole number from 0 to {LARGEST_SEED}, got {seed}$"):
        run(tmp_path / "runs", seed=seed)
    assert not list(tmp_path.iterdir())


def test_random_keys_keep_the_seeds_that_are_taken():
    check_seed(Config(seed=LARGEST_SEED))
    seeds = (0, 1, 2**16, LARGEST_SEED, LARGEST_SEED + 8)  # experiments count on from theirs
    with jax.enable_x64(False):  # as experiments run
        assert len({tuple(jax.random.key_data(jax.random.key(seed)).tolist()) for seed in seeds}) == len(seeds)
        assert jax.random.key(2**40) == jax.random.key(0)  # what the bound is for


@pytest.mark.parametrize(
    ("dataset", "word"),
    [
        ("digits", "digits"), ("emnist/digits", "emnist-digits"), ("mnist:3.0.1", "mnist-3.0.1"),
        ("digits.npy", "digits.npy"), ("path/to/digits", "to-digits"), ("/data/mnist/", "data-mnist"),
        ("~/my photos", f"{Path.home().name}-my-photos"), (".", "-".join(PROJECT.parts[-2:])),
    ],
)  # fmt: skip
def test_folders_are_named_after_the_data_that_are_used(monkeypatch, dataset, word):
    monkeypatch.chdir(PROJECT)
    assert runner.dataset_word(dataset) == word


def test_scale_of_an_array_file_is_asked_for_and_taken_from_the_command(tmp_path):
    values = np.random.default_rng(0).random((20, 4, 4), np.float32)
    np.save(tmp_path / "unit.npy", values)
    loading = dataclasses.replace(EXPERIMENT, prepare=lambda config: (config, runner.load(config)))
    settings = Config(output=str(tmp_path / "runs"), dataset=str(tmp_path / "unit.npy"))
    with pytest.raises(ValueError, match=r"as if scaled to \[0, 1\]: save 2 \* images - 1, or --value-range 0 1 tells"):
        runner.run(loading, settings)
    assert not (tmp_path / "runs").exists()
    scaled = runner.load(dataclasses.replace(settings, value_range=(0, 1)))
    np.testing.assert_array_equal(np.sort(scaled.train.ravel())[:5], np.sort((2 * values - 1).ravel())[:5])
    pixels = np.zeros((3, 4, 4), np.uint8)
    np.save(tmp_path / "one.npy", np.where(np.arange(3)[:, None, None] < 1, 255, pixels))
    with pytest.raises(ValueError, match="all the same; need two different ones"):
        runner.load(Config(dataset=str(tmp_path / "one.npy"), num_images=1))
    assert data.load("digits", seed=3).train[0].tolist() == runner.load(Config(seed=3)).train[0].tolist()


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("sys.argv", ["toy", "--output", str(tmp_path / "file" / "runs")])
    with pytest.raises(SystemExit, match=r"^error: cannot write to .*toy-digits \(Not a directory\); choose"):
        runner.main(EXPERIMENT, "A toy.")


def test_ctrl_c_before_anything_is_written(monkeypatch, tmp_path, capsys):
    def interrupted(config):
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["toy", "--output", str(tmp_path / "runs")])
    with pytest.raises(SystemExit, match="130"):
        runner.main(dataclasses.replace(EXPERIMENT, prepare=interrupted), "A toy.")
    assert capsys.readouterr().err == "interrupted; nothing was written\n"
    assert not (tmp_path / "runs" / "toy-digits").exists()


def test_ctrl_c_while_modules_are_imported(tmp_path):
    """Sent by what takes the place of a module that takes seconds to import."""
    interrupts = "signal.signal(signal.SIGINT, signal.default_int_handler)\nsignal.raise_signal(signal.SIGINT)\n"
    (tmp_path / "jax.py").write_text("import signal\n" + interrupts)
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "experiments.compare"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == "interrupted; nothing was written\n"
    assert done.returncode == -signal.SIGINT


def test_ctrl_c_says_in_one_line_what_is_kept(tmp_path):
    folder = tmp_path / "toy-digits"
    command = (
        "from tests.experiments.test_runner_failures import *\n"
        # A shell's background job, which these tests may be part of, ignores the signal, and so would this process.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"sys.argv = ['toy', '--output', {str(tmp_path)!r}, '--fails', 'a/1/wait']\n"
        "runner.main(EXPERIMENT, 'A toy.')"
    )
    process = subprocess.Popen([sys.executable, "-c", command], cwd=PROJECT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (folder / "stages" / "a-0.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    kept = f"what was finished is kept in {folder}/, and the same command goes on from there"
    assert (process.returncode, errors) == (130, f"interrupted; {kept}\n")
    assert stored(folder) == {"config.json", "environment.json", "stages/a-0.json"}
