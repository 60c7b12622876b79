"""The command line: `python -m experiments.unet_variants`."""

from experiments import unet_variants
from experiments.runner import main

main(unet_variants.EXPERIMENT, unet_variants.__doc__)
