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
from docs import build

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


def metrics(run):
    return json.loads((PROJECT / "results" / run / "metrics.json").read_text())


def tables(path):
    """Rows of the tables of a page whose first column is not empty, as lists of cells."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


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


def test_readme_says_what_the_demo_takes_and_prints():
    record, text = json.loads((PROJECT / "results" / "demo.json").read_text()), README.read_text()
    assert f"`make demo` takes {record['seconds'] / 60:.0f} minutes on {record['cpu_count']} CPU cores" in text
    assert record["first_table_and_figure_seconds"] < 40  # "half a minute in"
    for row in record["first_table"]:
        quartiles = "{pearson_median:.3f} ({pearson_q25:.3f}–{pearson_q75:.3f})".format(**row)
        assert re.search(rf"\| {row['network']} +\| +{row['closed_form']} \| {re.escape(quartiles)} \|", text)


def test_readme_table_is_what_was_measured():
    def row(entry, floor):
        return [entry["pearson_median"], entry["r_squared_median"], floor]

    mnist, soft = metrics("local-mnist-resnet")["agreement"], metrics("local-digits-soft-window")["agreement"]
    (code,) = (
        entry
        for entry in metrics("bottleneck-mnist")["codes"]
        if (entry["code_size"], entry["decoder"]) == (2, "nonlinear")
    )
    compare = {(entry["network"], entry["closed_form"]): entry for entry in metrics("compare-digits")["comparisons"]}
    mlp, stopped = compare["MLP", "full"], compare["early stopping", "full, stopped early"]
    expected = [
        row(mnist["calibrated"], mnist["empirical"]["pearson_median"]),
        row(soft["soft window"], soft["empirical"]["pearson_median"]),
        row(code, None),
        row(mlp, mlp["pearson_with_empirical_median"]),
        row(stopped, stopped["pearson_with_empirical_median"]),
    ]
    found = [cells[2:] for cells in tables(README) if len(cells) == 5][1:]
    assert found == [["–" if number is None else f"{number:.3f}" for number in numbers] for numbers in expected]


def test_results_table_is_what_was_measured():
    def quartiles(entry, name):
        return "{:.3f} ({:.3f}–{:.3f})".format(*(entry[f"{name}_{q}"] for q in ("median", "q25", "q75")))

    expected = [
        [
            entry["network"], entry["closed_form"], quartiles(entry, "pearson"), quartiles(entry, "r_squared"),
            f"{entry['pearson_with_empirical_median']:.3f}",
        ]
        for entry in metrics("compare-digits")["comparisons"]
    ]  # fmt: skip
    assert [cells for cells in tables(PROJECT / "docs" / "results.md") if len(cells) == 5][1:] == expected


def claims():
    """Sentences of docs/results.md with their numbers filled in from the results."""
    laws = metrics("polynomial-digits")
    ks = {m["degree"]: m["ks_network"] for m in laws["marginals"] if m["target"] == "mixture"}
    same = {degree: entry["predicted"] for degree, entry in laws["moment_matching"].items()}
    yield f"is {max(ks[p] for p in (1, 2, 3, 4)):.3f} at p = 1 ... 4, and {ks[7]:.3f} at p = 7"
    yield f"at p = 2 (distance {same['2']:.0e}) and different ones at p = 3 ({same['3']:.2f})".replace("e-0", "e-")

    mnist, soft = metrics("local-mnist-resnet")["agreement"], metrics("local-digits-soft-window")["agreement"]
    found, floor = mnist["calibrated"]["pearson_median"], mnist["empirical"]["pearson_median"]
    yield f"is {found:.2f}, against {floor:.2f} for the empirical denoiser"
    assert round(soft["soft window"]["pearson_median"], 2) == round(soft["Wiener filter"]["pearson_median"], 2)
    yield f"it is {soft['soft window']['pearson_median']:.2f} for a soft window"

    capacity = metrics("bottleneck-mnist-capacity")["capacity"]
    half = dict(zip(capacity["counts"], capacity["contours"]["softmax"], strict=True))
    shares = sorted(half[n] / n for n in (32, 64, 128))
    yield f"from K = {shares[0]:.2f} N to {shares[-1]:.2f} N on (N = 32 to 128)"
    yield f"at N = 256 from {half[256] / 256:.2f} N on"
    softmax = [cell for cell in capacity["cells"] if cell["kind"] == "softmax"]
    yield f"({max(c['memorised'] for c in softmax if c['count'] >= 512):.0%} at most)".replace("%", " %")
    (short,) = (c for c in softmax if c["count"] == c["width"] == 512)
    (long,) = (c for c in metrics("bottleneck-mnist-capacity-long")["capacity"]["cells"] if c["kind"] == "softmax")
    yield (
        f"the loss is {100 * short['loss_ratio'] - 100:.1f} % above the exact denoiser's and "
        f"{100 * short['memorised']:.0f} % of the samples are copies after 6 000 steps, "
        f"{100 * long['loss_ratio'] - 100:.1f} % and {100 * long['memorised']:.0f} % after 24 000"
    )
    silu = [c for c in metrics("bottleneck-mnist-capacity-silu")["capacity"]["cells"] if c["kind"] == "silu"]
    most = max(silu, key=lambda cell: cell["memorised"])
    yield f"it is {100 * most['memorised']:.0f} % at most (N = {most['count']}, K = {most['width']:,})".replace(
        ",000", " 000"
    )

    encoder = {(cell["code_size"], cell["width"]): cell for cell in metrics("bottleneck-mnist")["encoder"]}
    at = {sizes: f"{cell['memorised']:.2f}" for sizes, cell in encoder.items()}
    yield f"are memorised ({at[2, 16]} and {at[4, 16]} of the samples)"
    yield f"not by one of 8 ({at[2, 8]} and {at[4, 8]})"
    best = [cell["memorised_closed_form"] for (r, _), cell in encoder.items() if r == 1]
    yield f"still copies {min(best):.2f} to {max(best):.2f}, training reaches {at[1, 64]} with 64 units"

    variants = metrics("unet-variants-digits")["variants"]
    frechet = {variant["name"]: variant["frechet"]["mean"] for variant in variants if not variant["failed"]}
    yield f"from {frechet['baseline']:.1f} to {frechet['circular']:.0f}"

    sweep = [c for c in metrics("unet-variants-mnist-sweep")["cells"]["sweep"] if c["label"].startswith("baseline")]
    copied = {cell["count"]: 100 * cell["novelty"]["memorised_fraction"] for cell in sweep}
    yield f"{copied.pop(16):.0f} % are copies if it was trained on 16 MNIST images, {copied.pop(32):.0f} % on 32"
    yield f"none of 512 on {min(copied)} to {max(copied) // 1000} {max(copied) % 1000} images"
    assert set(copied.values()) == {0}

    linear, network, *_ = (entry["correlation"] for entry in metrics("probing-digits")["influence"])
    yield f"(correlation {linear:.3f}), and a trained linear network's nearly so ({network:.3f})"


def test_sentences_of_the_results_are_what_was_measured():
    text = " ".join((PROJECT / "docs" / "results.md").read_text().split())
    missing = [claim for claim in claims() if claim.replace("1,024", "1 024") not in text]
    assert not missing


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
