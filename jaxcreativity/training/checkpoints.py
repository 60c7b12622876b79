"""Orbax checkpoints of a training run that know which run they belong to."""

import errno
import json
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from jaxcreativity import _folder
from jaxcreativity.training._identity import differences, versions


class Checkpoints:
    """The checkpoints of one training run in one folder: saved atomically, the newest two kept.

    Use as a context manager; leaving it waits for the last save. Until then no other process gets the folder. A folder
    that holds another run's checkpoints (its `identity` differs) is left untouched.

    Args:
        folder: created if needed.
        identity: JSON-serialisable description of everything that determines the run; the versions of the packages
            that do are added.

    Raises:
        ValueError: if the folder belongs to another run, another process is training in it, or it is not a folder.
    """

    def __init__(self, folder: str | Path, identity: dict[str, Any]):
        self.folder = Path(folder).absolute()
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"checkpoint folder {folder} is a file; name another folder")
        identity = json.loads(json.dumps(identity | versions()))
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=True)
        with ExitStack() as opened:
            opened.enter_context(_folder.alone(self.folder, "choose another folder"))
            self._claim(identity)
            for half_written in (self.folder / "steps").glob("*.orbax-checkpoint-tmp*"):  # by a kill, on a full disk
                shutil.rmtree(half_written, ignore_errors=True)
            self._manager = ocp.CheckpointManager(self.folder / "steps", options=options)
            self._opened = opened.pop_all()

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
        with _folder.whole(path) as partial:
            partial.write_text(json.dumps(identity, indent=2))

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
        """Save in the background.

        Raises:
            OSError: if the disk is full, or the save before this one failed.
        """
        leaves = jax.tree.leaves(state)
        self._size = sum(leaf.nbytes for leaf in leaves) + 4096 * len(leaves) + 2**18
        self._wait()
        _folder.check_space(self.folder, self._size)
        self._manager.save(step, args=ocp.args.StandardSave(state))

    def _wait(self):
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # Orbax raises many types, which name one of its threads
            reason = str(error).splitlines()[0][:200]
            failed = _folder.full(self.folder, errno.EIO, self._size)
            raise OSError(f"a checkpoint could not be written ({type(error).__name__}: {reason}). {failed}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self._opened:
            try:
                self._wait()
            except OSError:
                with suppress(Exception):  # the same again
                    self._manager.close()
                raise
            self._manager.close()
