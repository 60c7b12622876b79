"""The architectures that are compared: for each its network, its closed form, and what it is trained with."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import optax

from experiments.compare.setup import Setup
from jaxcreativity import networks
from jaxcreativity.denoiser import Denoiser
from jaxcreativity.theory import linear
from jaxcreativity.theory.empirical import EmpiricalDenoiser


@dataclasses.dataclass(frozen=True)
class Entry:
    """One architecture: the part of the report that it stands in, its network, closed form, and training.

    `without` is a second closed form to compare with: one that leaves out a training effect, or another theory.
    """

    part: Literal["nonlinear", "training", "linear"]
    network: Callable[[Setup], nn.Module]
    theory: Callable[[Setup], Denoiser]
    training: Callable[[Setup], dict[str, Any]] = lambda s: {"learning_rate": 3e-2}
    without: Callable[[Setup], Denoiser] | None = None


WEIGHT_DECAY = 0.1  # of the order of the data's mean variance per mode: shrinks samples visibly
EARLY_STOPPING_TIME = 2.0  # fits the leading modes only


def empirical(s: Setup) -> EmpiricalDenoiser:
    """The exact optimum on the training images."""
    return EmpiricalDenoiser(s.x)


def _early_stopping(s: Setup) -> dict[str, Any]:
    # Plain gradient descent of `steps` steps is gradient flow for the time 2 * steps * rate * gradient_scale if no step
    # overshoots in any direction, which takes the more steps the larger the images are.
    steps = max(s.config.train_steps // 4, math.ceil(EARLY_STOPPING_TIME * s.largest_curvature))
    rate = EARLY_STOPPING_TIME / (2 * steps * s.gradient_scale)
    return {"optimizer": optax.sgd(rate), "num_steps": steps, "ema_decay": None}


# The place in this table decides an entry's random numbers: new ones go to the end.
ENTRIES: dict[str, Entry] = {
    "full": Entry(
        "linear",
        lambda s: networks.DenseLinear(s.levels),
        lambda s: linear.fit(s.x, "full"),
    ),
    "pixelwise": Entry(
        "linear",
        lambda s: networks.PixelwiseLinear(s.levels),
        lambda s: linear.fit(s.x, "pixelwise"),
    ),
    "stationary": Entry(
        "linear",
        lambda s: networks.ConvLinear(s.levels),
        lambda s: linear.fit(s.x, "stationary"),
    ),
    "local": Entry(
        "linear",
        lambda s: networks.ConvLinear(s.levels, kernel_size=s.config.kernel_size),
        lambda s: linear.fit(s.x, "local", kernel_size=s.config.kernel_size),
    ),
    "low rank": Entry(
        "linear",
        lambda s: networks.LowRankLinear(s.levels, rank=s.config.rank),
        lambda s: linear.fit(s.x, "low_rank", rank=s.config.rank),
    ),
    "weight decay": Entry(
        "training",
        lambda s: networks.DenseLinear(s.levels),
        lambda s: linear.fit(s.x, "full", weight_decay=WEIGHT_DECAY, sigma_data=s.sigma_data),
        lambda s: {"learning_rate": 3e-2, "weight_penalty": WEIGHT_DECAY * s.gradient_scale},
        without=lambda s: linear.fit(s.x, "full"),
    ),
    "early stopping": Entry(
        "training",
        lambda s: networks.DenseLinear(s.levels, use_bias=False),
        lambda s: linear.fit(
            s.x, "full", bias=False, training_time=EARLY_STOPPING_TIME, sigma_data=s.sigma_data
        ),
        _early_stopping,
        without=lambda s: linear.fit(s.x, "full", bias=False),
    ),
    "MLP": Entry(
        "nonlinear",
        lambda s: networks.MLP(),
        lambda s: empirical(s),
        lambda s: {"learning_rate": 1e-3, "prediction": "v"},
        without=lambda s: linear.fit(s.x, "full"),
    ),
}  # fmt: skip
