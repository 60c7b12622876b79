"""What `fit` and `fit_together` share around the loop: checks, and what a checkpoint says about its run."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcreativity import _checks
from jaxcreativity.training._identity import digest, program, without_addresses
from jaxcreativity.training._loop import default_steps_per_dispatch, loop


def check(x, sigmas, num_steps, batch_size, ema_decay, sigma_data):
    """The examples, the positive levels of the grid (or the schedule), and the data's scale, measured if not given.

    Args:
        x: examples.
        sigmas: noise grid, or a schedule.
        num_steps: at least 1.
        batch_size: at least 1.
        ema_decay: in [0, 1), or `None`.
        sigma_data: root mean square of the entries, or `None`.

    Raises:
        ValueError: for any that is not so.
    """
    x = _checks.examples("x", x)
    for name, value in (("num_steps", num_steps), ("batch_size", batch_size)):
        _checks.positive_int(name, value)
    if not callable(sigmas):
        sigmas = _checks.noise_grid(sigmas)[:-1].astype(x.dtype)
    if ema_decay is not None and not 0 <= ema_decay < 1:
        raise ValueError(f"ema_decay must lie in [0, 1), got {ema_decay}")
    if sigma_data is None:
        # Not by JAX, whose sums differ between devices: a run may go on on another.
        entries = np.asarray(x).ravel()
        sigma_data = float(np.sqrt(np.einsum("i,i->", entries, entries, dtype=float) / entries.size).astype(x.dtype))
    return x, sigmas, sigma_data


def levels_as_data(sigmas):
    """A noise grid, `None` for a schedule.

    Data, not part of the step's program: computed on another device it differs in the last bits, and would be another
    program.

    Args:
        sigmas: noise grid, or a schedule.
    """
    return None if callable(sigmas) else sigmas


def describe(objective, update, init, init_key, state, x, sigmas, **settings) -> dict[str, Any]:
    """The settings that determine a run, in JSON: what its checkpoints belong to, with what `loop` adds.

    Args:
        objective: the loss.
        update: the optimiser's function, as the step applies it.
        init: `key -> state` before the first step.
        init_key: what `init` is called with.
        state: before the first step.
        x: examples.
        sigmas: positive noise levels, or a schedule.
        **settings: numbers.
    """
    level = jnp.ones((), x.dtype)
    weighting = None if objective.weighting is None else program("weighting", objective.weighting, level)
    return settings | {
        "module": without_addresses(objective.module), "prediction": objective.prediction, "dtype": str(x.dtype),
        "sigma_data": objective.sigma_data, "weight_penalty": objective.weight_penalty, "weighting": weighting,
        "scale_input": objective.scale_input,
        "data": digest(x),
        "sigmas": program("sigmas", sigmas, level) if callable(sigmas) else np.asarray(sigmas).tolist(),
        "optimizer": program("optimizer", update, state.params, state.opt_state, state.params),
        # Not the numbers themselves: those of another kind of processor differ in the last bit.
        "state": program("module", init, init_key), "init_key": digest(init_key),
    }  # fmt: skip


def run(step, state, x, key, identity, *, num_steps, steps_per_dispatch, checkpoint_folder, checkpoint_every, **shown):
    """`loop` with the defaults of `fit`.

    Args:
        step: `(state, x, key) -> (state, loss)`.
        state: before the first step.
        x: data, any pytree.
        key: the same for every step.
        identity: what the checkpoints belong to; `None` if none are kept.
        num_steps: where to stop.
        steps_per_dispatch: steps per compiled call, or `None`.
        checkpoint_folder: where to save and resume, or `None`.
        checkpoint_every: steps between checkpoints, or `None` for a tenth of the run.
        **shown: `label`, `progress` and `names`, as `loop` takes them.

    Raises:
        ValueError: for counts below 1, and for a checkpoint that is damaged or belongs to another configuration.
        FloatingPointError: if a loss becomes infinite or NaN.
    """
    step = jax.jit(step)  # traced once for all that read it
    if steps_per_dispatch is None:
        steps_per_dispatch = default_steps_per_dispatch(step, state, x, key)
    every = _checks.positive_int("checkpoint_every", checkpoint_every or max(1, num_steps // 10))
    if identity is not None:
        identity |= {"num_steps": num_steps, "checkpoint_every": every}
    return loop(
        step, state, x=x, key=key, num_steps=num_steps,
        per_dispatch=_checks.positive_int("steps_per_dispatch", steps_per_dispatch),
        checkpoint_folder=checkpoint_folder, checkpoint_every=every, identity=identity, **shown,
    )  # fmt: skip
