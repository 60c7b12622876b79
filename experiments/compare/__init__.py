"""The main job: every closed form against its trained network, from the same noise.

    python -m experiments.compare                       # the embedded digits, minutes on two CPU cores
    python -m experiments.compare --dataset mnist       # also cifar10, natural_patches, faces, path/to/folder
    python -m experiments.compare --help
    python -m experiments.compare --report-only         # tables and figures anew from what was measured

Fits the closed forms, trains the networks with the denoising loss, samples all of them from the same noise, and
compares: first a nonlinear network, then what weight decay and early stopping do, then linear networks of each
structure. Each of these parts has its table and figures as soon as it is done. Writes `runs/<name>/`: config.json,
environment.json, metrics.json, summary.md, figures, and the networks' checkpoints. A killed run goes on when started
again; a network that diverges leaves its reason in its row.

To add an architecture, add one line to `ENTRIES` in `entries.py`.
"""

from experiments.compare import measure, prepare, report
from experiments.compare.entries import ENTRIES, Entry
from experiments.compare.settings import Config
from experiments.compare.setup import Setup
from experiments.runner import Experiment, Part

PARTS = ("nonlinear", "training", "linear")

EXPERIMENT = Experiment(
    name="compare",
    settings=Config,
    prepare=prepare.prepare,
    parts={part: Part(measure.measure(part), report.report(part)) for part in PARTS},
    head=report.head,
    chosen=lambda config: tuple(p for p in PARTS if any(ENTRIES[name].part == p for name in config.entries)),
    data=lambda setup: (setup.x, setup.test),
)

__all__ = ["ENTRIES", "EXPERIMENT", "PARTS", "Config", "Entry", "Setup"]
