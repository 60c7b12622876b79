"""The pass: which mutants of which files, tried one at a time by which tests, and what has been found."""

import hashlib
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tests.mutants.changes import EQUIVALENT, PROJECT, Mutant, mutants

DONE = PROJECT / "results" / "mutants.jsonl"
KILLER = "killer"
"""File of a tree that names the test that failed."""

CORE = {
    "sampling": (["sampling.py", "generation.py"], ["test_sampling.py", "test_generation.py", "test_golden.py"]),
    "training": (
        ["training/steps.py", "training/objective.py", "training/fitting.py", "training/_run.py", "training/_loop.py"],
        ["training", "test_golden.py"],
    ),
    "checkpoints": (["training/checkpoints.py", "training/_identity.py", "_folder.py"], ["training"]),
    "agreement": (["metrics/comparison.py"], ["metrics/test_comparison.py"]),
    "novelty": (
        [f"metrics/memorisation/{name}.py" for name in ("ratio", "neighbours", "_near_duplicates", "_search")],
        [f"metrics/memorisation/test_{name}.py" for name in ("novelty", "near_duplicates")],
    ),
    "posterior": (
        ["_numerics/posterior.py", "_numerics/rows.py", "_numerics/streaming.py", "theory/empirical/exact.py"],
        ["_numerics/test_posterior.py", "_numerics/test_streaming.py", "theory/empirical"],
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
    killers = {group: Counter() for group in groups}
    with tempfile.TemporaryDirectory() as folder:
        free = [Path(folder) / str(number) for number in range(workers)]
        for tree in free:
            kept_out = shutil.ignore_patterns(".git", ".venv", "build", "dist", "runs", "results", ".pytest_cache")
            shutil.copytree(PROJECT, tree, ignore=kept_out)
        running: dict[int, tuple[Job, Path, float]] = {}
        while jobs or running:
            while jobs and free:
                job, tree = jobs.pop(0), free.pop()
                running[_start(tree, job, killers[job.group])] = job, tree, time.monotonic()
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
                    killers[job.group].update((tree / KILLER).read_text().splitlines())
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


class LikelyFirst:
    """A plugin of pytest: tests that noticed most mutants before come first, and one that fails is written down."""

    def __init__(self, killers: Counter):
        self.killers = killers
        Path(KILLER).write_text("")

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: -self.killers[item.nodeid])

    def pytest_runtest_logreport(self, report):
        if report.failed:
            Path(KILLER).write_text(report.nodeid)


def _start(tree: Path, job: Job, killers: Counter) -> int:
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
        tests = [f"tests/{test}" for test in CORE[job.group][1]]
        os._exit(int(pytest.main([*options, *tests], plugins=[LikelyFirst(killers)])))
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
