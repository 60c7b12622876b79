"""`python -m experiments.probing`."""

from experiments import probing
from experiments.runner import main

main(probing.EXPERIMENT, probing.__doc__)
