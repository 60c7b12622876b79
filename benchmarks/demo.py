"""What a newcomer waits for: `make demo` in a fresh clone of the last commit, installed, nothing compiled before.

`python -m benchmarks.demo` takes about six minutes on a machine that does nothing else, and writes results/demo.json.
"""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from experiments.runner.environment import environment
from experiments.runner.files import write_json

PROJECT = Path(__file__).resolve().parents[1]
FIRST = "compare-digits"
"""The run that the demo begins with; its first table compares an MLP."""


def main() -> None:
    """The command of this module's docstring."""
    entry = environment() | {"command": "make demo", "what": "in a fresh clone, installed, nothing compiled before"}
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "jaxcreativity"
        subprocess.run(["git", "clone", "--quiet", PROJECT, clone], check=True)
        subprocess.run(["make", ".venv/installed"], cwd=clone, check=True)
        entry |= measure(clone)
    write_json(PROJECT / "results" / "demo.json", entry)
    print(json.dumps(entry, indent=2))


def measure(clone: Path) -> dict[str, Any]:
    """Seconds of the demo, of each experiment, and until the first table and figure are there.

    Args:
        clone: an installed clone without runs.

    Raises:
        subprocess.CalledProcessError: if the demo fails.
    """
    settings = {name: value for name, value in os.environ.items() if name != "TFDS_DATA_DIR"}
    settings["PYTHONUNBUFFERED"] = "1"
    began, wall, first_table = time.perf_counter(), time.time(), None
    command = ["make", "demo"]
    with subprocess.Popen(command, cwd=clone, env=settings, stdout=subprocess.PIPE, text=True) as demo:
        for line in demo.stdout:
            print(line, end="", flush=True)
            if first_table is None and line.startswith("| MLP"):
                first_table = time.perf_counter() - began
    if demo.returncode:
        raise subprocess.CalledProcessError(demo.returncode, command)
    seconds = time.perf_counter() - began
    runs = clone / "runs"
    first_figure = min(path.stat().st_mtime for path in (runs / FIRST).glob("*.png")) - wall
    starts = {path.parent.name: json.loads(path.read_text()) for path in runs.glob("*/environment.json")}
    rows = json.loads((runs / FIRST / "metrics.json").read_text())["comparisons"]
    return {
        "seconds": round(seconds),
        "first_table_and_figure_seconds": round(max(first_table, first_figure)),
        "experiments_seconds": {
            name: sum(start["seconds"] for start in of_run) for name, of_run in sorted(starts.items())
        },
        "first_table": [row for row in rows if row["network"] == "MLP"],
    }


if __name__ == "__main__":
    main()
