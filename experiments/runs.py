"""The command line and the folder of a run: resolved configuration, versions and commit, metrics, tables."""

import dataclasses
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxcreativity.training.checkpoints import differences

PACKAGES = ("jaxcreativity", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def open_run(folder: str | Path, config: Any) -> Path:
    """Create the folder of a run, or reopen it to resume a run of the same configuration.

    Args:
        folder: where the run lives.
        config: the resolved configuration, a dataclass of JSON-serialisable fields.

    Raises:
        ValueError: if the folder holds a run of another configuration, or something else than a run.
    """
    folder = Path(folder)
    resolved = json.loads(json.dumps(dataclasses.asdict(config)))
    path = folder / "config.json"
    if path.exists():
        try:
            found = json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"cannot read {path} ({error}); delete {folder} or choose another --name") from error
        if changes := differences(found, resolved):
            raise ValueError(
                f"{folder} holds a run of another configuration ({changes}). Nothing was changed: "
                "choose another --name, or delete that folder"
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and is not a run of this project; choose another --name")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, resolved)
    write_json(folder / "environment.json", environment())
    return folder


def cli(main: Callable[[Any], Any], config: type, description: str) -> None:
    """Run an experiment with the settings of the command line; bad settings and data end it with their message.

    On CPUs, where compilation is most of a short run's time, compiled programs are kept in the folder `programs` beside
    the runs, unless JAX was told where to keep them.

    Args:
        main: configuration -> anything.
        config: dataclass whose fields are the settings.
        description: the experiment's docstring.
    """
    import tyro

    try:
        settings = tyro.cli(config, description=description)
        if jax.default_backend() == "cpu" and jax.config.jax_compilation_cache_dir is None:
            programs = Path(getattr(settings, "output", "runs")).absolute() / "programs"
            jax.config.update("jax_compilation_cache_dir", str(programs))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
        main(settings)
    except (ValueError, FloatingPointError) as error:
        sys.exit(f"error: {error}")


def environment() -> dict[str, Any]:
    """Versions, commit and device: what is needed to make a number again."""
    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES if _is_installed(name)},
        "commit": _commit(),
        "device": {"platform": device.platform, "kind": device.device_kind, "count": jax.device_count()},
        "cpu_count": os.cpu_count(),
    }


def once(
    path: Path, arrays_path: Path, compute: Callable[[], tuple[dict[str, Any], dict[str, np.ndarray]]]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Numbers and arrays of one result: read if they have been computed, else computed and written."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        numbers, arrays = compute()
        np.savez(arrays_path, **arrays)
        write_json(path, numbers)  # last: its file says that the result is complete
    with np.load(arrays_path) as stored:
        return json.loads(path.read_text()), dict(stored)


def facts(dataset: str, x: np.ndarray | jax.Array) -> str:
    """What a figure is of: the data set and the size of its images `x`, `(n, height, width, channels)`."""
    return f"{dataset} at {x.shape[1]}x{x.shape[2]}"


def write_json(path: Path, content: Any) -> None:
    """Write `content` so that a kill leaves the old file or the new one, never half of one."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write `text` so that a kill leaves the old file or the new one, never half of one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, padded so that it reads well in a terminal too; the first column is flush left."""
    rows = [list(header), *map(list, rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = []
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    rule = "|" + "|".join([":" + "-" * (widths[0] + 1), *("-" * (w + 1) + ":" for w in widths[1:])]) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _is_installed(name):
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _commit() -> str:
    root = Path(__file__).parent

    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
