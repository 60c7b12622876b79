"""Every notebook runs from its first cell to its last, in a process of its own, with warnings as errors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
# The cache of compiled programs is shared by processes (pyproject.toml).
UNFINISHED = "ignore:Error reading persistent compilation cache:UserWarning"
SITE = "https://jaxcreativity.github.io/jaxcreativity"


def cells(path, kind):
    document = json.loads(path.read_text())
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_ready_for_colab(path):
    """Badge of its own name, link to the rendered page, install cell first, no stored outputs."""
    first = cells(path, "markdown")[0]
    assert f"notebooks/{path.name})" in first
    assert f"{SITE}/notebooks/{path.stem}.html" in first
    assert "pip" in cells(path, "code")[0]
    assert all(not c["outputs"] for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_uses_the_face(path):
    """One import of the package, and batches by `generate`."""
    code = "\n".join(cells(path, "code"))
    assert "import jaxcreativity as jc" in code
    assert "from jaxcreativity" not in code
    assert "vmap(sample" not in code


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_to_the_site_have_pages(path):
    for text in cells(path, "markdown"):
        for link in text.split(f"{SITE}/")[1:]:
            page = link.partition(".html")[0]
            assert (PROJECT / page).with_suffix(".ipynb" if page.startswith("notebooks") else ".md").exists(), page


@pytest.mark.slow  # `make docs` runs them, too
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join(["import matplotlib", 'matplotlib.use("agg")', *cells(path, "code")]))
    command = [sys.executable, "-W", "error", "-W", UNFINISHED, str(script)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
