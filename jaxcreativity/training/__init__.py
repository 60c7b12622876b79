"""Training with the denoising loss: a pure step, a loop that resumes, checkpoints, and the loss of any denoiser."""

from jaxcreativity.training.checkpoints import Checkpoints
from jaxcreativity.training.fitting import (
    Objective,
    TrainState,
    denoising_loss,
    digest,
    dispatcher,
    fit,
    init_state,
    loop,
    train_step,
    warmup_cosine,
)

__all__ = [
    "Checkpoints",
    "Objective",
    "TrainState",
    "denoising_loss",
    "digest",
    "dispatcher",
    "fit",
    "init_state",
    "loop",
    "train_step",
    "warmup_cosine",
]
