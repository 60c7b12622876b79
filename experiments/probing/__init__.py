"""Derivatives of closed forms and of a trained network: what each does to an image, and where they part.

    python -m experiments.probing                      # digits, a few minutes on two CPU cores
    python -m experiments.probing --dataset faces
    python -m experiments.probing --small              # few images and steps, a minute: part of `make demo`
    python -m experiments.probing --report-only        # tables and figures again, from the stored numbers
    python -m experiments.probing --help

Probes the empirical denoiser, linear denoisers, a patch machine and a trained MLP: spectrum and asymmetry of the
Jacobian, receptive field against noise level, symmetry errors, singular values of the sample with respect to its noise,
the training images that a sample owes most to, and the seeds on which theory and network disagree most, found by
gradient ascent through both samplers in one traced program. Writes `runs/<name>/`: config.json, environment.json,
metrics.json, summary.md, five figures and the networks' checkpoints. A killed run resumes when started again.
"""

from experiments.probing import disagreement, influence, jacobians, receptive_fields, samples, symmetry
from experiments.probing.settings import SMALL, Config, head, prepare
from experiments.runner import Experiment

PARTS = {
    "jacobian": jacobians.PART,
    "receptive_field": receptive_fields.PART,
    "symmetry": symmetry.PART,
    "sample": samples.PART,
    "influence": influence.PART,
    "discrepancy": disagreement.PART,
}


def chosen_parts(config: Config) -> tuple[str, ...]:
    """All, but no influences where nothing is probed that depends on its training images smoothly."""
    return tuple(part for part in PARTS if part != "influence" or set(config.denoisers) & set(influence.THEORIES))


EXPERIMENT = Experiment("probing", Config, prepare, PARTS, head, chosen=chosen_parts, data=lambda setup: setup.x)

__all__ = ["EXPERIMENT", "SMALL", "Config"]
