"""The training loop: any pure step, several at a time in one compiled call, with checkpoints, resume and a bar."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray
from tqdm import tqdm

from jaxcreativity.training._identity import digest, program
from jaxcreativity.training.checkpoints import Checkpoints


def loop(
    step: Callable[[Any, Any, PRNGKeyArray], tuple[Any, Any]],
    state: Any,
    *,
    x: Any,
    key: PRNGKeyArray,
    num_steps: int,
    label: str,
    progress: bool = True,
    per_dispatch: int = 1,
    checkpoint_folder: str | Path | None = None,
    checkpoint_every: int | None = None,
    identity: dict[str, Any] | None = None,
    names: Sequence[str] | None = None,
) -> Any:
    """Run `step` to `num_steps`, from `state` or the newest checkpoint, `per_dispatch` steps per compiled call.

    Args:
        step: `(state, x, key) -> (state, loss)`, pure; the loss is a number, or one for each of several networks.
        state: has a field `step`.
        x: data, any pytree.
        key: the same for every step, which folds its number in.
        num_steps: where to stop.
        label: what the progress bar calls the run.
        progress: whether to show it.
        per_dispatch: steps per compiled call.
        checkpoint_folder: where to save and resume; nothing is saved if not given.
        checkpoint_every: steps between checkpoints, and between checks of the loss; only at the end if not given.
        identity: what else determines the run, in JSON (`Checkpoints`); added are digests of what `step` computes and
            of `key`, and of `x` and `state` unless `identity` has entries `data` and `state` that say where they are
            from.
        names: of several networks, what an error calls each.

    Raises:
        ValueError: for a checkpoint folder that is damaged, belongs to another configuration or package version, or
            is in use; and for a step that cannot be compared with that of a checkpoint, because it calls Python.
        OSError: if the disk of the checkpoint folder is full.
        FloatingPointError: if a loss becomes infinite or NaN.
    """
    dispatch = dispatcher(step, per_dispatch)
    every = checkpoint_every or num_steps
    opened = nullcontext()
    if checkpoint_folder is not None:
        whole = {"step": program("step", step, state, x, key), "key": digest(key)} | (identity or {})
        whole |= {name: digest(tree) for name, tree in (("data", x), ("state", state)) if name not in whole}
        opened = Checkpoints(checkpoint_folder, whole)
    with opened as checkpoints:
        restored = None if checkpoints is None else checkpoints.restore_latest(state)
        state = jax.tree.map(jnp.array, state if restored is None else restored)  # donated: the caller keeps its own
        done = int(state.step)
        with tqdm(total=num_steps, initial=done, unit="step", desc=label, disable=not progress) as bar:
            while done < num_steps:
                count = min(per_dispatch, num_steps - done, every - done % every)
                state, loss = dispatch(state, x, key, count)
                done += count
                due = done % every == 0 or done == num_steps
                if due or per_dispatch > 1:
                    bar.set_postfix(loss=f"{_finite(loss, done, names):.4g}", refresh=False)
                bar.update(count)
                if due and checkpoints is not None:
                    checkpoints.save(done, state)
    return state


def _finite(loss, done, names) -> float:
    """The mean of the losses, which must be finite."""
    losses = np.atleast_1d(np.asarray(loss))
    bad = np.flatnonzero(~np.isfinite(losses))
    if len(bad):
        of = "" if names is None else f" of {', '.join(names[i] for i in bad)}"
        raise FloatingPointError(f"the loss{of} became {losses[bad[0]]} before step {done}; lower the learning rate")
    return float(losses.mean())


def dispatcher(step: Callable[[Any, Any, PRNGKeyArray], tuple[Any, Any]], per_dispatch: int = 1) -> Callable:
    """Compiled `(state, x, key, count) -> (state, loss)` of `count <= per_dispatch` steps; its state is donated."""

    @partial(jax.jit, donate_argnums=0, compiler_options=_compiler_options())
    def dispatch(state, x, key, count):
        if per_dispatch == 1:
            return step(state, x, key)
        loss = jax.eval_shape(step, state, x, key)[1]
        start = (state, jnp.zeros(loss.shape, loss.dtype))
        # A traced bound: the shorter call before a checkpoint is not compiled anew.
        return jax.lax.fori_loop(0, count, lambda _, carry: step(carry[0], x, key), start)

    return dispatch


@cache
def _compiler_options() -> dict[str, str] | None:
    """Where XLA knows them, options for CPUs by which a step with convolutions takes two thirds of the time.

    By default XLA (of JAX 0.10) leaves convolutions to the library YNNPACK, which takes four times as long over the
    gradient of a kernel; with the option, only sums.
    """
    options = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(jnp.square, compiler_options=options).lower(1.0).compile()
    except RuntimeError:  # another version, which does not know the option
        return None
    return options


def default_steps_per_dispatch(
    step: Callable[[Any, Any, PRNGKeyArray], tuple[Any, Any]], state: Any, x: Any, key: PRNGKeyArray
) -> int:
    """Steps per compiled call: 100, but 1 for convolutions on CPUs, whose gradient is slow inside a compiled loop.

    Args:
        step: `(state, x, key) -> (state, loss)`.
        state: as `step` takes it.
        x: data.
        key: random key.
    """
    if jax.default_backend() == "cpu" and "conv_general_dilated" in str(jax.make_jaxpr(step)(state, x, key)):
        return 1
    return 100
