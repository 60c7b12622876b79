"""Settings of `experiments.bottleneck`, and what its parts share."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.runner import Numbers, Run, Settings, check_choices, check_counts, check_noise_levels, load
from jaxcreativity import schedules

PARTS = ("codes", "capacity", "encoder", "rank")
ACTIVATIONS = ("softmax", "silu")


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Settings of one run."""

    parts: tuple[str, ...] = PARTS
    code_sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    """r of part `codes`; those not below the number of pixels are no bottleneck and left out."""
    counts: tuple[int, ...] = (16, 64, 256, 1024)
    """N of part `capacity`, as far as there are images."""
    widths: tuple[int, ...] = (16, 64, 256, 1024)
    """K of part `capacity`."""
    activations: tuple[str, ...] = ACTIVATIONS
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


SMALL: dict[str, Any] = {
    "code_sizes": (4,), "counts": (16,), "widths": (8, 32), "activations": ("softmax",), "encoder_ranks": (2,),
    "decoder_widths": (4, 32), "rank_codes": (4,), "train_steps": 500, "capacity_steps": 1000, "num_samples": 256,
    "num_images": 500, "sampler_steps": 10,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Setup:
    """What the parts share.

    Attributes:
        x: training images in random order.
        test: held-out images, as many as there are samples at most.
        z: noises of the samples.
    """

    x: jax.Array
    test: jax.Array
    z: jax.Array


def prepare(config: Config) -> tuple[Config, Setup]:
    """Resolved settings and loaded data.

    Raises:
        ValueError: for unknown parts, bad settings or data.
    """
    check_choices(config, "parts", PARTS)
    if config.small:
        config = dataclasses.replace(config, **SMALL)
    check_choices(config, "activations", ACTIVATIONS)
    check_counts(
        config, "code_sizes", "widths", "encoder_ranks", "decoder_widths", "rank_codes", "sampler_steps",
        "train_steps", "capacity_steps", "batch_size", "num_images", "image_size",
    )  # fmt: skip
    check_counts(config, "counts", least=5)  # the hull ratio is of the five nearest
    check_counts(config, "encoder_images", "num_samples", least=12)
    check_noise_levels(config)
    dataset = load(config)
    x = jnp.asarray(np.random.default_rng(config.seed).permutation(dataset.train))
    pixels, side = x[0].size, x.shape[1]
    needed = max(min(config.counts), config.encoder_images)
    if len(x) < needed:
        raise ValueError(f"--counts and --encoder-images need at least {needed} training images, there are {len(x)}")
    for field in ("code_sizes", "encoder_ranks", "rank_codes"):
        if not any(r < pixels for r in getattr(config, field)):
            raise ValueError(f"--{field.replace('_', '-')} must name a number below {pixels}, that of the pixels")
    if max(config.encoder_ranks) > pixels:
        raise ValueError(
            f"--encoder-ranks must be at most {pixels}, that of the pixels, got {max(config.encoder_ranks)}"
        )
    config = dataclasses.replace(config, num_images=len(x), image_size=side if side == x.shape[2] else None)
    z = jax.random.normal(jax.random.key(config.seed + 1), (config.num_samples, *x.shape[1:]), x.dtype)
    return config, Setup(x, jnp.asarray(dataset.test[: config.num_samples]), z)


def log_grid(config: Config, sigma_min: float) -> jax.Array:
    """The sampler's noise levels."""
    return schedules.grid(schedules.log_linear(sigma_min, config.sigma_max), config.sampler_steps)


def facts(config: Config) -> str:
    """What a figure is of."""
    side = config.image_size
    return config.dataset if side is None else f"{config.dataset} at {side}×{side}"


def head(run: Run, metrics: Numbers) -> str:
    """Beginning of the summary: what was run, and the words that all parts use."""
    config = run.settings
    return f"""# Bottlenecks on {config.dataset}

{config.num_images} training images of {facts(config)}; {config.sampler_steps} DDIM steps from {config.sigma_max:g};
{config.num_samples} samples from the same noise for closed form and network; seed {config.seed}.

A sample is memorised if its nearest training image is less than a third as far as the next different one
(near-duplicates count as one). Hull ratio: distance to the convex hull of the five nearest training images (all their
blends) over that to the nearest alone; 0 for a blend, 1 where blending does not help, and that of held-out images for
comparison. "Held out": the same measure of images that were not trained on, what new images of the same kind have: the
floor under which nothing is a copy.
"""
