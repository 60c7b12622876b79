"""Settings resolved, checked, and the data that they name."""

import dataclasses

import jax
import jax.numpy as jnp

from experiments import runner
from experiments.compare.entries import ENTRIES
from experiments.compare.settings import SCHEDULES, Config
from experiments.compare.setup import Setup
from jaxcreativity import data, schedules

MAX_CPU_SIDE = 16


def prepare(config: Config) -> tuple[Config, Setup]:
    """Resolve the settings and load the data.

    Raises:
        ValueError: for bad settings or data.
    """
    runner.check_counts(
        config, "sampler_steps", "rank", "kernel_size", "train_steps", "batch_size", "image_size", "num_images"
    )
    if not 2 <= config.num_pairs <= config.num_samples:
        raise ValueError(f"need 2 <= --num-pairs <= --num-samples, got {config.num_pairs} and {config.num_samples}")
    config = dataclasses.replace(config, entries=config.entries or tuple(ENTRIES))
    runner.check_choices(config, "entries", ENTRIES)
    runner.check_choices(config, "schedule", SCHEDULES)
    if config.kernel_size % 2 == 0:
        raise ValueError(f"--kernel-size must be odd, got {config.kernel_size}")
    dataset = _load(config)
    side, entries = min(dataset.train.shape[1:3]), dataset.train[0].size
    if "local" in config.entries and config.kernel_size > side:
        raise ValueError(f"--kernel-size must be at most the side of the images, {side}, got {config.kernel_size}")
    if "low rank" in config.entries and config.rank > entries:
        raise ValueError(f"--rank must be at most {entries}, the numbers of an image, got {config.rank}")
    config = dataclasses.replace(
        config,
        image_size=dataset.train.shape[1] if config.image_size is None else config.image_size,
        num_images=len(dataset.train),
    )
    x = jnp.asarray(dataset.train)
    sigmas = schedules.grid(SCHEDULES[config.schedule](), config.sampler_steps)
    return config, Setup(config, x, dataset.test, sigmas, float(jnp.sqrt(jnp.mean(jnp.square(x)))))


def _load(config: Config) -> data.Dataset:
    if config.image_size is not None or jax.default_backend() != "cpu":
        return runner.load(config)
    dataset = runner.load(config)
    native = side = max(dataset.train.shape[1:3])
    if side <= MAX_CPU_SIDE:
        return dataset
    while side > MAX_CPU_SIDE:
        side //= 2
    if config.progress:
        print(f"on a CPU images are resized to {side} x {side}; --image-size {native} keeps their size", flush=True)
    return runner.load(config, image_size=side)
