"""Training one network as a denoiser: `fit`."""

from pathlib import Path

import flax.linen as nn
import jax
import optax
from jaxtyping import ArrayLike, Float, PRNGKeyArray

from jaxcreativity.denoiser import Prediction
from jaxcreativity.networks.binding import NetworkDenoiser, bind
from jaxcreativity.schedules import Schedule
from jaxcreativity.training import _run
from jaxcreativity.training.objective import Objective, Weighting
from jaxcreativity.training.steps import init_state, train_step, warmup_cosine


def fit(
    module: nn.Module,
    x: Float[ArrayLike, "n *shape"],
    sigmas: Float[ArrayLike, " levels"] | Schedule,
    *,
    key: PRNGKeyArray,
    num_steps: int = 2000,
    batch_size: int = 32,
    learning_rate: float = 3e-3,
    optimizer: optax.GradientTransformation | None = None,
    prediction: Prediction = "x",
    sigma_data: float | None = None,
    scale_input: bool = True,
    weighting: Weighting | None = None,
    weight_penalty: float = 0.0,
    ema_decay: float | None = 0.999,
    steps_per_dispatch: int | None = None,
    checkpoint_folder: str | Path | None = None,
    checkpoint_every: int | None = None,
    progress: bool = True,
    label: str | None = None,
) -> NetworkDenoiser:
    """Train a module as a denoiser of `x`.

    The random numbers of step k depend on `key` and k alone, so a run that was killed and resumed ends at the same
    parameters as one that was not.

    Args:
        module: Linen module `module(y_scaled, sigma) -> output` on one example.
        x: training examples, floating point; kept on the device.
        sigmas: noise grid (each step trains all of its positive levels), or a schedule (each step trains 32 times,
            one in each of 32 equal parts of (0, 1]).
        key: random key for initial parameters, batches and noise.
        num_steps: optimiser steps.
        batch_size: images per noise level and step.
        learning_rate: peak of the default optimiser's schedule (5 % warm-up, cosine decay to 0).
        optimizer: optax transformation; by default Adam with that schedule.
        prediction: what the module outputs: `"x"`, `"noise"` or `"v"`.
        sigma_data: root mean square of the data's entries, measured if not given.
        scale_input: whether the module sees `y / sqrt(sigma^2 + sigma_data^2)`, or `y` itself.
        weighting: `sigma -> weight` of the squared output error; 1 if not given.
        weight_penalty: coefficient of the sum of squared kernels in the loss.
        ema_decay: decay of the exponential moving average of the parameters that is returned (ramped up over the
            first steps), or `None` for the last parameters.
        steps_per_dispatch: optimiser steps per compiled call. By default 100, but 1 for convolutions on CPUs, whose
            gradient XLA compiles badly inside a loop (JAX issue 12868).
        checkpoint_folder: where to save and resume; nothing is saved if not given.
        checkpoint_every: steps between checkpoints, a tenth of the run by default.
        progress: whether to show a progress bar.
        label: what the progress bar calls the run; the module's name by default.

    Returns:
        The network with its averaged parameters.

    Raises:
        ValueError: for bad data, grid, counts or prediction, and for a checkpoint folder that is damaged, belongs
            to another configuration or package version, or is in use; and if what is trained cannot be compared with a
            checkpoint, because it calls Python when it runs.
        OSError: if the disk of the checkpoint folder is full.
        FloatingPointError: if the loss becomes infinite or NaN.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcreativity as jc
        >>> x = jax.random.normal(jax.random.key(0), (100, 2))
        >>> module, sigmas = jc.networks.MLP(width=16, depth=1), jnp.array([10.0, 1.0, 0.1, 0.0])
        >>> network = jc.training.fit(module, x, sigmas, key=jax.random.key(1), num_steps=50, progress=False)
        >>> network(x[0], 0.5).shape
        (2,)
    """
    x, sigmas, sigma_data = _run.check(x, sigmas, num_steps, batch_size, ema_decay, sigma_data)
    if optimizer is None:
        optimizer = optax.adam(warmup_cosine(learning_rate, num_steps))
    init_key, data_key = jax.random.split(key)
    objective = Objective(module, prediction, sigma_data, weighting, weight_penalty, scale_input)
    init = lambda key: init_state(objective, optimizer, key, x[:1])  # noqa: E731
    state = init(init_key)
    options = {"prediction": prediction, "sigma_data": sigma_data, "scale_input": scale_input}
    bind(module, state.params, **options)  # raises early on bad arguments

    identity = None
    if checkpoint_folder is not None:
        settings = {"batch_size": batch_size, "learning_rate": learning_rate, "ema_decay": ema_decay}
        identity = _run.describe(objective, optimizer.update, init, init_key, state, x, sigmas, **settings)

    def step(state, data, key):
        x, levels = data
        levels = sigmas if levels is None else levels
        return train_step(objective, optimizer, ema_decay, levels, batch_size, state, x, key)

    state = _run.run(
        step, state, (x, _run.levels_as_data(sigmas)), data_key, identity,
        num_steps=num_steps, steps_per_dispatch=steps_per_dispatch, checkpoint_folder=checkpoint_folder,
        checkpoint_every=checkpoint_every, progress=progress, label=label or type(module).__name__,
    )  # fmt: skip
    return bind(module, state.params if ema_decay is None else state.average, **options)
