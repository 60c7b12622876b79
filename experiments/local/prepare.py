"""Settings resolved, checked, and the data that they name."""

import dataclasses
from functools import cached_property

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments import runner
from experiments.local.settings import FALLBACK, PRESETS, Config, may_fall_back, resolve
from jaxcreativity import networks, schedules
from jaxcreativity.theory.patches import Boundary


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What is measured with."""

    config: Config
    x: jax.Array
    sigmas: jax.Array
    module: nn.Module

    @property
    def training_key(self) -> jax.Array:
        """Of parameters, batches and noise."""
        return self._keys[0]

    @cached_property
    def z(self) -> jax.Array:
        """The noises whose images are compared."""
        return self._noises(self._keys[1], self.config.num_pairs)

    @cached_property
    def z_calibration(self) -> jax.Array:
        """The noises that patch sizes are calibrated on."""
        return self._noises(self._keys[2], self.config.num_calibration)

    @property
    def boundary(self) -> Boundary:
        """What the patch machines know of the border: as much as the network."""
        return "broken" if self.config.padding == "zero" else "circular"

    @property
    def _keys(self) -> jax.Array:
        return jax.random.split(jax.random.key(self.config.seed), 3)

    def _noises(self, key: jax.Array, count: int) -> jax.Array:
        return jax.random.normal(key, (count, *self.x.shape[1:]), self.x.dtype)


def prepare(config: Config) -> tuple[Config, Prepared]:
    """Resolve the settings and load the data.

    Raises:
        ValueError: for bad settings or data.
    """
    runner.check_choices(config, "preset", PRESETS)
    image_size, config = config.image_size, resolve(config)
    runner.check_choices(config, "network", ("resnet", "unet"))
    runner.check_choices(config, "padding", ("zero", "circular"))
    runner.check_counts(
        config, "image_size", "depth", "width", "train_steps", "batch_size", "num_pairs", "num_calibration",
        "patch_sizes", "sampler_steps",
    )  # fmt: skip
    runner.check_counts(config, "num_images", least=0)
    if not config.learning_rate > 0:
        raise ValueError(f"--learning-rate must be positive, got {config.learning_rate}")
    if config.soft_window and config.padding != "circular":
        raise ValueError("the soft window wraps at the border: --soft-window goes with --padding circular")
    images, config = _load(config, image_size)
    largest = 2 * max(images.shape[1:3]) - 1
    if wrong := [k for k in config.patch_sizes if k % 2 == 0 or k > largest]:
        raise ValueError(f"--patch-sizes must be odd and at most {largest} for these images, got {wrong[0]}")
    module = _module(config)
    networks.check_module(module, images.shape[1:])
    sigmas = schedules.grid(schedules.cosine(), config.sampler_steps)
    return config, Prepared(config, jnp.asarray(images), sigmas, module)


def _load(config: Config, image_size: int | None) -> tuple[jax.Array, Config]:
    """The images, and the settings that say which they are.

    Args:
        config: resolved settings.
        image_size: as it was asked for, for `FALLBACK`.
    """
    num_images = config.num_images or None
    try:
        dataset = runner.load(config, num_images=num_images)
    except ValueError as error:
        if not may_fall_back(config):
            raise
        if config.progress:
            print(f"no MNIST here ({error}); using {FALLBACK}", flush=True)
        dataset = runner.load(config, FALLBACK, num_images=num_images, image_size=image_size)
        config = dataclasses.replace(config, dataset=FALLBACK, image_size=dataset.train.shape[1])
    return dataset.train, dataclasses.replace(config, num_images=len(dataset.train))


def _module(config: Config) -> nn.Module:
    if config.network == "unet":
        return networks.UNet(
            config.unet_widths, padding=config.padding, attention="lowest" if config.attention else "none"
        )
    return networks.MinimalResNet(config.depth, config.width, padding=config.padding)
