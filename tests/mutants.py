"""Mutation pass: small changes to the package's core, one at a time, each of which some quick test must notice.

    python -m tests.mutants                    # hours on two cores; a killed pass goes on where it was
    python -m tests.mutants sampling unet      # groups of files, see `CORE`
    python -m tests.mutants --list sampling    # what would be changed
    python -m tests.mutants --report           # results/mutation.json from what has been tried

Each worker has a copy of the project. A mutant is killed if a test of its group fails, or takes ten times as long as
without it; what no test notices survives, and is printed. Mutants are tried in random order, so that those of a pass
that is not finished are a random sample of all. results/mutants.jsonl keeps every outcome; those of a file that has
changed since do not count any more.

Changed are arithmetic, comparisons, conditions, numbers and reductions in the code that computes; not annotations,
defaults of arguments and fields, decorators, and what only words an error. tests/equivalent_mutants.toml lists those
that no test can notice, with the reason; they are not tried.
"""

import argparse
import ast
import hashlib
import importlib
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

PROJECT = Path(__file__).resolve().parents[1]
DONE = PROJECT / "results" / "mutants.jsonl"
RESULT = PROJECT / "results" / "mutation.json"

CORE = {
    "sampling": (["sampling.py", "generation.py"], ["test_sampling.py", "test_generation.py", "test_golden.py"]),
    "training": (
        ["training/steps.py", "training/objective.py", "training/fitting.py", "training/_run.py", "training/_loop.py"],
        ["training/test_training.py", "training/test_together.py", "training/test_checkpoints.py", "test_golden.py"],
    ),
    "checkpoints": (["training/checkpoints.py", "training/_identity.py", "_folder.py"], ["training"]),
    "agreement": (["metrics/comparison.py"], ["metrics/test_comparison.py"]),
    "novelty": (
        [f"metrics/memorisation/{name}.py" for name in ("ratio", "neighbours", "_near_duplicates", "_search")],
        [f"metrics/memorisation/test_{name}.py" for name in ("novelty", "near_duplicates")],
    ),
    "posterior": (
        ["_numerics/posterior.py", "_numerics/streaming.py", "theory/empirical/exact.py"],
        ["_numerics/test_streaming.py", "theory/empirical"],
    ),
    "patches": (
        ["theory/patches/_posterior.py", "theory/patches/local.py"],
        ["theory/patches/test_local.py", "theory/patches/test_provenance.py"],
    ),
    "calibration": (["theory/patches/calibration.py"], ["theory/patches/test_patch_sizes.py"]),
    "polynomials": (
        ["theory/polynomial/_moments.py", "theory/polynomial/maps.py", "theory/polynomial/separable.py"],
        ["theory/polynomial"],
    ),
    "unet": (["networks/unet.py", "networks/_blocks.py"], ["networks/test_unet.py", "networks/test_convolutional.py"]),
}
"""Group -> files of the package, and the tests that must notice."""

EQUIVALENT = {
    (entry["file"], line): entry["why"]
    for entry in tomllib.loads(Path(__file__).with_name("equivalent_mutants.toml").read_text())["equivalent"]
    for line in entry["lines"]
}
"""File and changed line of a mutant -> why no test can notice it."""

IMPORTED_ONCE = (
    "chex", "diffrax", "flax.linen", "matplotlib.figure", "optax", "optimistix", "orbax.checkpoint", "pytest",
    "scipy.optimize", "scipy.stats", "skimage.metrics", "sklearn.datasets", "sklearn.metrics",
)  # fmt: skip
"""What the tests import besides the project's own modules."""

SWAPPED_OPERATORS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.Pow: "*", ast.FloorDiv: "*"}
NEGATED = {
    ast.Lt: ">=", ast.LtE: ">", ast.Gt: "<=", ast.GtE: "<", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
SWAPPED_CALLS = {
    "maximum": "minimum", "minimum": "maximum", "max": "min", "min": "max", "sum": "mean", "mean": "sum",
    "argmin": "argmax", "argmax": "argmin", "ones": "zeros", "any": "all", "all": "any",
}  # fmt: skip


class Mutant(NamedTuple):
    """Characters `start` to `end` of a file of the package are to be replaced."""

    file: str
    line: int
    start: int
    end: int
    old: str
    new: str
    changed: str  # the line as it becomes, or several lines in one

    @property
    def name(self) -> str:
        """Unique while the file does not change."""
        return f"{self.file}:{self.line}:{self.start}: {self.old} -> {self.new}"

    @property
    def is_equivalent(self) -> bool:
        """Whether it is known that no test can notice it."""
        return (self.file, self.changed) in EQUIVALENT


def mutants(file: str) -> list[Mutant]:
    """All mutants of one file of the package."""
    source = (PROJECT / "jaxcreativity" / file).read_text()
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line.encode()))
    encoded = source.encode()
    span = lambda node: (lines[node.lineno - 1] + node.col_offset, lines[node.end_lineno - 1] + node.end_col_offset)  # noqa: E731
    text = lambda node: encoded[slice(*span(node))].decode()  # noqa: E731

    def changed(node, new):
        (start, end), (before, after) = (lines[node.lineno - 1], lines[node.end_lineno]), span(node)
        return " ".join((encoded[start:before].decode() + new + encoded[after:end].decode()).split())

    return [
        Mutant(file, node.lineno, *span(node), text(node), new, changed(node, new))
        for node in _code(ast.parse(source))
        for new in _changes(node, text)
    ]


def _code(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that compute: no annotations, defaults, decorators, messages, imports, strings."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list", "args") and not isinstance(tree, ast.Call):
            continue
        for child in value if isinstance(value, list) else [value]:
            skipped = ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom
            if not isinstance(child, ast.AST) or isinstance(child, skipped) or _is_type_alias(child):
                continue
            if isinstance(tree, ast.ClassDef) and isinstance(child, ast.AnnAssign):  # a default, too
                continue
            if isinstance(child, ast.keyword) and child.arg == "strict":  # of what has one length
                continue
            yield child
            yield from _code(child)


def _is_type_alias(node):
    return isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation)


def _changes(node: ast.AST, text) -> Iterator[str]:
    """What a node's text may be replaced with."""
    if isinstance(node, ast.BinOp) and type(node.op) in SWAPPED_OPERATORS:
        yield f"({text(node.left)}) {SWAPPED_OPERATORS[type(node.op)]} ({text(node.right)})"
        if isinstance(node.op, ast.Add):
            yield f"({text(node.left)})"
            yield f"({text(node.right)})"
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield f"({text(node.left)}) {NEGATED[type(node.ops[0])]} ({text(node.comparators[0])})"
    elif isinstance(node, ast.BoolOp):
        yield (" or " if isinstance(node.op, ast.And) else " and ").join(f"({text(value)})" for value in node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield f"({text(node.operand)})"
    elif isinstance(node, ast.IfExp):
        yield f"({text(node.body)})"
        yield f"({text(node.orelse)})"
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield repr(node.value + 1 if isinstance(node.value, int) else 2 * node.value or 1.0)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
        function = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        if function in SWAPPED_CALLS:
            head = text(node.func).removesuffix(function) + SWAPPED_CALLS[function]
            yield head + text(node)[len(text(node.func)) :]
        elif function in ("stop_gradient", "square", "abs", "sqrt", "log", "exp") and len(node.args) == 1:
            yield f"({text(node.args[0])})"


class Job(NamedTuple):
    """A mutant that is to be tried, or `None` for the code as it is."""

    id: str
    group: str
    mutant: Mutant | None


def plan(groups: list[str]) -> list[Job]:
    """Every mutant of these groups that a test may notice, in random order."""
    jobs = []
    for group in groups:
        for file in CORE[group][0]:
            source = (PROJECT / "jaxcreativity" / file).read_bytes()
            for mutant in mutants(file):
                if not mutant.is_equivalent:
                    jobs.append(Job(hashlib.sha256(source + mutant.name.encode()).hexdigest()[:12], group, mutant))
    return sorted(jobs, key=lambda job: job.id)


def outcomes() -> dict[str, dict[str, Any]]:
    """The last outcome of every mutant that was ever tried, by id."""
    lines = DONE.read_text().splitlines() if DONE.exists() else []
    return {entry["id"]: entry for entry in map(json.loads, lines)}


def run(groups: list[str], workers: int) -> None:
    """Try all mutants that have not been tried yet, then those that survived: new tests may notice them.

    Raises:
        RuntimeError: if tests fail without any mutant.
    """
    before = outcomes()
    jobs = [job for job in plan(groups) if before.get(job.id, {"outcome": "survived"})["outcome"] == "survived"]
    jobs.sort(key=lambda job: job.id in before)
    jobs = [Job("", group, None) for group in dict.fromkeys(job.group for job in jobs)] + jobs
    limits = dict.fromkeys(groups, math.inf)
    with tempfile.TemporaryDirectory() as folder:
        free = [Path(folder) / str(number) for number in range(workers)]
        for tree in free:
            kept_out = shutil.ignore_patterns(".git", ".venv", "build", "dist", "runs", "results", ".pytest_cache")
            shutil.copytree(PROJECT, tree, ignore=kept_out)
        running: dict[int, tuple[Job, Path, float]] = {}
        while jobs or running:
            while jobs and free:
                job, tree = jobs.pop(0), free.pop()
                running[_start(tree, job)] = job, tree, time.monotonic()
            time.sleep(0.05)
            for pid, (job, tree, began) in list(running.items()):
                ended, status = os.waitpid(pid, os.WNOHANG)
                seconds = time.monotonic() - began
                if not ended and seconds < limits[job.group]:
                    continue
                if not ended:
                    os.killpg(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                if job.mutant:
                    outcome = "killed (time)" if not ended else "survived" if status == 0 else "killed"
                    _keep(job, outcome, seconds, len(jobs))
                    shutil.copy(PROJECT / "jaxcreativity" / job.mutant.file, tree / "jaxcreativity" / job.mutant.file)
                elif status:
                    log = (tree / "log").read_text()[-2000:]
                    raise RuntimeError(f"tests fail without any mutant: {CORE[job.group][1]}\n{log}")
                else:
                    limits[job.group] = 60 + 10 * seconds
                del running[pid]
                free.append(tree)


def _keep(job: Job, outcome: str, seconds: float, num_left: int) -> None:
    with DONE.open("a") as file:
        file.write(json.dumps({"id": job.id, "outcome": outcome, "seconds": round(seconds, 1)}) + "\n")
    shown = f"  as {job.mutant.changed}" if outcome == "survived" else ""
    print(f"{num_left:5d} left  {outcome:9s} {seconds:6.1f} s  {job.mutant.name}{shown}", flush=True)


def _start(tree: Path, job: Job) -> int:
    """Run the tests of a group on a mutant, in a process that need not import JAX again; returns its number."""
    if job.mutant:
        path = tree / "jaxcreativity" / job.mutant.file
        encoded = path.read_bytes()
        path.write_bytes(encoded[: job.mutant.start] + job.mutant.new.encode() + encoded[job.mutant.end :])
    if pid := os.fork():
        return pid
    try:
        os.setsid()
        os.chdir(tree)
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.path[:] = [str(tree), *(place for place in sys.path if place not in ("", str(PROJECT)))]
        for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "jaxcreativity", "experiments")]:
            del sys.modules[name]
        import pytest

        options = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of what was imported before
        os._exit(int(pytest.main([*options, *(f"tests/{test}" for test in CORE[job.group][1])])))
    except BaseException:
        traceback.print_exc()
        os._exit(70)  # never on into what the parent goes on with


def summary(groups: list[str]) -> dict[str, Any]:
    """Counts by group, the share that survived (of a sample with its 95 % interval), and the survivors."""
    from scipy.stats import binomtest

    found = outcomes()
    jobs = plan(groups)
    tried = [job for job in jobs if job.id in found]
    survivors = [job for job in tried if found[job.id]["outcome"] == "survived"]

    def count(jobs, group):
        return sum(job.group == group for job in jobs)

    test = binomtest(len(survivors), max(1, len(tried)))
    interval = test.proportion_ci(method="wilson") if len(tried) < len(jobs) else 2 * (test.statistic,)
    return {
        "mutants": len(jobs),
        "tried": len(tried),
        "survived": len(survivors),
        "share_survived": test.statistic,
        "share_survived_low": float(interval[0]),
        "share_survived_high": float(interval[1]),
        "equivalent_lines": len(EQUIVALENT),
        "seconds": round(sum(found[job.id]["seconds"] for job in tried), 1),
        "groups": {
            group: {"mutants": count(jobs, group), "tried": count(tried, group), "survived": count(survivors, group)}
            for group in groups
        },
        "survivors": sorted(job.mutant.name for job in survivors),
    }


def main() -> None:
    """The command of this module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {', '.join(CORE)}; all by default")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    groups = arguments.groups or list(CORE)
    if arguments.list:
        for mutant in (mutant for group in groups for file in CORE[group][0] for mutant in mutants(file)):
            print(f"{mutant.name:60}  {'equivalent: ' if mutant.is_equivalent else ''}{mutant.changed}")
        return
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(PROJECT / ".pytest_cache" / "xla")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    # Imported once, before any mutant's process begins; JAX starts no threads until it computes.
    for module in IMPORTED_ONCE:
        importlib.import_module(module)
    from experiments.runner.environment import environment
    from experiments.runner.files import write_json

    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
    if not arguments.report:
        run(groups, arguments.workers)
    # JAX must not have computed where processes begin.
    write_json(RESULT, environment() | summary(list(CORE)))
    print(json.dumps(summary(groups), indent=2))


if __name__ == "__main__":
    main()
