"""Settings of `experiments.bottleneck`, its finished results, and what every part measures."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import runs
from jaxcreativity import networks, sample, schedules, training
from jaxcreativity.metrics.memorisation.birthday import birthday_test
from jaxcreativity.metrics.memorisation.hull import hull_distance
from jaxcreativity.metrics.memorisation.ratio import novelty

PARTS = ("codes", "capacity", "encoder", "rank")


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of one run."""

    dataset: str = "digits"
    image_size: int | None = None
    num_images: int | None = None
    parts: tuple[str, ...] = PARTS
    code_sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    """r of part `codes`; those not below the number of pixels are no bottleneck and left out."""
    counts: tuple[int, ...] = (16, 64, 256, 1024)
    """N of part `capacity`, as far as there are images."""
    widths: tuple[int, ...] = (16, 64, 256, 1024)
    """K of part `capacity`."""
    activations: tuple[str, ...] = ("softmax", "silu")
    """Units of part `capacity`."""
    encoder_ranks: tuple[int, ...] = (1, 2, 4)
    encoder_images: int = 16
    decoder_widths: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    rank_codes: tuple[int, ...] = (2, 4, 8)
    sampler_steps: int = 15
    sigma_min: float = 0.1
    sigma_max: float = 20.0
    train_steps: int = 3000
    capacity_steps: int = 6000
    batch_size: int = 32
    num_samples: int = 512
    small: bool = False
    """Few sizes and short training, for `make demo`; overrides the sizes above."""
    seed: int = 0
    name: str | None = None
    """Name of the run's folder; bottleneck-<dataset> by default."""
    output: str = "runs"
    progress: bool = True


SMALL = {
    "code_sizes": (4,), "counts": (16,), "widths": (8, 32), "activations": ("softmax",), "encoder_ranks": (2,),
    "decoder_widths": (4, 32), "rank_codes": (4,), "train_steps": 500, "capacity_steps": 1000, "num_samples": 256,
    "num_images": 500, "sampler_steps": 10,
}  # fmt: skip

draw = jax.jit(jax.vmap(sample, (None, 0, None)))


def log_grid(config: Config, sigma_min: float) -> jax.Array:
    """The sampler's noise levels."""
    return schedules.grid(schedules.log_linear(sigma_min, config.sigma_max), config.sampler_steps)


@dataclasses.dataclass(frozen=True)
class Setup:
    """What the parts share."""

    config: Config
    folder: Path
    x: jax.Array
    test: jax.Array
    z: jax.Array

    @property
    def facts(self) -> str:
        """What a figure is of."""
        return runs.facts(self.config.dataset, self.x)

    def cell(self, name: str, compute: Callable[[], tuple[dict[str, Any], dict[str, np.ndarray]]]):
        """Numbers and arrays of one result, from its file if it has been computed."""
        path = self.folder / "cells" / f"{name}.json"
        return runs.once(path, path.with_suffix(".npz"), compute)

    def train(self, module, x, grid, name, **options) -> networks.NetworkDenoiser:
        """A network trained to predict x."""
        key = jax.random.fold_in(jax.random.key(self.config.seed), sum(name.encode()))
        options = {"num_steps": self.config.train_steps, "batch_size": self.config.batch_size} | options
        return training.fit(module, x, grid, key=key, progress=self.config.progress, label=name, **options)


def clipped_adam(learning_rate: float, num_steps: int) -> optax.GradientTransformation:
    """Adam with the schedule of `training.fit` and gradients of norm 1 at most, for softmax units.

    Without the limit one of 18 capacity runs (K = 512, N = 64) ended on one output, and a decoder of 32 units behind
    one code number (MNIST, 14x14) overflowed.
    """
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(training.warmup_cosine(learning_rate, num_steps)))


def describe(setup: Setup, samples: jax.Array, x: jax.Array, n: int, width: int, kind: str, loss: float):
    """Numbers of one network of `width` units that was trained on the `n` images `x`."""
    birthday = birthday_test(samples, x).summary()
    support = {name: birthday[name] for name in ("support_size", "support_low", "support_high")}
    return {
        "kind": kind,
        "count": n,
        "width": width,
        "loss_ratio": loss,
        **novelty_numbers(samples, x, setup.test),
        **support,
    }


def support(row: dict[str, Any]) -> str:
    """The birthday estimate with its interval, for a table."""
    show = lambda value: "∞" if value is None else f"{value:.0f}"  # noqa: E731
    return f"{show(row['support_size'])} ({show(row['support_low'])}–{show(row['support_high'])})"


def mean_loss(denoiser, x, grid) -> float:
    """Denoising loss per entry, averaged over the levels; the same noise for every denoiser."""
    x = x[jnp.arange(1024) % len(x)]  # of one shape, whatever the set: compiled once per network
    return float(training.denoising_loss(denoiser, x, grid, jax.random.key(7)).mean())


def novelty_numbers(samples, x, test=None) -> dict[str, float]:
    """Copies, and blends of five training images, with the held-out set's numbers."""
    finite = samples[jnp.isfinite(samples).reshape(len(samples), -1).all(axis=1)]
    found, hull = novelty(finite, x, test).summary(), hull_distance(finite, x, test).summary()
    numbers = {
        "memorised": found["memorised_fraction"],
        **{name: found[name] for name in ("memorised_low", "memorised_high")},
        "hull_ratio": hull["hull_ratio_median"],
        "num_finite": len(finite),
    }
    if test is not None:
        numbers["held_out_memorised"] = found["held_out_memorised_fraction"]
        numbers["held_out_hull_ratio"] = hull["held_out_hull_ratio_median"]
    return numbers
