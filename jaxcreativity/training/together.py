"""Training several networks side by side: `fit_together`."""

from collections.abc import Sequence
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import ArrayLike, Float, PRNGKeyArray

from jaxcreativity import _checks
from jaxcreativity.denoiser import Prediction
from jaxcreativity.networks.binding import NetworkDenoiser, bind
from jaxcreativity.schedules import Schedule
from jaxcreativity.training import _run
from jaxcreativity.training.objective import Objective
from jaxcreativity.training.steps import TrainState, init_state, train_step_together, warmup_cosine


def fit_together(
    module: nn.Module,
    x: Float[ArrayLike, "n *shape"],
    counts: Sequence[int],
    sigmas: Float[ArrayLike, " levels"] | Schedule,
    *,
    key: PRNGKeyArray,
    init_key: PRNGKeyArray | None = None,
    num_steps: int = 2000,
    batch_size: int = 32,
    learning_rate: float = 3e-3,
    optimizer: optax.GradientTransformation | None = None,
    prediction: Prediction = "x",
    sigma_data: float | None = None,
    ema_decay: float | None = 0.999,
    steps_per_dispatch: int | None = None,
    checkpoint_folder: str | Path | None = None,
    checkpoint_every: int | None = None,
    progress: bool = True,
    label: str | None = None,
) -> list[NetworkDenoiser]:
    """Train several networks of one module side by side (`vmap`), each on the first so many images of `x`.

    Small networks leave the cores idle when they are trained alone. Each has initial parameters, batches and noise of
    its own, set by the keys and its place in `counts` alone: leaving out the last ones changes nothing in the others.

    Args:
        module: Linen module `module(y_scaled, sigma) -> output` on one example.
        x: training examples, floating point; kept on the device.
        counts: for every network, on how many of the first examples it is trained.
        sigmas: noise grid (each step trains all of its positive levels), or a schedule, as for `fit`.
        key: random key for batches and noise, and for the initial parameters unless `init_key` is given.
        init_key: random key for the initial parameters.
        num_steps: optimiser steps.
        batch_size: images per noise level, step and network.
        learning_rate: peak of the default optimiser's schedule (5 % warm-up, cosine decay to 0).
        optimizer: optax transformation; by default Adam with that schedule.
        prediction: what the module outputs: `"x"`, `"noise"` or `"v"`.
        sigma_data: root mean square of the entries of all of `x`, measured if not given; the same for all networks.
        ema_decay: decay of the average of the parameters that is returned, or `None` for the last parameters.
        steps_per_dispatch: optimiser steps per compiled call, as for `fit`.
        checkpoint_folder: where to save and resume; nothing is saved if not given.
        checkpoint_every: steps between checkpoints, a tenth of the run by default.
        progress: whether to show a progress bar.
        label: what the progress bar calls the run; the module's name by default.

    Returns:
        The networks in the order of `counts`.

    Raises:
        ValueError: for bad data, grid, counts or prediction, and for a checkpoint folder that is damaged, belongs
            to another configuration or package version, or is in use; and if what is trained cannot be compared with a
            checkpoint, because it calls Python when it runs.
        OSError: if the disk of the checkpoint folder is full.
        FloatingPointError: if a loss becomes infinite or NaN; says which network's.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcreativity as jc
        >>> x = jax.random.normal(jax.random.key(0), (100, 2))
        >>> module, sigmas = jc.networks.DenseLinear((10.0, 1.0, 0.1)), jnp.array([10.0, 1.0, 0.1, 0.0])
        >>> networks = jc.training.fit_together(
        ...     module, x, [10, 100], sigmas, key=jax.random.key(1), num_steps=50, progress=False
        ... )
        >>> [network(x[0], 0.5).shape for network in networks]
        [(2,), (2,)]
    """
    x, sigmas, sigma_data = _run.check(x, sigmas, num_steps, batch_size, ema_decay, sigma_data)
    counts = [_checks.positive_int("counts", count) for count in counts]
    if not counts or max(counts) > len(x):
        raise ValueError(f"counts must say for at least one network on how many of {len(x)} examples, got {counts}")
    if optimizer is None:
        optimizer = optax.adam(warmup_cosine(learning_rate, num_steps))
    if init_key is None:
        init_key, key = jax.random.split(key)
    objective = Objective(module, prediction, sigma_data)
    init = jax.jit(jax.vmap(lambda key: init_state(objective, optimizer, key, x[:1])))
    states = init(init_keys := jax.random.split(init_key, len(counts)))
    state = TrainState(jnp.zeros((), jnp.int32), states.params, states.average, states.opt_state)
    options = {"prediction": prediction, "sigma_data": sigma_data}
    bind(module, state.params, **options)  # raises early on bad arguments

    identity = None
    if checkpoint_folder is not None:
        settings = {"batch_size": batch_size, "learning_rate": learning_rate, "ema_decay": ema_decay, "counts": counts}
        update = jax.vmap(optimizer.update)
        identity = _run.describe(objective, update, init, init_keys, state, x, sigmas, **settings)

    def step(state, data, key):
        *data, levels = data
        levels = sigmas if levels is None else levels
        return train_step_together(objective, optimizer, ema_decay, levels, batch_size, state, tuple(data), key)

    state = _run.run(
        step, state, (x, jnp.asarray(counts), _run.levels_as_data(sigmas)), key, identity,
        num_steps=num_steps, steps_per_dispatch=steps_per_dispatch, checkpoint_folder=checkpoint_folder,
        checkpoint_every=checkpoint_every, progress=progress, label=label or type(module).__name__,
        names=[f"network {i} ({count} examples)" for i, count in enumerate(counts)],
    )  # fmt: skip
    params = state.params if ema_decay is None else state.average
    return [bind(module, jax.tree.map(lambda leaf, i=i: leaf[i], params), **options) for i in range(len(counts))]
