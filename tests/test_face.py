"""What `import jaxcreativity as jc` gives, what it costs, and what it tells a newcomer."""

import os
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import jaxcreativity as jc

FUNCTIONS = ("generate", "log_density", "predicted_noise", "sample", "score", "trajectory")
CLASSES = ("Denoiser", "Piecewise")
PACKAGES = (
    "data", "distributions", "metrics", "networks", "plotting", "probing", "schedules", "theory", "training",
)  # fmt: skip
# The modules of the contract, which hold the names above.
MODULES = ("denoiser", "generation", "sampling")

PROMISED = {
    "theory": ("bottleneck", "empirical", "linear", "patches", "polynomial"),
    "theory.empirical": ("EmpiricalDenoiser", "SmoothedDenoiser"),
    "theory.linear": ("fit",),
    "theory.polynomial": ("fit",),
    "theory.bottleneck": ("PrototypeDenoiser",),
    "theory.patches": (
        "CompositeDenoiser", "LocalDenoiser", "MaskedDenoiser", "SoftWindowDenoiser", "by_level", "calibrate",
        "provenance",
    ),
    "distributions": ("Atoms", "Distribution", "Gaussian", "GaussianMixture", "wasserstein2"),
    "metrics": ("agreement", "novelty", "realism"),
    "schedules": ("cosine", "grid", "karras", "linear_beta", "log_linear"),
    "networks": ("bind",),
    "training": ("fit",),
    "data": ("load",),
}  # fmt: skip

HEAVY = ("flax", "matplotlib", "sklearn", "tensorflow_datasets", "optax", "orbax", "scipy", "tqdm", "PIL")


def in_fresh_process(code):
    """What a new interpreter prints that sees this checkout."""
    project = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_names():
    # In a new process: the checks of annotations under test add a name of their own.
    public = in_fresh_process(
        "import jaxcreativity as jc; print(*[name for name in dir(jc) if name[0] != '_'])"
    ).split()
    assert set(public) == {*FUNCTIONS, *CLASSES, *PACKAGES, *MODULES}
    assert all(callable(getattr(jc, name)) for name in (*FUNCTIONS, *CLASSES))
    assert all(getattr(jc, name).__name__ == f"jaxcreativity.{name}" for name in PACKAGES)
    namespace = {}
    exec("from jaxcreativity import *", namespace)
    assert {*FUNCTIONS, *CLASSES} <= set(namespace)


@pytest.mark.parametrize("module", PROMISED)
def test_names_promised_of_the_rooms(module):
    room = jc
    for part in module.split("."):
        room = getattr(room, part)
    assert [name for name in PROMISED[module] if not hasattr(room, name)] == []


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'jaxcreativity' has no attribute 'theories'"):
        jc.theories  # noqa: B018


def loaded_by(statement):
    """The heavy packages that a statement loads in a new process."""
    return in_fresh_process(
        f"import sys; {statement}; print(*[name for name in {HEAVY} if name in sys.modules])"
    ).split()


def test_import_loads_nothing_heavy():
    already = set(loaded_by("import jax"))  # JAX's own
    assert set(loaded_by("import jaxcreativity")) == already
    # Schedules, too, are numbers only.
    assert set(loaded_by("import jaxcreativity as jc; jc.schedules.cosine()")) == already


def test_theory_loads_neither_pillow_nor_scikit_learn():
    loaded = set(loaded_by("import jaxcreativity as jc; jc.theory, jc.distributions"))
    assert loaded.isdisjoint({"sklearn", "PIL", "flax", "matplotlib", "tensorflow_datasets", "orbax"})


def test_import_is_quick():
    """Under 0.2 s beyond `import jax`, the best of three fresh processes.

    About 0.1 s alone on one core; the limit here is five times the promise, because tests run beside others.
    """
    code = (
        "import time; import jax, jax.numpy, jaxtyping, numpy; start = time.perf_counter(); import jaxcreativity; "
        "print(time.perf_counter() - start)"
    )
    assert min(float(in_fresh_process(code)) for _ in range(3)) < 1.0


def test_help_is_a_page():
    page = pydoc.render_doc(jc, renderer=pydoc.plaintext)
    assert len(page.splitlines()) < 100
    assert [name for name in (*FUNCTIONS, *CLASSES, *PACKAGES) if name not in page] == []
