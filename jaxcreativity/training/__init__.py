"""Training with the denoising loss: pure steps, one loop that resumes, checkpoints, and the loss of any denoiser.

| to                                                        | use                                                |
|-----------------------------------------------------------|----------------------------------------------------|
| train a network as a denoiser                             | `fit`                                              |
| train several of them side by side, on sets of many sizes | `fit_together`                                     |
| measure the denoising loss of any denoiser                | `denoising_loss`                                   |
| write a loop of your own                                  | `Objective`, `init_state`, `train_step`            |
| run any pure step, with checkpoints, resume and a bar     | `loop`, `dispatcher`, `Checkpoints`, `digest`      |
| have the learning rate that all training here has         | `warmup_cosine`                                    |
"""

from jaxcreativity.training._identity import digest
from jaxcreativity.training._loop import dispatcher, loop
from jaxcreativity.training.checkpoints import Checkpoints
from jaxcreativity.training.evaluation import denoising_loss
from jaxcreativity.training.fitting import fit
from jaxcreativity.training.objective import Objective
from jaxcreativity.training.steps import TrainState, init_state, train_step, warmup_cosine
from jaxcreativity.training.together import fit_together

__all__ = [
    "Checkpoints",
    "Objective",
    "TrainState",
    "denoising_loss",
    "digest",
    "dispatcher",
    "fit",
    "fit_together",
    "init_state",
    "loop",
    "train_step",
    "warmup_cosine",
]
