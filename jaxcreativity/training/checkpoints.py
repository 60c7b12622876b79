"""Orbax checkpoints of a training run that know which run they belong to."""

import json
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from jaxcreativity.training._identity import differences, versions


class Checkpoints:
    """The checkpoints of one training run in one folder: saved atomically, the newest two kept.

    Use as a context manager; leaving it waits for the last save. A folder that holds another run's checkpoints (its
    `identity` differs) is left untouched.

    Args:
        folder: created if needed.
        identity: JSON-serialisable description of everything that determines the run; the versions of the packages
            that do are added.

    Raises:
        ValueError: if the folder belongs to another run, or is not a folder.
    """

    def __init__(self, folder: str | Path, identity: dict[str, Any]):
        self.folder = Path(folder).absolute()
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"checkpoint folder {folder} is a file; name another folder")
        identity = json.loads(json.dumps(identity | versions()))
        self._claim(identity)
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(self.folder / "steps", options=options)

    def _claim(self, identity):
        path = self.folder / "identity.json"
        if path.exists():
            try:
                found = json.loads(path.read_text())
            except (OSError, ValueError) as error:
                raise ValueError(f"cannot read {path} ({error}); delete {self.folder} to train anew") from error
            if changes := differences(found, identity):
                others = [
                    f"{name}=={found[name]}" for name in versions() if found.get(name) not in (None, identity[name])
                ]
                raise ValueError(
                    f"{self.folder} holds checkpoints of another configuration ({changes}). Nothing was changed: "
                    "choose another folder, delete that one, or go back to its configuration"
                    + (f" (pip install {' '.join(others)})" if others else "")
                )
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(identity, indent=2))
        partial.replace(path)

    def restore_latest(self, like: Any) -> Any | None:
        """The newest saved state, in the structure of `like`, or `None` if nothing is saved.

        Raises:
            ValueError: if it cannot be read.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            return self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
        except Exception as error:  # Orbax raises many types for a damaged checkpoint
            folder = self.folder / "steps" / str(step)
            raise ValueError(
                f"checkpoint {folder} cannot be read ({type(error).__name__}: {str(error)[:200]}). "
                "Nothing was changed: delete that folder to resume from the checkpoint before it "
                "(or from the start if there is none)"
            ) from error

    def save(self, step: int, state: Any) -> None:
        """Save in the background."""
        self._manager.save(step, args=ocp.args.StandardSave(state))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._manager.wait_until_finished()
        self._manager.close()
