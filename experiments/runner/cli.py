"""The command line of an experiment."""

import sys
from pathlib import Path

import jax

from experiments.runner.experiment import Experiment
from experiments.runner.options import why
from experiments.runner.running import run
from experiments.runner.settings import PROGRAMS

ERRORS = (ValueError, FloatingPointError, OSError, ImportError, MemoryError, RuntimeError)
"""What is said in one line: bad settings, divergence, a full disk, a missing package, too little memory."""


def main(experiment: Experiment, description: str | None) -> None:
    """Run an experiment with the settings of the command line; what goes wrong ends it with one line.

    On CPUs, where compilation is most of a short run's time, compiled programs are kept in the folder `programs` beside
    the runs, unless JAX was told where to keep them.

    Args:
        experiment: what to run.
        description: the experiment's docstring, for `--help`.
    """
    settings = None
    try:
        import tyro

        settings = tyro.cli(experiment.settings, description=description)
        if jax.default_backend() == "cpu" and jax.config.jax_compilation_cache_dir is None:
            jax.config.update("jax_compilation_cache_dir", str(Path(settings.output).absolute() / PROGRAMS))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
        run(experiment, settings)
    except KeyboardInterrupt as interruption:
        print(f"interrupted; {str(interruption) or 'nothing was written'}", file=sys.stderr)
        sys.exit(130)  # as a shell says of what Ctrl-C ended
    except ERRORS as error:
        sys.exit(f"error: {why(error, settings) if settings else error}")
