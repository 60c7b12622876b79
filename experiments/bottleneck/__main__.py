"""`python -m experiments.bottleneck`."""

from experiments import bottleneck
from experiments.runner import main

main(bottleneck.EXPERIMENT, bottleneck.__doc__)
