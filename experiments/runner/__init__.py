"""What all experiments share: settings, one folder for each run, cached parts, an environment log, reports."""

from experiments.runner.cli import main
from experiments.runner.experiment import Arrays, Experiment, Measured, Numbers, Part, Run, Settings, run
from experiments.runner.tables import facts, table

__all__ = [
    "Arrays",
    "Experiment",
    "Measured",
    "Numbers",
    "Part",
    "Run",
    "Settings",
    "facts",
    "main",
    "run",
    "table",
]
