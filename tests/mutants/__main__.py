"""Mutation pass: small changes to the package's core, one at a time, each of which some quick test must notice.

    python -m tests.mutants                    # hours on two cores; a killed pass goes on where it was
    python -m tests.mutants sampling unet      # groups of files, see `CORE`
    python -m tests.mutants --list sampling    # what would be changed
    python -m tests.mutants --report           # results/mutation.json from what has been tried

Each worker has a copy of the project. A mutant is killed if a test of its group fails, or takes ten times as long as
without it; what no test notices survives, and is printed. Mutants are tried in random order, so that those of a pass
that is not finished are a random sample of all. results/mutants.jsonl keeps every outcome; those of a file that has
changed since do not count any more.

Changed are arithmetic, comparisons, conditions, numbers and reductions in the code that computes; not annotations,
defaults of arguments and fields, decorators, and what only words an error. equivalent.toml lists those that no test can
notice, with the reason; they are not tried.
"""

import argparse
import importlib
import json
import os
import warnings

from tests import quick
from tests.mutants.changes import PROJECT, mutants
from tests.mutants.passing import CORE, run, summary

RESULT = PROJECT / "results" / "mutation.json"

IMPORTED_ONCE = (
    "chex", "diffrax", "flax.linen", "matplotlib.figure", "optax", "optimistix", "orbax.checkpoint", "pytest",
    "scipy.optimize", "scipy.stats", "skimage.metrics", "sklearn.datasets", "sklearn.metrics",
)  # fmt: skip
"""What the tests import besides the project's own modules."""


def main() -> None:
    """The command of this module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {', '.join(CORE)}; all by default")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    groups = arguments.groups or list(CORE)
    if arguments.list:
        for mutant in (mutant for group in groups for file in CORE[group][0] for mutant in mutants(file)):
            print(f"{mutant.name:60}  {'equivalent: ' if mutant.is_equivalent else ''}{mutant.changed}")
        return
    os.environ["XLA_FLAGS"] = " ".join(quick.FLAGS)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(PROJECT / ".pytest_cache" / "xla")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    # Imported once, before any mutant's process begins; JAX starts no threads until it computes.
    for module in IMPORTED_ONCE:
        importlib.import_module(module)
    from experiments.runner.environment import environment
    from experiments.runner.files import write_json

    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
    if not arguments.report:
        run(groups, arguments.workers)
    # JAX must not have computed where processes begin.
    write_json(RESULT, environment() | summary(list(CORE)))
    print(json.dumps(summary(groups), indent=2))


if __name__ == "__main__":
    main()
