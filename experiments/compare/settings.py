"""Settings of the comparison."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

from experiments import runner
from jaxcreativity import schedules

SCHEDULES: Mapping[str, Callable[[], schedules.Schedule]] = {
    "cosine": schedules.cosine,
    "linear_beta": schedules.linear_beta,
    "karras": lambda: schedules.karras(0.02, 80.0),
    "log_linear": lambda: schedules.log_linear(0.02, 80.0),
}


@dataclasses.dataclass(frozen=True)
class Config(runner.Settings):
    """Settings of one comparison; together with the data they determine every number."""

    image_size: int | None = None
    """Side to resize to. By default the native size, halved on CPUs until it is at most 16."""
    sampler_steps: int = 20
    schedule: Literal["cosine", "linear_beta", "karras", "log_linear"] = "cosine"
    rank: int = 8
    """Width of the linear bottleneck."""
    kernel_size: int = 3
    """Side of the local filter."""
    train_steps: int = 2000
    """Early stopping takes a quarter of them, or as many as keep its learning rate stable."""
    batch_size: int = 32
    """Images per noise level and training step."""
    num_samples: int = 2048
    """Samples per network for covariance and Wasserstein distance."""
    num_pairs: int = 256
    """Of these, samples for the agreement with closed forms and for novelty."""
    entries: tuple[str, ...] = ()
    """Which rows to run, by their names in ENTRIES; all by default."""
