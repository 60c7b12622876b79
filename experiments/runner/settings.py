"""What every experiment can be told, and what follows from it: the data, and the name of the run's folder."""

import dataclasses
import os
import re

import numpy as np

from jaxcreativity import data

PROGRAMS = "programs"
"""Folder beside the runs that compiled programs are kept in."""
LARGEST_SEED = 2**31 - 1
"""Random keys keep 32 bits of a seed, and experiments count a few on from theirs."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What every experiment can be told; each adds its own. Together with the data they determine every number."""

    dataset: str = "digits"
    """Embedded (digits, natural_patches, faces), a TFDS name (mnist, cifar10, ...), or a folder or array file."""
    image_size: int | None = None
    """Side to resize to."""
    value_range: tuple[float, float] | None = None
    """Of an array file, the values of black and white (0 1, 0 65535); by default uint8, or floats in [-1, 1]."""
    num_images: int | None = None
    """Training images; all by default."""
    seed: int = 0
    name: str | None = None
    """Name of the run's folder; <experiment>-<dataset> by default, -small behind it with --small."""
    output: str = "runs"
    """Folder that runs are written to."""
    progress: bool = True
    report_only: bool = False
    """Draw tables and figures anew from what a run has stored; measures nothing."""


NOT_IDENTITY = ("name", "output", "progress", "report_only")
"""Settings on which no number depends."""


def load(settings: Settings, dataset: str | None = None, **changes: int | None) -> data.Dataset:
    """The images that the settings name.

    Args:
        settings: of the run.
        dataset: another set than that of the settings.
        **changes: other options of `data.load` than those of the settings.

    Raises:
        ValueError: as `data.load`, and if there are no two different images to train on.
    """
    dataset = dataset or settings.dataset
    options = {name: getattr(settings, name) for name in ("image_size", "num_images", "seed", "value_range")}
    loaded = data.load(dataset, **(options | changes))
    if (loaded.train == loaded.train[0]).all():
        raise ValueError(
            f"{dataset!r} gives {len(loaded.train)} training image(s), all the same; need two different ones"
        )
    return loaded


def check_seed(settings: Settings) -> None:
    """Check that the seed is one of which random keys keep every bit: no two seeds give the same numbers.

    Raises:
        ValueError: if it is not.
    """
    seed = settings.seed
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"--seed must be a whole number from 0 to {LARGEST_SEED}, got {seed}")


def default_name(experiment: str, settings: Settings, *also: str) -> str:
    """`<experiment>-<dataset>`, what else is given, and `-small` for the settings of `--small`.

    Args:
        experiment: its name.
        settings: of the run.
        *also: more words.
    """
    words = [experiment, dataset_word(settings.dataset), *also]
    return "-".join(words + ["small"] * bool(getattr(settings, "small", False)))


def dataset_word(dataset: str) -> str:
    """A data set as part of a file's name: as it is named, and of a path the last two parts.

    It is the same whether the data are there or not, so that a run is found again without them.
    """
    is_path = dataset[:1] in (".", "~", "/")
    path = os.path.abspath(os.path.expanduser(dataset)) if is_path else dataset
    parts = [part for part in path.split("/") if part]
    return re.sub(r"[^\w.-]+", "-", "-".join(parts[-2:]))
