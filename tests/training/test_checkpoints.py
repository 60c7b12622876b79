"""The folder of a training run: of one process at a time, whole after a kill, and of use when the disk is full."""

import os
import re
import runpy
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
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with training.Checkpoints(disk / "run", {}) as checkpoints:  # a finished run is only read
            np.testing.assert_array_equal(checkpoints.restore_latest(state(0))["value"], NOISE + 1)
        subprocess.run(["mount", "-o", "remount,rw,size=9m", disk], check=True)
        save(disk / "run", 2)
        assert {path.name for path in (disk / "run" / "steps").iterdir()} == {"1", "2"}
    finally:
        subprocess.run(["umount", disk], check=True)
