"""Settings resolved, checked, and the data that they name."""

import dataclasses
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from experiments import runner
from experiments.unet_variants.plan import Cell, plan, sweep_names
from experiments.unet_variants.settings import SEEDS, Config, resolve
from experiments.unet_variants.variants import Variant, choose_variants
from jaxcreativity import schedules
from jaxcreativity.metrics.fidelity.report import check_counts as check_realism


@dataclasses.dataclass(frozen=True)
class Setup:
    """What all networks of a run share: images, noise, grid. Images are in an order of their own.

    Labels are there for a classifier, if realism is measured in its features; else in `num_features` principal
    components.
    """

    config: Config
    variants: dict[str, Variant]
    cells: dict[str, list[Cell]]
    x: jax.Array
    test: jax.Array
    labels: tuple[np.ndarray, np.ndarray] | None
    num_features: int
    sigmas: jax.Array

    @cached_property
    def z(self) -> jax.Array:
        """The noises that all samplers start from."""
        key = jax.random.key(self.config.seed + 1)
        return jax.random.normal(key, (self.config.num_samples, *self.x.shape[1:]), self.x.dtype)

    @cached_property
    def sigma_data(self) -> float:
        """Root mean square of the entries, one number for all networks, whatever part they are trained on."""
        return float(jnp.sqrt(jnp.mean(jnp.square(self.x))))

    @property
    def swept(self) -> list[str]:
        """Names of the two variants of part `sweep`."""
        return sweep_names(self.config, self.variants)


def prepare(config: Config) -> tuple[Config, Setup]:
    """Resolve the settings, load the data, and plan the networks.

    Raises:
        ValueError: for bad settings, data or networks.
    """
    config = resolve(config)
    say = (lambda text: print(text, flush=True)) if config.progress else (lambda text: None)
    dataset = runner.load(config)
    variants = choose_variants(config, dataset.shape, say)
    cells = plan(config, variants, len(dataset.train))
    has_labels = bool(config.classifier_steps) and dataset.train_labels is not None
    num_features = 64 if has_labels else min(32, dataset.train[0].size)
    _check(config, dataset.train, dataset.test, num_features)
    order = np.random.default_rng(config.seed).permutation(len(dataset.train))
    labels = (dataset.train_labels[order], dataset.test_labels) if has_labels else None
    sigmas = schedules.grid(schedules.cosine(), config.sampler_steps)
    x, test = jnp.asarray(dataset.train[order]), jnp.asarray(dataset.test)
    return config, Setup(config, variants, cells, x, test, labels, num_features, sigmas)


def _check(config: Config, x: np.ndarray, test: np.ndarray, num_features: int) -> None:
    """Raise `ValueError` for settings that would fail only after training."""
    runner.check_counts(
        config, "training_seeds", "train_steps", "batch_size", "sampler_steps", "num_samples", "num_pairs", "counts",
        "num_prototypes", "els_sizes",
    )  # fmt: skip
    if config.training_seeds > SEEDS:
        raise ValueError(f"--training-seeds must be at most {SEEDS}, got {config.training_seeds}")
    if config.seed * SEEDS > 2**32 - SEEDS:
        raise ValueError(f"--seed must be at most {2**32 // SEEDS - 1} here, got {config.seed}")
    if even := [k for k in config.els_sizes if k % 2 == 0]:
        raise ValueError(f"--els-sizes must be odd, got {even[0]}")
    if config.num_pairs > config.num_samples:
        raise ValueError(f"--num-pairs must be at most --num-samples = {config.num_samples}, got {config.num_pairs}")
    if not config.learning_rate > 0:
        raise ValueError(f"--learning-rate must be positive, got {config.learning_rate}")
    # Half of the samples may diverge and the others still be measured.
    check_realism(config.num_samples // 2, len(x), len(test), num_features)
    if min(x.shape[1:3]) < 3:
        raise ValueError(f"images must have at least 3 pixels a side, got {x.shape[1:]}")
