"""The runner of all experiments, with an experiment that takes no time: folders, locks, resuming, reporting again."""

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments import runner
from experiments.runner import environment, files
from jaxcreativity import _folder

PROJECT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Config(runner.Settings):
    steps: int = 3
    names: tuple[str, ...] = ("a",)
    batch_size: int = 1
    progress: bool = False


measured = []  # names of what was measured, in order


def prepare(settings):
    runner.check_counts(settings, "steps", "batch_size")
    if settings.num_images == 0:
        raise ValueError("num_images must be at least 1, got 0")  # as a library says it
    return dataclasses.replace(settings, image_size=settings.image_size or 8), np.arange(3.0)


def squares(run, prepared):
    rows = []
    for i in range(run.settings.steps):

        def one(i=i):
            measured.append(f"square {i}")
            if os.environ.get("WAIT_AT") == str(i):
                time.sleep(60)
            return {"square": i**2}, {"line": prepared * i}

        numbers, arrays = run.stage(f"squares/{i}", one)
        assert arrays["line"].shape == (3,)
        rows.append(numbers)
    measured.append("squares")
    return {"rows": rows, "of": {"squares": 1 / 3}}, {"all": np.stack([prepared] * 2)}


def cubes(run, prepared):
    measured.append("cubes")
    return {"rows": [{"cube": 8}], "of": {"cubes": 2}}, {}


def report_squares(run, numbers, arrays):
    run.save(Figure(), "squares.png")
    return f"## Squares\n\n{numbers['of']['squares']!r} of {arrays['all'].sum()}\n"


def head(run, metrics):
    return f"# {run.settings.dataset}, {run.settings.image_size} pixels, {len(metrics['rows'])} rows\n\n{run.origin}\n"


EXPERIMENT = runner.Experiment(
    "toy", Config, prepare,
    {"squares": runner.Part(squares, report_squares), "cubes": runner.Part(cubes, lambda *_: "## Cubes\n")}, head,
    data=lambda prepared: prepared,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh():
    measured.clear()


def run(output, **changes):
    return runner.run(EXPERIMENT, Config(output=str(output), **changes))


def test_measures_reports_and_logs(tmp_path):
    metrics = run(tmp_path)
    folder = tmp_path / "toy-digits"
    # Of several parts: dictionaries key by key, lists end to end.
    assert metrics == {
        "rows": [{"square": 0}, {"square": 1}, {"square": 4}, {"cube": 8}], "of": {"squares": 1 / 3, "cubes": 2},
    }  # fmt: skip
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    expected = {"config.json", "environment.json", "metrics.json", "summary.md", "squares.png", "parts", "stages"}
    assert {path.name for path in folder.iterdir()} == expected
    config = json.loads((folder / "config.json").read_text())
    assert config["steps"] == 3
    assert config["names"] == ["a"]
    assert config["image_size"] == 8
    assert not {"name", "output", "progress", "report_only"} & set(config)
    (entry,) = json.loads((folder / "environment.json").read_text())
    assert entry["packages"]["jax"]
    assert entry["device"]["platform"]
    assert entry["commit"]
    assert [label.split()[0] for label in entry["computed"]] == [
        "squares/0", "squares/1", "squares/2", "squares", "cubes",
    ]  # fmt: skip
    summary = (folder / "summary.md").read_text()
    assert summary.startswith("# digits, 8 pixels, 4 rows")
    assert summary.index("## Squares") < summary.index("## Cubes")


def test_goes_on_where_it_was_and_appends_to_the_log(tmp_path):
    run(tmp_path)
    (tmp_path / "toy-digits" / "parts" / "squares.json").unlink()
    (tmp_path / "toy-digits" / "stages" / "squares" / "1.json").unlink()
    before = json.loads((tmp_path / "toy-digits" / "environment.json").read_text())
    measured.clear()
    run(tmp_path)
    assert measured == ["square 1", "squares"]
    first, second = json.loads((tmp_path / "toy-digits" / "environment.json").read_text())
    assert [first] == before
    assert [label.split()[0] for label in second["computed"]] == ["squares/1", "squares"]


def test_killed_in_the_middle_of_a_stage(tmp_path):
    """Another process is killed while it computes; what it had finished is read, what it had begun is computed."""
    command = f"from tests.experiments.test_runner import run; run({str(tmp_path)!r})"
    process = subprocess.Popen([sys.executable, "-c", command], cwd=PROJECT, env=os.environ | {"WAIT_AT": "1"})
    folder = tmp_path / "toy-digits"
    deadline = time.monotonic() + 120
    while not files.is_stored(folder / "stages" / "squares" / "0"):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # While it runs, its folder is locked.
    with pytest.raises(ValueError, match=rf"another process is running in {folder} \(process {process.pid} on "):
        run(tmp_path)
    assert measured == []
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (folder / "lock").exists()  # a stale one, which keeps nobody out
    assert not (folder / "metrics.json").exists()
    metrics = run(tmp_path)
    assert measured == ["square 1", "square 2", "squares", "cubes"]
    assert metrics == run(tmp_path, name="whole")
    assert not (folder / "lock").exists()


def test_damaged_stage_is_named(tmp_path):
    run(tmp_path)
    path = tmp_path / "toy-digits" / "parts" / "cubes.npz"
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(RuntimeError, match=r"^cubes failed: cannot read .*cubes\.json and \.npz .*delete both"):
        run(tmp_path)


def test_report_only_is_the_first_report_byte_for_byte(tmp_path):
    metrics = run(tmp_path, name="own")
    folder = tmp_path / "own"
    summary, log = (folder / "summary.md").read_bytes(), (folder / "environment.json").read_bytes()
    for name in ("summary.md", "squares.png", "metrics.json"):
        (folder / name).unlink()
    measured.clear()
    # Settings come from the run, whatever else the command says.
    assert run(tmp_path, name="own", report_only=True, steps=7) == metrics
    assert measured == []
    assert (folder / "summary.md").read_bytes() == summary
    assert (folder / "environment.json").read_bytes() == log
    assert (folder / "squares.png").exists()


def test_report_only_needs_a_finished_run(tmp_path):
    with pytest.raises(ValueError, match="holds no run; measure first"):
        run(tmp_path, report_only=True)
    assert not list(tmp_path.iterdir())
    run(tmp_path)
    (tmp_path / "toy-digits" / "parts" / "cubes.json").unlink()
    with pytest.raises(ValueError, match="has not measured cubes yet"):
        run(tmp_path, report_only=True)


def test_refuses_another_configuration_and_changes_nothing(tmp_path):
    run(tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "toy-digits").rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"steps: 3 there, 4 here.*choose another --name"):
        run(tmp_path, steps=4)
    after = {path: path.read_bytes() for path in (tmp_path / "toy-digits").rglob("*") if path.is_file()}
    assert after == before


def test_refuses_other_packages_and_names_them(tmp_path):
    metrics = run(tmp_path)
    log = tmp_path / "toy-digits" / "environment.json"
    (entry,) = json.loads(log.read_text())
    log.write_text(json.dumps([entry | {"packages": entry["packages"] | {"optax": "0.2.5", "pillow": "1.0"}}]))
    before = log.read_bytes()
    with pytest.raises(
        ValueError, match=r"\(optax 0\.2\.5 there, .* here\).*--report-only.*pip install optax==0\.2\.5$"
    ):
        run(tmp_path)
    assert run(tmp_path, report_only=True) == metrics
    assert log.read_bytes() == before
    log.write_text(json.dumps([entry]))
    assert run(tmp_path) == metrics


def test_refuses_other_images_under_the_same_name(tmp_path):
    path = tmp_path / "images.npy"
    of_a_file = dataclasses.replace(EXPERIMENT, prepare=lambda settings: (settings, np.load(settings.dataset)))
    start = lambda: runner.run(of_a_file, Config(output=str(tmp_path / "runs"), dataset=str(path)))  # noqa: E731
    np.save(path, np.arange(3.0))
    metrics = start()
    np.save(path, np.arange(3.0)[::-1])
    with pytest.raises(ValueError, match="other images under the same name"):
        start()
    np.save(path, np.arange(3.0))
    assert start() == metrics


def test_refuses_a_folder_that_is_no_run(tmp_path):
    (tmp_path / "essay").mkdir()
    (tmp_path / "essay" / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="is not a run"):
        run(tmp_path, name="essay")
    assert [p.name for p in (tmp_path / "essay").iterdir()] == ["thesis.tex"]
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ValueError, match="is not a run"):
        run(tmp_path, name="file")


def test_refuses_a_damaged_configuration(tmp_path):
    run(tmp_path)
    (tmp_path / "toy-digits" / "config.json").write_text('{"steps": ')
    with pytest.raises(ValueError, match="cannot read"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "^--steps must be at least 1, got 0$"),
        ({"batch_size": 0}, "^--batch-size must be at least 1, got 0$"),
        ({"num_images": 0}, "^--num-images must be at least 1, got 0$"),
        ({"name": "../x"}, r"--name must be the name of a folder, without a path; got '\.\./x'"),
        ({"name": ".."}, "--name must be"),
    ],
)
def test_bad_settings_leave_no_folder(tmp_path, change, message):
    output = tmp_path / "runs"
    with pytest.raises(ValueError, match=message):
        run(output, **change)
    assert measured == []
    assert not list(tmp_path.iterdir())


def test_lock_of_a_living_process_only(tmp_path):
    folder = tmp_path / "toy-digits"
    folder.mkdir()
    (folder / "lock").write_text("process 1 on another machine\n")  # left behind
    run(tmp_path)
    with (
        _folder.alone(folder, ""),
        pytest.raises(ValueError, match=rf"another process .* \(process {os.getpid()} on .*--name"),
    ):
        run(tmp_path)
    with _folder.alone(folder, ""), pytest.raises(ValueError, match=rf"another process .* \(process {os.getpid()} on "):
        run(tmp_path, report_only=True)


def test_full_disk_keeps_what_is_complete(tmp_path):
    """A limit on the size of a file, which the system enforces as it does the end of a disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    files.write_measured(tmp_path / "first", {"a": 1}, {"x": np.arange(3)})
    files.write_text(tmp_path / "text", "old")
    noise = np.random.default_rng(0).bytes(200_000)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        for write in (
            lambda: files.write_measured(tmp_path / "second", {}, {"x": np.frombuffer(noise, np.uint8)}),
            lambda: files.write_text(tmp_path / "text", "new" * 50_000),
        ):
            with pytest.raises(
                OSError, match=rf"{tmp_path} needs more room .* MB are free.* make room and start again"
            ):
                write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name for path in tmp_path.iterdir()} == {"first.json", "first.npz", "text"}
    assert files.read_measured(tmp_path / "first")[0] == {"a": 1}
    assert (tmp_path / "text").read_text() == "old"


def test_a_small_run_has_a_name_of_its_own():
    from experiments import bottleneck, local, polynomial, probing, unet_variants
    from experiments.runner.running import _folder_name

    for module in (bottleneck, local, polynomial, probing, unet_variants):
        small, full = (_folder_name(module.EXPERIMENT, module.Config(small=small)) for small in (True, False))
        assert small == f"{full}-small"


def test_origin_names_what_computed_something():
    entry = {"device": {"kind": "cpu"}, "commit": "a", "computed": ["x"]}
    assert environment.origin([entry, entry]) == "device cpu; commit a"
    assert environment.origin([entry, entry | {"commit": "b", "computed": []}]) == "device cpu; commit a"
    assert environment.origin([entry, entry | {"commit": "b"}]) == "device cpu; commit a, then b"


def test_command_line_ends_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["experiment", "--steps", "2", "--output", str(tmp_path)])
    runner.main(EXPERIMENT, "What it asks.")
    assert [name for name in measured if name.startswith("square ")] == ["square 0", "square 1"]
    monkeypatch.setattr("sys.argv", ["experiment", "--steps", "0", "--output", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"^error: --steps must be at least 1, got 0$"):
        runner.main(EXPERIMENT, "What it asks.")


def test_says_what_takes_long(capsys, monkeypatch):
    from experiments.runner import progress

    monkeypatch.setattr(progress, "_EVERY", 0.1)
    with progress.doing("counting"):
        time.sleep(1.2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "counting ..."
    assert lines[1].startswith("  ... still counting, ")
    assert lines[-1] == "  counting: 1 s"
    with progress.doing("counting", show=False):
        pass
    assert capsys.readouterr().out == ""


def test_json_has_no_nan(tmp_path):
    path = tmp_path / "metrics.json"
    files.write_json(path, {"a": 1.0})
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1.0}


def test_slug():
    assert runner.slug("No skips (2)") == "no-skips--2-"


def test_table_is_markdown():
    text = runner.table(["name", "value"], [["a", "1.0"], ["longer", "12.5"]])
    assert text.splitlines() == [
        "| name   | value |",
        "|:-------|------:|",
        "| a      |   1.0 |",
        "| longer |  12.5 |",
    ]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not bind processes to cores")
def test_the_environment_counts_the_cores_that_the_process_may_use():
    environment.environment()  # JAX's own threads are started
    usable = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(usable)})
        assert environment.environment()["cpu_count"] == 1
    finally:
        os.sched_setaffinity(0, usable)
    assert environment.environment()["cpu_count"] == len(usable)


def test_the_environment_says_how_precise_products_are():
    assert environment.environment()["matmul_precision"] is None
    with jax.default_matmul_precision("highest"):
        assert environment.environment()["matmul_precision"] == "highest"
