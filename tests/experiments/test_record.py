import json

import pytest

from experiments import record

ENTRY = {
    "started": "2026-01-02T03:04:05Z",
    "command": "python -m experiments.compare --output results --seed 1",
    "python": "3.11.7",
    "packages": {"jax": "0.10.1"},
    "commit": "0123456789abcdef-dirty",
    "device": {"platform": "cpu", "kind": "cpu", "count": 1},
    "cpu_count": 2,
    "seconds": 10.4,
    "computed": ["linear (9 s)"],
}


@pytest.fixture
def results(tmp_path):
    later = ENTRY | {"started": "2026-01-03T00:00:00Z", "commit": "f" * 40, "seconds": 5.0, "computed": ["probe (4 s)"]}
    drawn = ENTRY | {"commit": "e" * 40, "computed": [], "seconds": 1.0}
    gpu = ENTRY | {"device": {"platform": "gpu", "kind": "H100", "count": 4}, "packages": {"jax": "0.11.2"}}
    exact = gpu | {"matmul_precision": "highest"}
    speed = ENTRY | {"command": "python -m benchmarks.local", "tables": {"speed": [{"k": 3, "seconds": 1.2345}]}}
    for name, entries in (("a", [ENTRY]), ("b", [ENTRY, later, drawn]), ("c", [gpu]), ("d", [exact])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "environment.json").write_text(json.dumps(entries))
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "local.json").write_text(json.dumps(speed))
    return tmp_path


def test_overview_says_how_each_folder_was_made(results):
    lines = record.overview(results).splitlines()
    cells = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines if "|" in line
    }
    command = "`python -m experiments.compare --seed 1`"
    assert cells["[a](a/summary.md)"] == [command, "`0123456-dirty`", "2 CPU cores", "10", "2026-01-02"]
    # Of three starts, those that computed something; the time of all.
    assert cells["[b](b/summary.md)"] == [command, "`0123456-dirty`, `fffffff`", "2 CPU cores", "16", "2026-01-02"]
    assert cells["[c](c/summary.md)"][2] == "4 H100"
    assert cells["[d](d/summary.md)"][2] == "4 H100, matmul precision highest"
    assert cells["[benchmarks/local.json](benchmarks/local.json)"][0] == "`python -m benchmarks.local`"
    assert cells["3"] == ["1.23"]


def test_overview_says_which_start_computed_what(results):
    text = record.overview(results)
    assert "`a`:" not in text
    assert "2. 2026-01-03T00:00:00Z, `fffffff`, 2 CPU cores, 5 s: probe (4 s)" in text
    assert "3. 2026-01-02T03:04:05Z, `eeeeeee`, 2 CPU cores, 1 s: nothing; drew the report" in text


def test_overview_lists_each_set_of_versions_once(results):
    text = record.overview(results)
    assert text.count("Python 3.11.7, jax 0.10.1") == 1
    assert text.count("Python 3.11.7, jax 0.11.2") == 1


def test_overview_is_that_of_the_folders():
    assert (record.RESULTS / "README.md").read_text() == record.overview(record.RESULTS)
