"""Training with the denoising loss: a pure step, a loop that resumes, and the loss of any denoiser.

One step draws, for every noise level of the grid (or for stratified times of a schedule), `batch_size` images and
noises of their own, and descends

    mean over levels, images and entries of  weighting(sigma) |F(c_in y, sigma) - F*|^2  +  weight_penalty |kernels|^2

where F is the network's output and F* the target for its prediction type (`networks.binding`). With weighting 1,
predicting x weights the error of D equally at all levels, noise by `1 / sigma^2`, v by `1 / c_out^2`.
"""

import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray
from tqdm import tqdm

from jaxcreativity import _checks, _pytree
from jaxcreativity.denoiser import Denoiser, Prediction
from jaxcreativity.networks.binding import NetworkDenoiser, bind, preconditioning
from jaxcreativity.schedules import Schedule
from jaxcreativity.training.checkpoints import Checkpoints

Weighting = Callable[[Float[Array, ""]], Float[Array, ""]]
NUM_STRATA = 32


@_pytree.dataclass
class TrainState:
    """Everything that a training step reads and writes."""

    step: Int[Array, ""]
    params: Any
    average: Any
    opt_state: Any


@_pytree.dataclass
class Objective:
    """The denoising loss of one module; all of it is static, so it can be an argument of `jit`.

    Attributes:
        module: Linen module `module(y_scaled, sigma) -> output`.
        prediction: what the module outputs, `"x"`, `"noise"` or `"v"`.
        sigma_data: root mean square of the data's entries.
        weighting: `sigma -> weight` of the squared error of the output, or `None` for 1.
        weight_penalty: coefficient of the summed squares of all parameters whose name ends in `kernel`.
        scale_input: whether the module sees `c_in y`, or `y` itself.
    """

    module: nn.Module = _pytree.static()
    prediction: Prediction = _pytree.static()
    sigma_data: float = _pytree.static()
    weighting: Weighting | None = _pytree.static(default=None)
    weight_penalty: float = _pytree.static(default=0.0)
    scale_input: bool = _pytree.static(default=True)

    def __call__(
        self,
        params: Any,
        x: Float[Array, "levels batch *shape"],
        noise: Float[Array, "levels batch *shape"],
        sigmas: Float[Array, " levels"],
    ) -> Float[Array, ""]:
        """The loss of this module's docstring on given images and noises."""

        def example_loss(x, noise, sigma):
            c_skip, c_out, c_in = preconditioning(self.prediction, sigma, self.sigma_data, self.scale_input)
            y = x + sigma * noise
            output = self.module.apply({"params": params}, c_in * y, sigma)
            # For the noise this is (x - y) / -sigma = noise, and so on.
            return jnp.mean(jnp.square(output - (x - c_skip * y) / c_out))

        def level_loss(x, noise, sigma):
            weight = 1.0 if self.weighting is None else self.weighting(sigma)
            return weight * jnp.mean(jax.vmap(example_loss, in_axes=(0, 0, None))(x, noise, sigma))

        return jnp.mean(jax.vmap(level_loss)(x, noise, sigmas)) + self._penalty(params)

    def _penalty(self, params):
        if not self.weight_penalty:
            return 0.0
        leaves = jax.tree_util.tree_leaves_with_path(params)
        kernels = [leaf for path, leaf in leaves if str(path[-1].key).endswith("kernel")]
        return self.weight_penalty * sum(jnp.sum(jnp.square(kernel)) for kernel in kernels)


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
        ValueError: for bad data, grid, counts or prediction, and for a checkpoint that is damaged or belongs to
            another configuration.
        FloatingPointError: if the loss becomes infinite or NaN.
    """
    x = _checks.examples("x", x)
    for name, value in (("num_steps", num_steps), ("batch_size", batch_size)):
        _checks.positive_int(name, value)
    if not callable(sigmas):
        sigmas = _checks.noise_grid(sigmas)[:-1].astype(x.dtype)
    if ema_decay is not None and not 0 <= ema_decay < 1:
        raise ValueError(f"ema_decay must lie in [0, 1), got {ema_decay}")
    if sigma_data is None:
        sigma_data = float(jnp.sqrt(jnp.mean(jnp.square(x))))
    if optimizer is None:
        optimizer = optax.adam(warmup_cosine(learning_rate, num_steps))
    init_key, data_key = jax.random.split(key)
    objective = Objective(module, prediction, sigma_data, weighting, weight_penalty, scale_input)
    state = init_state(objective, optimizer, init_key, x)
    options = {"prediction": prediction, "sigma_data": sigma_data, "scale_input": scale_input}
    bind(module, state.params, **options)  # raises early on bad arguments

    step = partial(train_step, objective, optimizer, ema_decay, sigmas, batch_size)
    if steps_per_dispatch is None:
        steps_per_dispatch = _default_steps_per_dispatch(step, state, x, data_key)
    every = _checks.positive_int("checkpoint_every", checkpoint_every or max(1, num_steps // 10))
    identity = None if checkpoint_folder is None else {
        "module": repr(module), "prediction": prediction, "sigma_data": sigma_data, "num_steps": num_steps,
        "batch_size": batch_size, "learning_rate": learning_rate, "weight_penalty": weight_penalty,
        "ema_decay": ema_decay, "checkpoint_every": every, "steps_per_dispatch": steps_per_dispatch,
        "sigmas": digest(sigmas) if not callable(sigmas) else repr(sigmas), "data": digest(x),
        "key": digest(jax.random.key_data(key)), "optimizer": str(jax.tree.structure(state.opt_state)),
        **({} if scale_input else {"scale_input": False}),
    }  # fmt: skip
    state = loop(
        step, state, x=x, key=data_key, num_steps=num_steps, label=label or type(module).__name__, progress=progress,
        per_dispatch=_checks.positive_int("steps_per_dispatch", steps_per_dispatch),
        checkpoint_folder=checkpoint_folder, checkpoint_every=every, identity=identity,
    )  # fmt: skip
    params = state.params if ema_decay is None else state.average
    return bind(module, params, **options)


@partial(jax.jit, static_argnames=("num_draws", "batch_size"))
def denoising_loss(
    denoiser: Denoiser,
    x: Float[Array, "n *shape"],
    sigmas: Float[Array, " levels"],
    key: PRNGKeyArray,
    num_draws: int = 1,
    batch_size: int = 256,
) -> Float[Array, " positive_levels"]:
    """Monte-Carlo estimate of `E |D(x + sigma noise, sigma) - x|^2` per entry, at every positive level of a grid.

    Args:
        denoiser: callable on one example.
        x: examples to average over, each used `num_draws` times.
        sigmas: noise grid (the final 0 is left out).
        key: random key; the same key gives every denoiser the same noise.
        num_draws: noises per example.
        batch_size: examples evaluated at once.
    """

    def one(inputs):
        x, key = inputs
        noise = jax.random.normal(key, (num_draws, *x.shape), x.dtype)
        error = lambda noise, sigma: jnp.mean(jnp.square(denoiser(x + sigma * noise, sigma) - x))  # noqa: E731
        return jax.vmap(lambda s: jnp.mean(jax.vmap(error, (0, None))(noise, s)))(sigmas[:-1].astype(x.dtype))

    return jnp.mean(jax.lax.map(one, (x, jax.random.split(key, x.shape[0])), batch_size=batch_size), axis=0)


def init_state(
    objective: Objective, optimizer: optax.GradientTransformation, key: PRNGKeyArray, x: Array
) -> TrainState:
    """The state before the first step.

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


def train_step(objective, optimizer, ema_decay, sigmas, batch_size, state, x, key):
    """One optimiser step, `(state, loss)`: what `fit` repeats, with its arguments."""
    x, noise, levels = _draw(x, sigmas, batch_size, jax.random.fold_in(key, state.step))
    loss, gradient = jax.value_and_grad(objective)(state.params, x, noise, levels)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    average = params
    if ema_decay is not None:
        decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
        average = optax.incremental_update(params, state.average, 1 - decay)
    return TrainState(state.step + 1, params, average, opt_state), loss.astype(x.dtype)


def _draw(x, sigmas, batch_size, key):
    """Images, noises and noise levels of one step."""
    index_key, noise_key, time_key = jax.random.split(key, 3)
    levels = sigmas
    if callable(sigmas):
        times = (jnp.arange(NUM_STRATA) + 1 - jax.random.uniform(time_key, (NUM_STRATA,))) / NUM_STRATA
        levels = sigmas(times).astype(x.dtype)
    indices = jax.random.randint(index_key, (levels.shape[0], batch_size), 0, x.shape[0])
    noise = jax.random.normal(noise_key, (*indices.shape, *x.shape[1:]), x.dtype)
    return x[indices], noise, levels


def warmup_cosine(learning_rate: float, num_steps: int) -> optax.Schedule:
    """Learning rate of every training here: linear from 0 over the first 5 % of the steps, then a cosine down to 0."""
    return optax.warmup_cosine_decay_schedule(0.0, learning_rate, max(1, num_steps // 20), num_steps + 1)


def loop(
    step, state, *, x, key, num_steps, label, progress=True, per_dispatch=1,
    checkpoint_folder=None, checkpoint_every=None, identity=None,
):  # fmt: skip
    """Run `step` to `num_steps`, from `state` or the newest checkpoint, `per_dispatch` steps per compiled call.

    Args:
        step: `(state, x, key) -> (state, loss)`, pure.
        state: has a field `step`.
        x: data, any pytree.
        key: the same for every step, which folds its number in.
        num_steps: where to stop.
        label: what the progress bar calls the run.
        progress: whether to show it.
        per_dispatch: steps per compiled call.
        checkpoint_folder: where to save and resume; nothing is saved if not given.
        checkpoint_every: steps between checkpoints, and between checks of the loss.
        identity: what the checkpoints belong to (`Checkpoints`).

    Raises:
        ValueError: for a checkpoint that is damaged or belongs to another configuration.
        FloatingPointError: if the loss becomes infinite or NaN.
    """
    dispatch = dispatcher(step, per_dispatch)
    every = checkpoint_every or num_steps
    opened = nullcontext() if checkpoint_folder is None else Checkpoints(checkpoint_folder, identity)
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
                    loss = float(loss)
                    if not np.isfinite(loss):
                        raise FloatingPointError(f"the loss became {loss} before step {done}; lower the learning rate")
                    bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
                bar.update(count)
                if due and checkpoints is not None:
                    checkpoints.save(done, state)
    return state


def dispatcher(step, per_dispatch=1):
    """Compiled `(state, x, key, count) -> (state, loss)` of `count <= per_dispatch` steps; its state is donated."""

    @partial(jax.jit, donate_argnums=0, compiler_options=_compiler_options())
    def dispatch(state, x, key, count):
        if per_dispatch == 1:
            return step(state, x, key)
        loss = jnp.zeros((), jax.eval_shape(step, state, x, key)[1].dtype)
        # A traced bound: the shorter call before a checkpoint is not compiled anew.
        return jax.lax.fori_loop(0, count, lambda _, carry: step(carry[0], x, key), (state, loss))

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


def _default_steps_per_dispatch(step, state, x, key) -> int:
    if jax.default_backend() == "cpu" and "conv_general_dilated" in str(jax.make_jaxpr(step)(state, x, key)):
        return 1
    return 100


def digest(array: ArrayLike) -> str:
    """Short hash of an array's entries and shape, for the identity of a checkpointed run."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes() + str(array.shape).encode()).hexdigest()[:16]
