"""Settings of the experiment on patch machines, and its presets."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from experiments import runner


@dataclasses.dataclass(frozen=True)
class Config(runner.Settings):
    """Settings of one run; what is None comes from the preset."""

    preset: Literal["small", "cpu", "published"] = "cpu"
    small: bool = False
    """The same as `--preset small`."""
    dataset: str = "mnist"
    """A TFDS name, an embedded set, a folder or array file; `--small` takes digits where MNIST is not there."""
    network: Literal["resnet", "unet"] = "resnet"
    padding: Literal["zero", "circular"] = "zero"
    attention: bool = False
    """Of the UNet, at its coarsest scale."""
    num_images: int | None = None
    """Training images; 0 takes all."""
    depth: int | None = None
    width: int | None = None
    unet_widths: tuple[int, ...] = (32, 64, 128, 256)
    train_steps: int | None = None
    batch_size: int | None = None
    """Images per noise level and training step."""
    learning_rate: float = 2e-3
    num_pairs: int | None = None
    """Seeds that are compared."""
    num_calibration: int | None = None
    """Trajectories that patch sizes are calibrated on; their seeds are not among those compared."""
    patch_sizes: tuple[int, ...] = ()
    """Candidates for the patch size."""
    soft_window: bool = False
    """Also fit l(sigma) of a Gaussian window to the network by gradient; for circular padding."""
    sampler_steps: int = 20


PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "image_size": 14, "num_images": 1000, "depth": 4, "width": 16, "train_steps": 400, "batch_size": 4,
        "num_pairs": 16, "num_calibration": 2, "patch_sizes": (3, 7, 13),
    },
    "cpu": {
        "image_size": 14, "num_images": 1000, "depth": 6, "width": 32, "train_steps": 4000, "batch_size": 6,
        "num_pairs": 64, "num_calibration": 8, "patch_sizes": (3, 5, 7, 9, 11, 13),
    },
    "published": {
        "image_size": 32, "num_images": 0, "depth": 8, "width": 128, "train_steps": 100_000, "batch_size": 13,
        "num_pairs": 128, "num_calibration": 16, "patch_sizes": (3, 5, 7, 9, 11, 13, 15, 17, 21, 25),
    },
}  # fmt: skip

FALLBACK = "digits"
"""What `--small` takes where MNIST is not there."""


def resolve(config: Config) -> Config:
    """Fill in the preset.

    Raises:
        ValueError: for `--small` with the preset of long runs.
    """
    if config.small and config.preset == "published":
        raise ValueError("--small is --preset small; give it or --preset published")
    preset = "small" if config.small else config.preset
    filled = {key: value for key, value in PRESETS[preset].items() if getattr(config, key) in (None, ())}
    return dataclasses.replace(config, preset=preset, small=preset == "small", **filled)


def folder_name(config: Config) -> str:
    """`local-<dataset>-<network>`, the data set being the one that was used; `-small` behind that of the preset."""
    config = resolve(config)

    def name(dataset: str) -> str:
        return runner.default_name("local", dataclasses.replace(config, dataset=dataset), config.network)

    has_fallen_back = (
        config.report_only and may_fall_back(config) and not (Path(config.output) / name(config.dataset)).exists()
    )
    return name(FALLBACK if has_fallen_back else config.dataset)


def may_fall_back(config: Config) -> bool:
    """Whether the run is a demonstration that takes other data where MNIST is not there."""
    return config.preset == "small" and config.dataset == "mnist"
