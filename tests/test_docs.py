"""README and documentation: examples run, numbers are those of the results, links lead somewhere, no name is lost."""

import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxcreativity
from docs import build, claims

PROJECT = Path(__file__).resolve().parents[1]
README = PROJECT / "README.md"
PAGES = [README, PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").rglob("*.md"))]

# The cache of compiled programs is shared by processes (pyproject.toml).
UNFINISHED = "ignore:Error reading persistent compilation cache:UserWarning"

DOCTESTS = """
import doctest, sys
tried = [doctest.testfile(path, module_relative=False) for path in sys.argv[1:]]
sys.exit(any(result.failed for result in tried) or not all(result.attempted for result in tried))
"""


def test_readme_is_one_page():
    word = re.compile(r"\S*\w\S*")
    text = README.read_text()
    assert len(word.findall(text)) <= 700
    assert len(word.findall(text.partition("```")[0])) < 200


def test_examples_run_as_a_user_runs_them():
    """In float32, with warnings as errors, from the repository's root."""
    pages = [str(path) for path in PAGES if ">>>" in path.read_text()]
    assert str(README) in pages
    command = [sys.executable, "-W", "error", "-W", UNFINISHED, "-c", DOCTESTS, *pages]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_half_a_minute_into_the_demo_is_true():
    record = json.loads((PROJECT / "results" / "demo.json").read_text())
    assert "half a minute in" in README.read_text()
    assert record["first_table_and_figure_seconds"] < 40


def test_numbers_are_those_of_the_record():
    assert claims.main([]) is None


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page of three numbers, one of them given, and the claims that it makes of a record."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a-seed1").mkdir()
    (tmp_path / "a" / "metrics.json").write_text('{"rows": [{"k": 2, "share": 0.126, "n": 16384}]}')
    (tmp_path / "a-seed1" / "metrics.json").write_text('{"rows": [{"k": 2, "share": 0.25}]}')
    monkeypatch.setattr(claims, "RESULTS", tmp_path)
    claims._record.cache_clear()
    (tmp_path / "claims.toml").write_text("""\
given = ["above 1 %"]
[[claim]]
page = "a.md"
text = "share is {} % ({} % at most) of {} images"
run = "a"
at = "rows[?k==`2`] | [0]"
numbers = [
    { key = "share", digits = ".1f", times = 100 },
    { key = "share", digits = ".0f", times = 100, seeds = "max" },
    { key = "n", digits = ",d" },
]
""")
    yield (
        claims.load(tmp_path / "claims.toml"),
        "If above 1 %, no, the\nshare is 12.6 % (25 % at most)\nof 16 384 images.",
    )
    claims._record.cache_clear()


def test_claims_take_their_numbers_from_the_record(page):
    (found, given), text = page
    assert found[0].numbers == ("12.6", "25", "16 384")
    assert claims.problems(found, given, {"a.md": text}) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("12.6", "12.7", "the record"),
        ("16 384", "16 385", "the record"),
        ("share is", "share was", "has 0 times"),
        ("no,", "no, 0.3,", "no claim has"),
        ("no,", "no, 7 %,", "no claim has"),
    ],
)
def test_what_differs_from_the_record_is_named(page, old, new, problem):
    (found, given), text = page
    assert problem in " ".join(claims.problems(found, given, {"a.md": text.replace(old, new)}))


def test_numbers_are_put_into_the_text(page):
    (found, _), text = page
    wrong = text.replace("12.6", "1.23").replace("25 %", "3 %").replace("16 384", "7")
    assert claims.rewritten(found, "a.md", wrong) == text


def test_reference_lacks_no_public_name():
    pages = {module.__name__: build.api_page(module) for module in build.public_modules()}
    found = pkgutil.walk_packages(jaxcreativity.__path__, "jaxcreativity.")
    packages = [package.name for package in found if package.ispkg and "._" not in package.name]
    assert {"jaxcreativity.theory", "jaxcreativity.theory.linear", "jaxcreativity.metrics"} <= set(packages)
    for package in packages:
        module = importlib.import_module(package)
        for name in module.__all__:
            inner = getattr(module, name)
            described = (
                inner.__name__ in pages if inspect.ismodule(inner) else f"::: {package}.{name}\n" in pages[package]
            )
            assert described, f"{package}.{name}"
    face = pages["jaxcreativity"]
    for name in (
        "sample",
        "generate",
        "trajectory",
        "log_density",
        "score",
        "predicted_noise",
        "Piecewise",
        "Denoiser",
    ):
        assert f"::: jaxcreativity.{name}\n" in face, name
    assert all(f"jaxcreativity.{name}" in pages for name in jaxcreativity._LOADED_WHEN_USED)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if target.startswith("http"):
            continue
        path = (page.parent / target).resolve()
        if path.parent == PROJECT / "docs" / "api":  # made by docs/build.py
            assert importlib.import_module(path.stem) in build.public_modules(), target
        else:
            assert path.exists(), target


def test_pages_that_docstrings_name_are_there():
    for path in (PROJECT / "jaxcreativity").rglob("*.py"):
        for page in re.findall(r"docs/[a-z_/]+\.md", path.read_text()):
            assert (PROJECT / page).exists(), f"{path.relative_to(PROJECT)} names {page}"


def test_navigation_has_every_page():
    listed = (PROJECT / "docs" / "mkdocs.yml").read_text()
    for page in [*PAGES, *(PROJECT / "notebooks").glob("*.ipynb")]:
        assert str(page.relative_to(PROJECT).with_suffix(".md")) in listed
