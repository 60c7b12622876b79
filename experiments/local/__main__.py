"""The command line: `python -m experiments.local`."""

from experiments import local
from experiments.runner import main

main(local.EXPERIMENT, local.__doc__)
