"""Install what was built into fresh environments outside the repository, and use it there: `make dist-test`.

Not a test of pytest: it installs packages. The wheel gets what README's first example needs, the source archive the
core alone.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]

CORE = """
import sys, jax, jax.numpy as jnp
import jaxcreativity as jc
x = jax.random.normal(jax.random.key(0), (64, 4, 4, 1))
sigmas = jc.schedules.grid(jc.schedules.cosine(), 5)
samples = jc.generate(jc.theory.linear.fit(x, "full"), x, sigmas)
assert samples.shape == x.shape and bool(jnp.isfinite(samples).all())
network = jc.training.fit(jc.networks.MLP(width=8), x, sigmas, key=jax.random.key(1), num_steps=2, progress=False)
assert jc.metrics.agreement(samples, jc.generate(network, x, sigmas)).summary()["count"] == 64
assert not {"matplotlib", "sklearn", "tensorflow_datasets", "PIL"} & set(sys.modules)
assert "site-packages" in jc.__file__, jc.__file__
print("core:", jc.__file__.rpartition("site-packages")[2])
"""


EXAMPLES = f"""
import doctest, sys
tried = doctest.testfile({str(PROJECT / "README.md")!r}, module_relative=False)
print("README:", tried)
sys.exit(tried.failed or not tried.attempted)
"""


def try_out(archive: Path, extra: str, programs: list[str], folder: Path) -> None:
    """Install an archive into a new environment and run programs there."""
    environment = folder / archive.suffix.lstrip(".")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    uv = Path(sys.executable).parent / "uv"
    constraints = ["--constraints", str(PROJECT / "requirements.lock")]
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, f"{archive}{extra}", *constraints], check=True)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for program in programs:
        subprocess.run([python, "-W", "error", "-c", program], cwd=folder, check=True, env=variables)


def main(dist: Path) -> None:
    """Try the newest wheel and source archive of a folder."""
    wheel, source = sorted(dist.glob("*.whl"))[-1], sorted(dist.glob("*.tar.gz"))[-1]
    with tempfile.TemporaryDirectory() as folder:
        digits = "import jaxcreativity as jc; print(jc.data.load('digits'))"
        try_out(wheel.resolve(), "[data]", [CORE, EXAMPLES, digits], Path(folder))
        try_out(source.resolve(), "", [CORE], Path(folder))
    print(f"{wheel.name} and {source.name}: installed and used outside the repository")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
