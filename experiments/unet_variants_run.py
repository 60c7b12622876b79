"""What is trained and measured in the folder of one network of `experiments.unet_variants`."""

import dataclasses
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int

from experiments import runs
from experiments.unet_variants_setup import Cell, Config, Variant, sweep_counts
from jaxcreativity import _pytree, sample, training
from jaxcreativity.metrics.comparison import agreement
from jaxcreativity.metrics.fidelity.report import realism
from jaxcreativity.metrics.memorisation.patches import patch_novelty
from jaxcreativity.metrics.memorisation.ratio import novelty
from jaxcreativity.theory.empirical import EmpiricalDenoiser


@_pytree.dataclass
class Permuted:
    """A denoiser of images with permuted pixels, seen from the unpermuted side: `D'(y) = P^-1 D(P y)`."""

    denoiser: Any
    order: Int[Array, " pixels"]

    def __call__(self, y, sigma):
        """Permute the pixels, denoise, and permute them back."""
        flat = y.reshape(-1, y.shape[-1])
        out = self.denoiser(flat[self.order].reshape(y.shape), sigma).reshape(flat.shape)
        return out[jnp.argsort(self.order)].reshape(y.shape)


@partial(jax.jit, static_argnames="batch_size")
def draw(denoiser: Any, z: jax.Array, sigmas: jax.Array, batch_size: int = 128) -> jax.Array:
    """Samples of a denoiser, in batches."""
    return jax.lax.map(lambda z: sample(denoiser, z, sigmas), z, batch_size=batch_size)


@dataclasses.dataclass(frozen=True)
class Setup:
    """What all networks of a run share: the same noise, grid, and measures.

    `forms` are the closed forms' samples from `z[:num_pairs]`, `features` the space that realism is measured in.
    """

    config: Config
    folder: Path
    x: jax.Array
    test: jax.Array
    z: jax.Array
    sigmas: jax.Array
    features: Any
    forms: dict[str, np.ndarray]

    @property
    def sigma_data(self) -> float:
        """Root mean square of the entries, one number for all networks, whatever part they are trained on."""
        return float(jnp.sqrt(jnp.mean(jnp.square(self.x))))

    def run(self, cell: Cell) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Train and measure one network in its folder, or read what has been measured there."""
        folder = self.folder / cell.folder

        def compute():
            started = time.perf_counter()
            numbers, samples = self._compute(cell, folder)
            return numbers | {"seconds": time.perf_counter() - started}, samples

        return runs.once(folder / "metrics.json", folder / "samples.npz", compute)

    def _compute(self, cell, folder):
        config, variant = self.config, cell.variant
        x = self.x[cell.first : cell.first + cell.count]
        order = jax.random.permutation(jax.random.key(config.seed + 5), self.x.shape[1] * self.x.shape[2])
        shown = x
        if cell.shuffled:
            shown = x.reshape(len(x), len(order), -1)[:, order].reshape(x.shape)
        largest = max([len(x), *sweep_counts(config, len(self.x))])
        if largest % len(x) == 0:  # repeated to one length, sets of all sizes share one compiled program
            shown = jnp.tile(shown, (largest // len(x), 1, 1, 1))
        try:
            denoiser = training.fit(
                variant.module, shown, self.sigmas, key=jax.random.key(config.seed * 1000 + cell.seed),
                num_steps=config.train_steps, batch_size=config.batch_size, learning_rate=config.learning_rate,
                prediction=variant.prediction, sigma_data=self.sigma_data, scale_input=variant.scale_input,
                checkpoint_folder=folder / "network", progress=config.progress, label=cell.label,
            )  # fmt: skip
        except FloatingPointError as error:
            return {"failed": str(error), "num_finite": 0}, {}
        denoiser = Permuted(denoiser, order) if cell.shuffled else denoiser
        samples = draw(denoiser, self.z, self.sigmas)
        return self.measure(denoiser, samples, x), {"samples": np.asarray(samples)}

    def measure(self, denoiser: Any, samples: jax.Array, x: jax.Array) -> dict[str, Any]:
        """All numbers of one network that was trained on `x`."""
        finite = np.isfinite(np.asarray(samples)).reshape(len(samples), -1).all(axis=1)
        key = jax.random.key(self.config.seed + 6)
        numbers = {"num_finite": int(finite.sum()), "count": len(x)}
        for name, images in (("train", x), ("test", self.test)):
            loss = training.denoising_loss(denoiser, images[jnp.arange(256) % len(images)], self.sigmas, key)
            numbers[f"loss_{name}"] = float(loss.mean()) if np.isfinite(loss).all() else None
        # Entries beyond all data tell nothing more, and their squares may overflow.
        samples = jnp.clip(samples, -10, 10)
        pairs = np.flatnonzero(finite[: self.config.num_pairs])
        empirical = {} if len(x) == len(self.x) else {"empirical": np.asarray(self._empirical(x))}
        numbers["agreement"] = {
            name: agreement(jnp.asarray(form)[pairs], samples[pairs]).summary() if len(pairs) else None
            for name, form in (self.forms | empirical).items()
        }
        samples = samples[finite]
        enough = len(samples) >= self.config.num_samples // 2
        numbers["novelty"] = novelty(samples, x, self.test).summary() if len(samples) else None
        numbers["realism"] = None
        numbers["patches"] = None
        if enough:
            found = realism(samples, self.x, self.test, features=self.features, key=key)
            numbers["realism"] = found.summary()
            sizes = tuple(k for k in (3, 5, 7) if k <= min(x.shape[1:3]))
            shown = slice(0, 128)
            numbers["patches"] = patch_novelty(samples[shown], x[:2048], self.test[shown], patch_sizes=sizes).summary()
        return numbers

    def _empirical(self, x):
        return draw(EmpiricalDenoiser(x), self.z[: self.config.num_pairs], self.sigmas, batch_size=8)


def estimate(setup: Setup, variants: dict[str, Variant]) -> dict[str, dict[str, float]]:
    """Parameters, operations per step, memory of a step (MiB) and time (s) of one training run of every variant.

    Operations are those of the lowered program; memory is what the gradient keeps, plus four copies of the parameters;
    time is at the rate that the first variant's compiled step is measured to reach.
    """
    config, rows, rate = setup.config, {}, None
    # As `training.fit` does it, so that training finds the first variant's step compiled.
    optimizer = optax.adam(training.warmup_cosine(config.learning_rate, config.train_steps))
    levels = setup.sigmas[:-1]
    for name, variant in variants.items():
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
            compiled = lowered.compile()
            state = jax.tree.map(jnp.array, training.init_state(objective, optimizer, jax.random.key(0), setup.x))
            times = []
            for _ in range(4):
                began = time.perf_counter()
                state = jax.block_until_ready(compiled(state, setup.x, jax.random.key(0), 1))[0]
                times.append(time.perf_counter() - began)
            rate = operations / min(times)
        rows[name] = {
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
            "gflop_per_step": operations / 1e9,
            "memory_mib": (size(kept) + 4 * size(state.params)) / 2**20,
            "seconds": config.train_steps * operations / rate,
        }
    return rows
