"""What results/ holds, and how it was made: writes results/README.md from the folders themselves.

python -m experiments.record
"""

import json
import shlex
from pathlib import Path
from typing import Any

from experiments.runner.files import write_text
from experiments.runner.tables import table, table_of

RESULTS = Path(__file__).resolve().parents[1] / "results"

HEAD = """# Results

Written by `make results` from what is in the folders. Each is what its command wrote: `config.json` has all settings,
`environment.json` an entry for every start, `metrics.json` the numbers behind the tables of `summary.md`, and `parts/`
what was measured, from which `--report-only` draws all again (stages and trained networks are left out here).
`make record` runs every command anew.

Seconds are wall time of all starts, whatever else the machine did. A commit that ends in `-dirty` had changed files.
"""


def overview(results: Path) -> str:
    """The page: all runs in one table, runs of several starts with what each of these computed, and single files.

    Args:
        results: folder of the runs' folders and of single `.json` files that say how they were made.
    """
    runs = {path.parent.name: json.loads(path.read_text()) for path in sorted(results.glob("*/environment.json"))}
    places = ("*.json", "benchmarks/*.json", "networks/*.json")
    single_files = sorted(path for place in places for path in results.glob(place))
    singles = {path.relative_to(results): json.loads(path.read_text()) for path in single_files}
    sections = [HEAD, _runs(runs)]
    if resumed := {name: entries for name, entries in runs.items() if len(entries) > 1}:
        sections += ["## Runs of several starts\n", *(_starts(name, entries) for name, entries in resumed.items())]
    if singles:
        sections += ["## Single files\n", _singles(singles)]
    sections += [
        "## Versions\n",
        _versions([*(entry for entries in runs.values() for entry in entries), *singles.values()]),
    ]
    return "\n".join(sections)


def main() -> None:
    """The command of this module's docstring."""
    write_text(RESULTS / "README.md", overview(RESULTS))


def _runs(runs: dict[str, list[dict[str, Any]]]) -> str:
    rows = []
    for name, entries in runs.items():
        commits = dict.fromkeys(entry["commit"] for entry in _computing(entries))
        devices = dict.fromkeys(_device(entry) for entry in _computing(entries))
        rows.append(
            [
                f"[{name}]({name}/summary.md)",
                f"`{_command(entries[0])}`",
                ", ".join(f"`{_short(commit)}`" for commit in commits),
                ", then ".join(devices),
                f"{sum(entry['seconds'] for entry in entries):.0f}",
                entries[0]["started"][:10],
            ]
        )
    return table(["folder", "command", "commit", "device", "seconds", "day"], rows) + "\n"


def _starts(name: str, entries: list[dict[str, Any]]) -> str:
    lines = [f"`{name}`:\n"]
    for number, entry in enumerate(entries, 1):
        computed = ", ".join(entry["computed"]) or "nothing; drew the report"
        what = f"{entry['started']}, `{_short(entry['commit'])}`, {_device(entry)}, {entry['seconds']:.0f} s"
        lines.append(f"{number}. {what}: {computed}")
    return "\n".join(lines) + "\n"


def _singles(singles: dict[Path, dict[str, Any]]) -> str:
    rows = [
        [
            f"[{path}]({path})", f"`{entry['command']}`", f"`{_short(entry['commit'])}`", _device(entry),
            f"{entry['seconds']:.0f}", entry["started"][:10],
        ]
        for path, entry in singles.items()
    ]  # fmt: skip
    tables = [
        f"`{path}`, {title}:\n\n{table_of(found)}\n"
        for path, entry in singles.items()
        for title, found in entry.get("tables", {}).items()
    ]
    return "\n".join([table(["file", "command", "commit", "device", "seconds", "day"], rows) + "\n", *tables])


def _versions(entries: list[dict[str, Any]]) -> str:
    found = dict.fromkeys(
        f"Python {entry['python']}, " + ", ".join(f"{name} {version}" for name, version in entry["packages"].items())
        for entry in entries
    )
    return "\n".join(f"- {versions}" for versions in found) + "\n"


def _computing(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in entries if entry["computed"]] or entries


def _command(entry: dict[str, Any]) -> str:
    """The command without where it wrote to, which the folder's place says."""
    words = shlex.split(entry["command"])
    if "--output" in words:
        del words[words.index("--output") : words.index("--output") + 2]
    return shlex.join(words)


def _device(entry: dict[str, Any]) -> str:
    device, cores, precision = entry["device"], entry["cpu_count"], entry.get("matmul_precision")
    if device["platform"] == "cpu":
        return f"{cores} CPU core{'s'[: cores > 1]}"
    return f"{device['count']} {device['kind']}" + (f", matmul precision {precision}" if precision else "")


def _short(commit: str) -> str:
    sha, dash, dirty = commit.partition("-")
    return sha[:7] + dash + dirty


if __name__ == "__main__":
    main()
