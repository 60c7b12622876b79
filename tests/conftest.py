"""What every test shares: float64 enabled, strict ranks, checked annotations, real data or a stated reason to skip."""

import gc
import os
from pathlib import Path

# Compiling takes most of the tests' time, and splitting small programs over threads a third of that. Many tests, and
# the commands that they start, compile the same program. In the environment, for those commands too; the numbers
# computed do not change.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_parallel_codegen_split_count=1"
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "xla")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

import jax
import jaxtyping
import numpy as np
import pytest

# Before the package is imported, so that every annotation in it is checked.
jaxtyping.install_import_hook("jaxcreativity", "beartype.beartype")

# Tracing makes millions of short-lived objects: looking for cycles among them as often as Python does takes 5 %.
gc.set_threshold(100_000, 20, 100)

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture
def real_dataset(monkeypatch):
    """`real_dataset("mnist")` lets `data.load` find that TFDS set, or skips the test, saying what is missing.

    Looks in `TFDS_DATA_DIR`, else in `../shared/tfds` beside the project.
    """

    def find(name: str) -> Path:
        root = Path(os.environ.get("TFDS_DATA_DIR") or PROJECT.parent / "shared" / "tfds")
        if not any((root / name).glob("*/dataset_info.json")):
            pytest.skip(
                f"needs the real {name!r} images: no prepared TFDS dataset in {root / name} "
                "(set TFDS_DATA_DIR to a folder that has it)"
            )
        monkeypatch.setenv("TFDS_DATA_DIR", str(root))
        return root

    return find


@pytest.fixture(autouse=True, scope="module")
def few_compiled_programs():
    """Forgets the programs of earlier modules before there are too many of them.

    Each takes some mappings of memory, of which Linux lets a process have 65 530 (`vm.max_map_count`); the compiler
    dies of a segmentation fault on the next one. Between modules, since the tests of one module share programs.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()


@pytest.fixture
def key():
    """A random key; `split` it, never use it twice."""
    return jax.random.key(0)


@pytest.fixture
def unchecked():
    """Annotations are not checked: what a user without beartype meets, for tests of bad input."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def digits():
    """The first 64 of scikit-learn's digits, `(64, 8, 8, 1)` float64 in [-1, 1]; some pixels are constant."""
    from sklearn.datasets import load_digits

    return np.asarray(load_digits().images[:64, :, :, None] / 8.0 - 1.0)
