"""What is trained and measured of one network."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from experiments.runner import Arrays, Measured, Numbers, Run, why
from experiments.unet_variants.plan import Cell, sweep_counts
from experiments.unet_variants.prepare import Setup
from experiments.unet_variants.settings import SEEDS
from jaxcreativity import Denoiser, _pytree, generate, training
from jaxcreativity.metrics import agreement, novelty, patch_novelty, realism
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


def measure_network(run: Run, setup: Setup, cell: Cell, features: Any, forms: Arrays) -> Measured:
    """Train and measure one network, or read what has been measured of it.

    Args:
        run: open run.
        setup: what all networks share.
        cell: the network.
        features: the space that realism is measured in.
        forms: the closed forms' samples from the first noises.
    """

    def compute() -> Measured:
        began = time.perf_counter()
        numbers, arrays = _compute(run, setup, cell, features, forms)
        return numbers | {"seconds": time.perf_counter() - began}, arrays

    return run.stage(cell.folder, compute)


def _compute(run: Run, setup: Setup, cell: Cell, features: Any, forms: Arrays) -> Measured:
    config, variant = setup.config, cell.variant
    x = setup.x[cell.first : cell.first + cell.count]
    order = jax.random.permutation(jax.random.key(config.seed + 5), x.shape[1] * x.shape[2])
    shown = x
    if cell.shuffled:
        shown = x.reshape(len(x), len(order), -1)[:, order].reshape(x.shape)
    largest = max([len(x), *sweep_counts(config, len(setup.x))])
    if largest % len(x) == 0:  # repeated to one length, sets of all sizes share one compiled program
        shown = jnp.tile(shown, (largest // len(x), 1, 1, 1))
    try:
        with run.doing(f"{cell.label}: compiling and training"):
            denoiser = training.fit(
                variant.module, shown, setup.sigmas, key=jax.random.key(config.seed * SEEDS + cell.seed),
                num_steps=config.train_steps, batch_size=config.batch_size, learning_rate=config.learning_rate,
                prediction=variant.prediction, sigma_data=setup.sigma_data, scale_input=variant.scale_input,
                checkpoint_folder=run.folder / "networks" / cell.folder, progress=config.progress, label=cell.label,
            )  # fmt: skip
    except FloatingPointError as error:
        return {"failed": why(error, config), "num_finite": 0}, {}
    denoiser = Permuted(denoiser, order) if cell.shuffled else denoiser
    with run.doing(f"{cell.label}: compiling and sampling {config.num_samples} images"):
        samples = np.asarray(generate(denoiser, setup.z, setup.sigmas))
    with run.doing(f"{cell.label}: measuring novelty, realism and agreement"):
        return _numbers(setup, denoiser, samples, x, features, forms), {"samples": samples}


def _numbers(
    setup: Setup, denoiser: Denoiser, samples: np.ndarray, x: jax.Array, features: Any, forms: Arrays
) -> Numbers:
    """All numbers of one network that was trained on `x`."""
    config = setup.config
    finite = np.isfinite(samples).reshape(len(samples), -1).all(axis=1)
    key = jax.random.key(config.seed + 6)
    numbers = {"num_finite": int(finite.sum()), "count": len(x)}
    for name, images in (("train", x), ("test", setup.test)):
        loss = training.denoising_loss(denoiser, images[jnp.arange(256) % len(images)], setup.sigmas, key)
        numbers[f"loss_{name}"] = float(loss.mean()) if np.isfinite(loss).all() else None
    # Entries beyond all data tell nothing more, and their squares may overflow.
    samples = jnp.clip(jnp.asarray(samples), -10, 10)
    pairs = np.flatnonzero(finite[: config.num_pairs])
    if len(x) < len(setup.x):  # the empirical denoiser of the images that this network has seen
        own = generate(EmpiricalDenoiser(x), setup.z[: config.num_pairs], setup.sigmas, batch_size=8)
        forms = forms | {"empirical": np.asarray(own)}
    numbers["agreement"] = {
        name: agreement(jnp.asarray(form)[pairs], samples[pairs]).summary() if len(pairs) else None
        for name, form in forms.items()
    }
    samples = samples[finite]
    numbers["novelty"] = novelty(samples, x, setup.test).summary() if len(samples) else None
    numbers["realism"] = None
    numbers["patches"] = None
    if len(samples) >= config.num_samples // 2:
        numbers["realism"] = realism(samples, setup.x, setup.test, features=features, key=key).summary()
        sizes = tuple(k for k in (3, 5, 7) if k <= min(x.shape[1:3]))
        shown = slice(0, 128)
        numbers["patches"] = patch_novelty(samples[shown], x[:2048], setup.test[shown], patch_sizes=sizes).summary()
    return numbers
