"""What all experiments share: settings, one folder for each run, cached parts, an environment log, reports."""

from experiments.runner.cli import main
from experiments.runner.experiment import Arrays, Experiment, Measured, Numbers, Part, Run
from experiments.runner.files import slug
from experiments.runner.options import check_choices, check_counts, check_noise_levels, option, why
from experiments.runner.running import run
from experiments.runner.settings import Settings, dataset_word, default_name, load
from experiments.runner.tables import facts, number, quartiles, split_failed, table, table_of, without_empty_columns

__all__ = [
    "Arrays",
    "Experiment",
    "Measured",
    "Numbers",
    "Part",
    "Run",
    "Settings",
    "check_choices",
    "check_counts",
    "check_noise_levels",
    "dataset_word",
    "default_name",
    "facts",
    "load",
    "main",
    "number",
    "option",
    "quartiles",
    "run",
    "slug",
    "split_failed",
    "table",
    "table_of",
    "why",
    "without_empty_columns",
]
