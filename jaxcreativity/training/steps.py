"""One optimiser step as a pure function `(state, data, key) -> (state, loss)`, of one network or of several at once."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxcreativity import _pytree
from jaxcreativity.schedules import Schedule
from jaxcreativity.training.objective import Objective

NUM_STRATA = 32


@_pytree.dataclass
class TrainState:
    """Everything that a training step reads and writes.

    Attributes:
        step: steps done.
        params: the module's parameters.
        average: exponential moving average of them.
        opt_state: of the optimiser.
    """

    step: Int[Array, ""]
    params: Any
    average: Any
    opt_state: Any


def init_state(
    objective: Objective, optimizer: optax.GradientTransformation, key: PRNGKeyArray, x: Array
) -> TrainState:
    """The state before the first step.

    Args:
        objective: says of which module.
        optimizer: optax transformation.
        key: random key for the initial parameters.
        x: examples, for their shape and type.

    Raises:
        ValueError: if the module has state other than its parameters, or rejects the examples.
    """
    variables = jax.jit(objective.module.init)(key, x[0], jnp.ones((), x.dtype))
    if set(variables) != {"params"}:
        raise ValueError(
            f"module {type(objective.module).__name__} has collections {sorted(variables)}; a denoiser is a pure "
            "function of its parameters, so only 'params' is supported (use group or layer normalisation)"
        )
    params = variables["params"]
    return TrainState(jnp.zeros((), jnp.int32), params, params, optimizer.init(params))


def train_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    ema_decay: float | None,
    sigmas: Float[Array, " levels"] | Schedule,
    batch_size: int,
    state: TrainState,
    x: Float[Array, "n *shape"],
    key: PRNGKeyArray,
) -> tuple[TrainState, Float[Array, ""]]:
    """One optimiser step, `(state, loss)`: what `fit` repeats, with its arguments.

    Args:
        objective: the loss.
        optimizer: optax transformation.
        ema_decay: of the average of the parameters, or `None` for the parameters themselves.
        sigmas: positive noise levels, or a schedule.
        batch_size: images per noise level.
        state: before the step.
        x: training examples.
        key: the same at every step, which folds its number in.
    """
    return _descend(objective, optimizer, ema_decay, state, draw(x, sigmas, batch_size, _step_key(key, state)))


def train_step_together(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    ema_decay: float | None,
    sigmas: Float[Array, " levels"] | Schedule,
    batch_size: int,
    state: TrainState,
    data: tuple[Float[Array, "n *shape"], Int[Array, " networks"]],
    key: PRNGKeyArray,
) -> tuple[TrainState, Float[Array, " networks"]]:
    """One optimiser step of several networks, `(state, losses)`: what `fit_together` repeats.

    Args:
        objective: the loss.
        optimizer: optax transformation.
        ema_decay: of the average of the parameters, or `None` for the parameters themselves.
        sigmas: positive noise levels, or a schedule.
        batch_size: images per noise level and network.
        state: before the step; all leaves but `step` have a leading axis of networks.
        data: training examples, and how many of the first of them each network is trained on.
        key: the same at every step, which folds its number in.
    """
    x, counts = data

    def one(params, average, opt_state, count, key):
        batch = draw(x, sigmas, batch_size, key, count)
        new, loss = _descend(objective, optimizer, ema_decay, TrainState(state.step, params, average, opt_state), batch)
        return (new.params, new.average, new.opt_state), loss

    keys = jax.random.split(_step_key(key, state), counts.shape[0])
    new, losses = jax.vmap(one)(state.params, state.average, state.opt_state, counts, keys)
    return TrainState(state.step + 1, *new), losses


def _step_key(key, state):
    """A step's random numbers depend on `key` and its number alone: a run that is resumed draws the same."""
    return jax.random.fold_in(key, state.step)


def _descend(objective, optimizer, ema_decay, state, batch):
    """The state after one step on images, noises and noise levels, and the loss before it."""
    x, noise, levels = batch
    loss, gradient = jax.value_and_grad(objective)(state.params, x, noise, levels)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    average = params
    if ema_decay is not None:
        decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
        average = optax.incremental_update(params, state.average, 1 - decay)
    return TrainState(state.step + 1, params, average, opt_state), loss.astype(x.dtype)


def draw(
    x: Float[Array, "n *shape"],
    sigmas: Float[Array, " levels"] | Schedule,
    batch_size: int,
    key: PRNGKeyArray,
    count: Int[Array, ""] | None = None,
) -> tuple[Float[Array, "levels batch *shape"], Float[Array, "levels batch *shape"], Float[Array, " levels"]]:
    """Images, noises and noise levels of one step.

    Args:
        x: examples.
        sigmas: positive noise levels, all of which are used, or a schedule, of which 32 levels are: one at a random
            time in each of 32 equal parts of (0, 1].
        batch_size: images per noise level, drawn with replacement.
        key: random key.
        count: how many of the first examples to draw from; all if not given.
    """
    index_key, noise_key, time_key = jax.random.split(key, 3)
    levels = sigmas
    if callable(sigmas):
        times = (jnp.arange(NUM_STRATA) + 1 - jax.random.uniform(time_key, (NUM_STRATA,))) / NUM_STRATA
        levels = sigmas(times).astype(x.dtype)
    shape = (levels.shape[0], batch_size)
    indices = jax.random.randint(index_key, shape, 0, x.shape[0] if count is None else count)
    noise = jax.random.normal(noise_key, (*indices.shape, *x.shape[1:]), x.dtype)
    return x[indices], noise, levels


def warmup_cosine(learning_rate: float, num_steps: int) -> optax.Schedule:
    """Learning rate of every training here: up to its peak in the first 5 % of the steps, then a cosine down to 0.

    Step k of n, counted from 0, has the rate of k + 1: the first one moves, too, and the one after the last would not.
    """
    rate = optax.warmup_cosine_decay_schedule(0.0, learning_rate, max(1, num_steps // 20), num_steps + 1)
    return lambda step: rate(step + 1)
