import dataclasses
import json

import pytest

from experiments import runs


@dataclasses.dataclass(frozen=True)
class Config:
    steps: int = 3
    names: tuple[str, ...] = ("a",)


def test_opens_and_reopens_with_the_same_configuration(tmp_path):
    folder = runs.open_run(tmp_path / "run", Config())
    (folder / "metrics.json").write_text("{}")
    assert runs.open_run(tmp_path / "run", Config()) == folder
    assert (folder / "metrics.json").exists()
    assert json.loads((folder / "config.json").read_text()) == {"steps": 3, "names": ["a"]}
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["jax"]
    assert environment["device"]["platform"]
    assert environment["commit"]


def test_refuses_another_configuration_and_changes_nothing(tmp_path):
    runs.open_run(tmp_path / "run", Config())
    before = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(ValueError, match=r"steps: 3 there, 4 here.*choose another --name"):
        runs.open_run(tmp_path / "run", Config(steps=4))
    assert (tmp_path / "run" / "config.json").read_bytes() == before


def test_refuses_a_folder_that_is_no_run(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="is not a run"):
        runs.open_run(tmp_path, Config())
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ValueError, match="is not a run"):
        runs.open_run(tmp_path / "thesis.tex", Config())


def test_refuses_a_damaged_configuration(tmp_path):
    runs.open_run(tmp_path / "run", Config())
    (tmp_path / "run" / "config.json").write_text('{"steps": ')
    with pytest.raises(ValueError, match="cannot read"):
        runs.open_run(tmp_path / "run", Config())


def test_command_line_ends_in_one_line(monkeypatch):
    def main(config):
        if config.steps < 1:
            raise ValueError("steps must be at least 1")
        done.append(config.steps)

    done = []
    monkeypatch.setattr("sys.argv", ["experiment", "--steps", "2"])
    runs.cli(main, Config, "What it asks.")
    assert done == [2]
    monkeypatch.setattr("sys.argv", ["experiment", "--steps", "0"])
    with pytest.raises(SystemExit, match=r"^error: steps must be at least 1$"):
        runs.cli(main, Config, "What it asks.")


def test_json_has_no_nan(tmp_path):
    path = tmp_path / "metrics.json"
    runs.write_json(path, {"a": 1.0})
    with pytest.raises(ValueError, match="JSON"):
        runs.write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1.0}


def test_table_is_markdown():
    text = runs.table(["name", "value"], [["a", "1.0"], ["longer", "12.5"]])
    assert text.splitlines() == [
        "| name   | value |",
        "|:-------|------:|",
        "| a      |   1.0 |",
        "| longer |  12.5 |",
    ]
