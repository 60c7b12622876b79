"""`python -m experiments.polynomial`."""

from experiments import polynomial
from experiments.runner import main

main(polynomial.EXPERIMENT, polynomial.__doc__)
