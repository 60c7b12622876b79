"""The command line: `python -m experiments.compare`."""

from experiments import compare
from experiments.runner import main

main(compare.EXPERIMENT, compare.__doc__)
