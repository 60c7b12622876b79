"""What a run will take, before it begins."""

import time
from functools import partial

import jax
import jax.numpy as jnp
import optax

from experiments.runner import Numbers, table
from experiments.unet_variants.prepare import Setup
from jaxcreativity import training


def estimate(setup: Setup) -> dict[str, Numbers]:
    """Parameters, operations per step, memory of a step (MiB) and times (s) of every variant's network.

    Operations are those of the lowered program; memory is what the gradient keeps, plus four copies of the parameters;
    time of training is at the rate that the first variant's compiled step is measured to reach, and sampling at the
    same rate a third of a training step for as many images. Compilation takes as long as the first variant's step, and
    half of that for the sampler.
    """
    config, rows, rate, compilation = setup.config, {}, None, 0.0
    # As `training.fit` does it, so that training finds the first variant's step compiled.
    optimizer = optax.adam(training.warmup_cosine(config.learning_rate, config.train_steps))
    levels = setup.sigmas[:-1]
    for name, variant in setup.variants.items():
        objective = training.Objective(
            variant.module, variant.prediction, setup.sigma_data, scale_input=variant.scale_input
        )
        state = jax.eval_shape(
            lambda key, objective=objective: training.init_state(objective, optimizer, key, setup.x), jax.random.key(0)
        )
        step = partial(training.train_step, objective, optimizer, 0.999, levels, config.batch_size)
        lowered = training.dispatcher(step).lower(state, setup.x, jax.random.key(0), 1)
        batch = jax.ShapeDtypeStruct((len(levels), config.batch_size, *setup.x.shape[1:]), setup.x.dtype)
        kept = jax.eval_shape(
            lambda p, x, n, objective=objective: jax.vjp(lambda p: objective(p, x, n, levels), p)[1],
            state.params, batch, batch,
        )  # fmt: skip
        size = lambda tree: sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))  # noqa: E731
        operations = float(lowered.cost_analysis()["flops"])
        if rate is None:
            began = time.perf_counter()
            compiled = lowered.compile()
            compilation = 1.5 * (time.perf_counter() - began)
            state = jax.tree.map(jnp.array, training.init_state(objective, optimizer, jax.random.key(0), setup.x))
            times = []
            for _ in range(4):
                began = time.perf_counter()
                state = jax.block_until_ready(compiled(state, setup.x, jax.random.key(0), 1))[0]
                times.append(time.perf_counter() - began)
            rate = operations / min(times)
        # A step is a forward and a backward pass, which costs two, of `batch_size` images at every level.
        per_sample = operations / (3 * config.batch_size)
        rows[name] = {
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
            "gflop_per_step": operations / 1e9,
            "memory_mib": (size(kept) + 4 * size(state.params)) / 2**20,
            "seconds": config.train_steps * operations / rate,
            "sampling_seconds": config.num_samples * per_sample / rate,
            "compilation_seconds": compilation,
        }
    return rows


def estimate_table(setup: Setup, estimates: dict[str, Numbers]) -> str:
    """What a user reads before the run begins."""
    rows = [
        [name, f"{e['parameters']}", f"{e['gflop_per_step']:.2f}", f"{e['memory_mib']:.0f}", f"{e['seconds']:.0f}",
         f"{e['sampling_seconds']:.0f}"]
        for name, e in estimates.items()
    ]  # fmt: skip
    cells = [cell for members in setup.cells.values() for cell in members]
    training_time = sum(estimates[cell.name]["seconds"] for cell in cells)
    sampling = sum(estimates[cell.name]["sampling_seconds"] for cell in cells)
    compilation = sum(estimates[name]["compilation_seconds"] for name in {cell.name for cell in cells})
    total = (training_time + sampling + compilation) / 60
    return (
        f"{table(['variant', 'parameters', 'GFLOP a step', 'MiB', 's of training', 's of sampling'], rows)}\n"
        f"Estimate: {len(cells)} networks, {total:.1f} minutes ({training_time / 60:.1f} of training, "
        f"{compilation / 60:.1f} of compilation, {sampling / 60:.1f} of sampling), and the closed forms and measures"
    )
