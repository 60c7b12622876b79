"""What polynomial denoisers generate: predicted densities against samples of trained polynomial networks.

    python -m experiments.polynomial                             # six laws, and coordinates of digits
    python -m experiments.polynomial --also mnist                # and of MNIST
    python -m experiments.polynomial --small                     # degrees 2 and 3, a minute: part of `make demo`
    python -m experiments.polynomial --report-only               # tables and figures again, from the stored numbers
    python -m experiments.polynomial --help

All one-dimensional targets are trained at once, as the entries of one vector, by one network per degree: a linear
readout of Hermite features, which sees each entry on its own. The closed form is computed from the moments of the same
training set; both are sampled from the same noise. Writes `runs/<name>/`: config.json, environment.json, metrics.json,
summary.md, densities.png, images.png, and the networks' checkpoints. A killed run resumes when started again.

Moment matching: the second target puts masses on the Gauss nodes of the first, the mixture: three atoms with its
moments up to order 5. Degree 2 sees moments up to 4, so it must generate the same law from both; degree 3 must not.
"""

from experiments.polynomial import images, laws
from experiments.polynomial.report import head
from experiments.polynomial.settings import SMALL, Config, prepare
from experiments.runner import Experiment

EXPERIMENT = Experiment(
    "polynomial", Config, prepare, {"laws": laws.PART, "images": images.PART}, head, data=lambda setup: setup.images
)

__all__ = ["EXPERIMENT", "SMALL", "Config"]
