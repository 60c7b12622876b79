"""Settings of `experiments.polynomial`, and what its parts share."""

import dataclasses
from typing import Any

import jax
import numpy as np

from experiments.runner import Settings, check_counts, check_noise_levels, dataset_word, load
from jaxcreativity import data, schedules


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Settings of one run."""

    also: tuple[str, ...] = ()
    """More data sets; of each a pixel and two principal coordinates are targets. Patches are those of --dataset."""
    degrees: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    num_targets: int = 20_000
    """Training examples of each law."""
    num_samples: int = 20_000
    sampler_steps: int = 20
    sigma_min: float = 0.05
    """Lowest positive noise level, in standard deviations of the target."""
    sigma_max: float = 20.0
    train_steps: int = 4000
    batch_size: int = 512
    patch_degree: int = 2
    kernel_size: int = 3
    """Side of the patches."""
    patch_images: int = 500
    """Training images of the patch denoisers."""
    small: bool = False
    """Replace degrees, training steps and patch images by the values of SMALL."""


SMALL: dict[str, Any] = {"degrees": (2, 3), "train_steps": 1000, "patch_images": 200}


@dataclasses.dataclass(frozen=True)
class Setup:
    """What the parts share.

    Attributes:
        images: name of a data set -> its training images.
        grid: the sampler's noise levels.
    """

    images: dict[str, np.ndarray]
    grid: jax.Array


def prepare(config: Config) -> tuple[Config, Setup]:
    """Resolved settings and loaded data.

    Raises:
        ValueError: for bad settings or data.
    """
    if config.small:
        config = dataclasses.replace(config, **SMALL)
    check_counts(
        config, "degrees", "num_samples", "train_steps", "batch_size", "patch_degree", "kernel_size",
        "image_size",
    )  # fmt: skip
    check_counts(config, "sampler_steps", "patch_images", least=2)
    check_counts(config, "num_images", least=3)  # for two principal coordinates
    check_counts(config, "num_targets", least=100)
    check_noise_levels(config)
    names = [dataset_word(dataset) for dataset in (config.dataset, *config.also)]
    if len(set(names)) < len(names):
        raise ValueError(f"--dataset and --also must name different data sets, got {' '.join(names)}")
    images = {
        name: np.asarray(_load(config, dataset).train)
        for name, dataset in zip(names, (config.dataset, *config.also), strict=True)
    }
    if flat := [name for name, x in images.items() if x[0].size < 2 or len(x) < 3]:
        raise ValueError(f"two principal coordinates need three images of two numbers; {flat[0]} has fewer")
    side = min(images[names[0]].shape[1:3])
    if config.kernel_size % 2 == 0 or config.kernel_size > side:
        raise ValueError(f"--kernel-size must be odd and at most {side}, got {config.kernel_size}")
    grid = schedules.grid(schedules.log_linear(config.sigma_min, config.sigma_max), config.sampler_steps)
    return config, Setup(images, grid)


def _load(config: Config, dataset: str) -> data.Dataset:
    """One of the sets; `--value-range` says of which scale array files among them are."""
    if dataset == config.dataset or dataset.endswith((".npy", ".npz")):
        return load(config, dataset)
    return load(config, dataset, value_range=None)
