"""The folder of a training run: of one process at a time, whole after a kill, and of use when the disk is full."""

import errno
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity import _folder, training

PROJECT = Path(__file__).resolve().parents[2]
NOISE = np.random.default_rng(0).standard_normal(100_000)  # 0.8 MB, which cannot be compressed


def state(step):
    return {"step": jnp.asarray(step), "value": jnp.asarray(NOISE) + step}


def save(folder, *steps):
    with training.Checkpoints(folder, {}) as checkpoints:
        for step in steps:
            checkpoints.save(step, state(step))


def test_one_process_at_a_time(tmp_path):
    """A second one is turned away at once and told by whom; a kill leaves nothing that keeps others out."""
    # The lock's own file: a process that imports JAX takes seconds to start.
    code = (
        "import runpy, sys, time, pathlib; alone = runpy.run_path(sys.argv[1])['alone']\n"
        "with alone(pathlib.Path(sys.argv[2]), ''): print('holds', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, _folder.__file__, tmp_path]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "holds\n"
        began = time.monotonic()
        with pytest.raises(ValueError, match=rf"another process .* \(process {process.pid} on .*choose another folder"):
            training.Checkpoints(tmp_path, {})
        assert time.monotonic() - began < 5
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert (tmp_path / "lock").exists()
    for _ in range(2):
        with training.Checkpoints(tmp_path, {}):
            pass
    assert not (tmp_path / "lock").exists()
    with pytest.raises(ValueError, match="another configuration"):
        training.Checkpoints(tmp_path, {"other": 1})
    assert not (tmp_path / "lock").exists()  # a refusal holds nothing


def test_system_without_locks_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    alone = runpy.run_path(_folder.__file__)["alone"]
    with pytest.warns(UserWarning, match="nothing keeps a second process out"), alone(tmp_path, ""):
        pass


def test_a_file_is_replaced_once_it_is_whole(tmp_path):
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_text("before")
    with _folder.whole(path) as partial, _folder.whole(other) as another:
        partial.write_text("after")
        another.write_text("new")
        assert path.read_text() == "before"
        assert not other.exists()
    assert (path.read_text(), other.read_text()) == ("after", "new")
    for code, error in ((errno.ENOSPC, r"No space left .* needs more room for its next file; (\S+) MB are free"),
                        (errno.EACCES, "^.Errno 13. mine$")):  # fmt: skip
        with pytest.raises(OSError, match=error) as raised, _folder.whole(path):
            raise OSError(code, "mine")
        assert path.read_text() == "after"
        if code == errno.ENOSPC:
            free = float(re.search(error, str(raised.value))[1])
            assert free == pytest.approx(shutil.disk_usage(tmp_path).free / 1e6, rel=0.1)
    assert sorted(tmp_path.iterdir()) == [path, other]


def test_folder_is_made_and_may_be_deleted_meanwhile(tmp_path):
    with training.Checkpoints(tmp_path / "of" / "many", {}):
        (tmp_path / "of" / "many" / "lock").unlink()
    assert (tmp_path / "of" / "many" / "identity.json").exists()


def test_numbers_in_a_list_may_differ_in_their_last_bits(tmp_path):
    """And no list is as good as another, or as none."""
    with training.Checkpoints(tmp_path, {"levels": [1.0, 2.0]}):
        pass
    with training.Checkpoints(tmp_path, {"levels": [1.0, 2.00001]}):
        pass
    for levels in ([1.0, 2.00003], [1.0], [1.0, 2.0, 3.0], "1, 2", None):
        with pytest.raises(ValueError, match=re.escape(f"(levels: [1.0, 2.0] there, {levels!r} here)")):
            training.Checkpoints(tmp_path, {"levels": levels})


def test_failed_save_keeps_what_is_complete(tmp_path):
    """A limit on the size of a file, which the system enforces as it does the end of a disk."""
    save(tmp_path, 1)
    # In a process of its own: the limit is the whole process's, and Orbax's threads may die after the error.
    code = (
        "import resource, sys; from tests.training.test_checkpoints import save\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))\n"
        "try: save(sys.argv[1], 2)\n"
        "except OSError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        cwd=PROJECT, env=os.environ | {"JAX_ENABLE_X64": "1"}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    assert re.search(rf"a checkpoint could not be written .*{tmp_path} needs 1.1 MB .* are free", done.stdout)
    with training.Checkpoints(tmp_path, {}) as checkpoints:
        restored = checkpoints.restore_latest(state(0))
        np.testing.assert_array_equal(restored["value"], NOISE + 1)
        assert {path.name for path in (tmp_path / "steps").iterdir()} == {"1"}  # nothing half written takes room
    save(tmp_path, 2)
    with training.Checkpoints(tmp_path, {}) as checkpoints:
        np.testing.assert_array_equal(checkpoints.restore_latest(state(0))["value"], NOISE + 2)


def test_full_disk_is_said_before_it_is_written_to(tmp_path, capfd):
    """On a disk of 1.5 MB, which holds one checkpoint of 0.8 MB and not two."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        with pytest.raises(OSError, match=rf"No space left on device: {disk}/run needs 1.1 MB .* 0\.\d+ MB are free"):
            save(disk / "run", 1, 2)
        assert capfd.readouterr().err.count("\n") < 5
        with training.Checkpoints(disk / "run", {}) as checkpoints:
            np.testing.assert_array_equal(checkpoints.restore_latest(state(0))["value"], NOISE + 1)
        with training.Checkpoints(disk / "run", {}) as checkpoints, pytest.raises(OSError, match=r"needs 1.9 MB"):
            checkpoints.save(2, [jnp.zeros(()) for _ in range(400)])  # the beginnings of many files
        (disk / "run" / "steps" / "3.orbax-checkpoint-tmp").mkdir()  # what a kill leaves
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with training.Checkpoints(disk / "run", {}) as checkpoints:  # a finished run is only read
            np.testing.assert_array_equal(checkpoints.restore_latest(state(0))["value"], NOISE + 1)
        subprocess.run(["mount", "-o", "remount,rw,size=9m", disk], check=True)
        save(disk / "run", 2)
        assert {path.name for path in (disk / "run" / "steps").iterdir()} == {"1", "2"}
    finally:
        subprocess.run(["umount", disk], check=True)
