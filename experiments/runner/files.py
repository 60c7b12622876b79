"""Files of a run, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxcreativity import _folder
from jaxcreativity.training._identity import differences


def write_json(path: Path, content: Any) -> None:
    """Write `content` so that a kill leaves the old file or the new one, never half of one."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write `text` so that a kill leaves the old file or the new one, never half of one."""
    with _folder.whole(path) as partial:
        partial.write_text(text)


def append_json(path: Path, entry: Any) -> None:
    """Add an entry to a file that holds a list; the entries before it stay."""
    found = json.loads(path.read_text()) if path.exists() else []
    write_json(path, [*(found if isinstance(found, list) else [found]), entry])


def is_stored(path: Path) -> bool:
    """Whether numbers and arrays have been stored under this path (without suffix)."""
    return path.with_name(path.name + ".json").exists()


def write_measured(path: Path, numbers: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Store numbers (`.json`) and arrays (`.npz`) under a path without suffix; a kill leaves both or neither."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _folder.whole(path.with_name(path.name + ".npz")) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
    write_json(path.with_name(path.name + ".json"), numbers)  # last: it says that both are there


def read_measured(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `write_measured` stored.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        numbers = json.loads(path.with_name(path.name + ".json").read_text())
        with path.with_name(path.name + ".npz").open("rb") as file, np.load(file) as stored:
            return numbers, dict(stored)
    except Exception as error:  # a damaged archive raises errors of many kinds
        raise ValueError(f"cannot read {path}.json and .npz ({error}); delete both to compute them anew") from error


def read_config(folder: Path) -> dict[str, Any]:
    """The resolved settings of the run in a folder.

    Raises:
        ValueError: if there is none, or it cannot be read.
    """
    path = folder / "config.json"
    if not path.exists():
        raise ValueError(f"{folder} holds no run; measure first, or name another folder by --name and --output")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"cannot read {path} ({error}); delete {folder} or choose another --name") from error


def read_failures(folder: Path) -> dict[str, str]:
    """Why parts of the run in a folder have not been measured, by the part's name."""
    path = folder / "metrics.json"
    return json.loads(path.read_text()).get("failed", {}) if path.exists() else {}


def check_folder(folder: Path, identity: dict[str, Any]) -> None:
    """Raise `ValueError` if a run of these settings cannot be written to, or gone on with in, this folder."""
    if (folder / "config.json").exists():
        found = {name: value for name, value in read_config(folder).items() if name in identity}
        if changes := differences(found, identity):
            raise ValueError(
                f"{folder} holds a run of another configuration ({changes}). Nothing was changed: "
                "choose another --name, or delete that folder"
            )
    elif folder.exists() and (not folder.is_dir() or any(p.name != "lock" for p in folder.iterdir())):
        raise ValueError(f"{folder} exists and is not a run of this project; choose another --name")


def claim(folder: Path, identity: dict[str, Any]) -> None:
    """Store the settings of a run in its folder; refuses one that another run took in the meantime."""
    check_folder(folder, identity)
    write_json(folder / "config.json", identity)


def release(folder: Path) -> None:
    """Take back the claim on a folder in which nothing has been computed; other settings can then have it."""
    own = {"config.json", "environment.json", "lock"}
    if {path.name for path in folder.iterdir()} <= own:
        for name in own:
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def slug(name: str) -> str:
    """A name as part of a path: lower-case letters and digits, all else `-`."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())
