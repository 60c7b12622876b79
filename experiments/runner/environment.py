"""Versions, commit and device: what is needed to make a number again."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax

NUMERICAL = (
    "jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn", "scikit-image", "diffrax", "optimistix",
)  # fmt: skip
"""Packages on which numbers depend."""

PACKAGES = ("jaxcreativity", *NUMERICAL, "orbax-checkpoint", "pillow")


def environment() -> dict[str, Any]:
    """Command, versions, commit, device and time of this process, and how busy the machine is (over one minute).

    `matmul_precision` is JAX's setting for products in float32; null is the device's own, TF32 on NVIDIA GPUs.
    """
    device = jax.devices()[0]
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": _command(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES if _is_installed(name)},
        "commit": commit(),
        "device": {"platform": device.platform, "kind": device.device_kind, "count": jax.device_count()},
        "matmul_precision": jax.config.jax_default_matmul_precision,
        "cpu_count": _usable_cores(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _usable_cores() -> int | None:
    """CPU cores that this process may use: on a shared machine often fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def check_goes_on(folder: Path, entry: dict[str, Any]) -> None:
    """Raise `ValueError` if a start would add to numbers that other packages or data have computed in this folder.

    Args:
        folder: of the run.
        entry: what the start adds to the environment log: `environment()` and a digest of the `data`.
    """
    path = folder / "environment.json"
    before = [found for found in (json.loads(path.read_text()) if path.exists() else []) if found["computed"]]
    if not before:
        return
    there, here = before[-1]["packages"], entry["packages"]
    known = [name for name in NUMERICAL if name in there]
    remedy = "Nothing was changed: choose another --name, delete that folder, or draw what it has by --report-only"
    if other := [name for name in known if here.get(name) != there[name]]:
        versions = ", ".join(f"{name} {there[name]} there, {here.get(name, 'none')} here" for name in other)
        install = " ".join(f"{name}=={there[name]}" for name in other)
        raise ValueError(
            f"{folder} was computed with other packages ({versions}), which change numbers. {remedy}; to go on, "
            f"pip install {install}"
        )
    if before[-1].get("data", entry["data"]) != entry["data"]:
        raise ValueError(
            f"{folder} was computed from other images under the same name ({before[-1]['data']} there, "
            f"{entry['data']} here). {remedy}"
        )


def commit() -> str:
    """The commit that runs, with `-dirty` behind it if files were changed since; `"unknown"` outside a repository."""
    root = Path(__file__).parent

    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def origin(entries: list[dict[str, Any]]) -> str:
    """Device and commit of the starts that computed something, from an environment log."""
    entries = [entry for entry in entries if entry["computed"]] or entries[-1:]
    devices = dict.fromkeys(entry["device"]["kind"] for entry in entries)
    commits = dict.fromkeys(entry["commit"] for entry in entries)
    return f"device {', then '.join(devices)}; commit {', then '.join(commits)}"


def _command() -> str:
    """The command line as it is typed."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    program = f"python -m {spec.name.removesuffix('.__main__')}" if spec is not None else Path(sys.argv[0]).name
    return " ".join([program, *sys.argv[1:]])


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
