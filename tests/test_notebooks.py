"""Every notebook runs from its first cell to its last, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))


def cells(path, kind):
    document = json.loads(path.read_text())
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_ready_for_colab(path):
    """Badge of its own name, install cell first, no stored outputs."""
    assert f"notebooks/{path.name}" in cells(path, "markdown")[0]
    assert "pip" in cells(path, "code")[0]
    assert all(not c["outputs"] for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join(["import matplotlib", 'matplotlib.use("agg")', *cells(path, "code")]))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
