"""Networks behind a bottleneck and what every part measures of their samples."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.bottleneck.settings import Setup
from experiments.runner import Run
from jaxcreativity import networks, training
from jaxcreativity.metrics import birthday_test, hull_distance, novelty


def train(run: Run, x, grid, module, name: str, **options) -> networks.NetworkDenoiser:
    """A network trained to predict x."""
    config = run.settings
    key = jax.random.fold_in(jax.random.key(config.seed), sum(name.encode()))
    options = {"num_steps": config.train_steps, "batch_size": config.batch_size} | options
    with run.doing(f"training {name}"):
        return training.fit(module, x, grid, key=key, progress=config.progress, label=name, **options)


def clipped_adam(learning_rate: float, num_steps: int) -> optax.GradientTransformation:
    """Adam with the schedule of `training.fit` and gradients of norm 1 at most, for softmax units.

    Without the limit one of 18 capacity runs (K = 512, N = 64) ended on one output, and a decoder of 32 units behind
    one code number (MNIST, 14x14) overflowed.
    """
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(training.warmup_cosine(learning_rate, num_steps)))


def mean_loss(denoiser, x, grid) -> float:
    """Denoising loss per entry, averaged over the levels; the same noise for every denoiser."""
    x = x[jnp.arange(1024) % len(x)]  # of one shape, whatever the set: compiled once per network
    return float(training.denoising_loss(denoiser, x, grid, jax.random.key(7)).mean())


def describe(setup: Setup, samples: jax.Array, x: jax.Array, width: int, kind: str, loss: float) -> dict[str, Any]:
    """Numbers of one network of `width` units that was trained on the images `x`."""
    samples = _finite(samples)
    birthday = birthday_test(samples, x).summary()
    return {
        "kind": kind,
        "count": len(x),
        "width": width,
        "loss_ratio": loss,
        **novelty_numbers(samples, x, setup.test),
        **{name: birthday[name] for name in ("support_size", "support_low", "support_high")},
    }


def novelty_numbers(samples, x, test=None) -> dict[str, float]:
    """Copies, and blends of five training images, with the held-out set's numbers."""
    finite = _finite(samples)
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


def _finite(samples: jax.Array) -> jax.Array:
    """The samples that did not diverge; raises `FloatingPointError` if none is left."""
    finite = samples[jnp.isfinite(samples).reshape(len(samples), -1).all(axis=1)]
    if not len(finite):
        raise FloatingPointError("all samples diverged")
    return finite


def support(row: dict[str, Any]) -> str:
    """The birthday estimate with its interval, for a table."""
    show = lambda value: "∞" if value is None else f"{value:.0f}"  # noqa: E731
    return f"{show(row['support_size'])} ({show(row['support_low'])}–{show(row['support_high'])})"


def memorised(row: dict[str, Any]) -> str:
    """The memorised fraction with its interval, for a table."""
    return f"{row['memorised']:.3f} ({row['memorised_low']:.3f}–{row['memorised_high']:.3f})"
