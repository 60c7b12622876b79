"""Mutation pass: small changes to the package's core, one at a time, each of which some quick test must notice.

    python -m tests.mutants                    # hours on two cores; a killed pass goes on where it was
    python -m tests.mutants sampling unet      # groups of files, see `CORE`
    python -m tests.mutants --list sampling    # what would be changed

Each worker has a copy of the project. A mutant is killed if a test of its group fails, or takes ten times as long as
without it; what no test notices survives, and is printed. results/mutation.json holds the outcome of all groups.

Changed are arithmetic, comparisons, conditions, numbers and reductions in the code that computes; not annotations,
defaults of arguments and fields, decorators, and what only words an error. tests/equivalent_mutants.toml lists those
that no test can notice, with the reason; they are not tried.
"""

import argparse
import ast
import functools
import hashlib
import importlib
import json
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
DONE = PROJECT / "build" / "mutants.jsonl"
RESULT = PROJECT / "results" / "mutation.json"

CORE = {
    "sampling": (["sampling.py", "generation.py"], ["test_sampling.py", "test_generation.py", "test_golden.py"]),
    "training": (
        ["training/steps.py", "training/objective.py", "training/fitting.py", "training/_run.py", "training/_loop.py"],
        [
            *(f"training/test_{name}.py" for name in ("training", "together", "checkpoints", "identity")),
            "test_golden.py",
        ],
    ),
    "checkpoints": (["training/checkpoints.py", "training/_identity.py", "_folder.py"], ["training"]),
    "agreement": (["metrics/comparison.py"], ["metrics/test_comparison.py"]),
    "novelty": (
        [f"metrics/memorisation/{name}.py" for name in ("ratio", "neighbours", "_near_duplicates", "_search")],
        ["metrics/memorisation"],
    ),
    "posterior": (
        ["_numerics/posterior.py", "_numerics/streaming.py", "theory/empirical/exact.py"],
        ["_numerics", "theory/empirical"],
    ),
    "patches": (
        ["theory/patches/_posterior.py", "theory/patches/local.py", "theory/patches/calibration.py"],
        ["theory/patches"],
    ),
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


def run(groups: list[str], workers: int) -> list[dict[str, Any]]:
    """Try all mutants that have not been tried yet; returns every outcome of these groups."""
    done = {entry["id"]: entry for entry in map(json.loads, DONE.read_text().splitlines())} if DONE.exists() else {}
    DONE.parent.mkdir(exist_ok=True)
    outcomes, jobs = [], []
    for group in groups:
        files, tests = CORE[group]
        for file in files:
            version = hashlib.sha256((PROJECT / "jaxcreativity" / file).read_bytes()).hexdigest()[:8]
            for mutant in mutants(file):
                if mutant.is_equivalent:
                    continue
                entry = {
                    "id": f"{version} {mutant.name}",
                    "group": group,
                    "mutant": mutant.name,
                    "changed": mutant.changed,
                }
                kept = done.get(entry["id"])
                if kept and kept["outcome"] != "survived":  # new tests may notice what survived
                    outcomes.append(kept)
                else:
                    jobs.append((entry, mutant, tests))
    with tempfile.TemporaryDirectory() as folder:
        as_it_is, *trees = (Path(folder) / str(number) for number in range(1 + workers))
        for tree in (as_it_is, *trees):
            kept_out = shutil.ignore_patterns(".git", ".venv", "build", "dist", "runs", "results", ".pytest_cache")
            shutil.copytree(PROJECT, tree, ignore=kept_out)
        limit = functools.cache(lambda group: 60 + 10 * _time_without(as_it_is, CORE[group][1]))
        running: dict[int, tuple] = {}
        free = list(trees)
        while jobs or running:
            while jobs and free:
                entry, mutant, tests = jobs.pop(0)
                tree = free.pop()
                limit(entry["group"])  # tests that fail without a mutant end the pass
                running[_start(tree, mutant, tests)] = (entry, mutant, tree, time.monotonic())
            time.sleep(0.05)
            for pid, (entry, mutant, tree, began) in list(running.items()):
                ended, status = os.waitpid(pid, os.WNOHANG)
                late = time.monotonic() - began > limit(entry["group"])
                if not ended and not late:
                    continue
                if not ended:
                    os.killpg(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                outcome = "killed (time)" if not ended else "survived" if status == 0 else "killed"
                entry |= {"outcome": outcome, "seconds": round(time.monotonic() - began, 1)}
                with DONE.open("a") as file:
                    file.write(json.dumps(entry) + "\n")
                outcomes.append(entry)
                print(f"{len(jobs):5d} left  {outcome:9s} {entry['seconds']:6.1f} s  {mutant.name}", flush=True)
                shutil.copy(PROJECT / "jaxcreativity" / mutant.file, tree / "jaxcreativity" / mutant.file)
                del running[pid]
                free.append(tree)
    return outcomes


def _start(tree: Path, mutant: Mutant | None, tests: list[str]) -> int:
    """Run the tests of a group on a mutant, in a process that need not import JAX again; returns its number."""
    if mutant:
        path = tree / "jaxcreativity" / mutant.file
        encoded = path.read_bytes()
        path.write_bytes(encoded[: mutant.start] + mutant.new.encode() + encoded[mutant.end :])
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
        os._exit(int(pytest.main([*options, *(f"tests/{test}" for test in tests)])))
    except BaseException:
        traceback.print_exc()
        os._exit(70)  # never on into what the parent goes on with


def _time_without(tree: Path, tests: list[str]) -> float:
    """Seconds that the tests of a group take on the code as it is.

    Raises:
        RuntimeError: if they fail.
    """
    began = time.monotonic()
    if os.waitpid(_start(tree, None, tests), 0)[1]:
        raise RuntimeError(f"tests fail without any mutant: {tests}\n{(tree / 'log').read_text()[-2000:]}")
    return time.monotonic() - began


def summary(outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts by group, and the survivors."""
    survivors = [entry["mutant"] for entry in outcomes if entry["outcome"] == "survived"]
    groups = {
        group: {
            "mutants": sum(entry["group"] == group for entry in outcomes),
            "survived": sum(entry["group"] == group and entry["outcome"] == "survived" for entry in outcomes),
        }
        for group in dict.fromkeys(entry["group"] for entry in outcomes)
    }
    share = len(survivors) / max(1, len(outcomes))
    return {"groups": groups, "share_survived": share, "survivors": survivors, "equivalent": len(EQUIVALENT)}


def main() -> None:
    """The command of this module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {', '.join(CORE)}; all by default")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--list", action="store_true")
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
    began = time.monotonic()
    found = summary(run(groups, arguments.workers))
    print(json.dumps(found, indent=2))
    if groups == list(CORE):
        # Asked for last: JAX must not have computed where processes begin.
        write_json(RESULT, environment() | {"seconds": round(time.monotonic() - began, 1)} | found)


if __name__ == "__main__":
    main()
