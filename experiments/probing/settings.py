"""Settings of `experiments.probing`, and the denoisers that are probed."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.runner import Numbers, Run, Settings, check_choices, check_counts, check_noise_levels, load, table, why
from jaxcreativity import networks, plotting, schedules, training
from jaxcreativity.denoiser import Denoiser
from jaxcreativity.theory import linear
from jaxcreativity.theory.empirical import EmpiricalDenoiser
from jaxcreativity.theory.patches import LocalDenoiser

NETWORKS: dict[str, tuple[Callable[[tuple[float, ...]], nn.Module], dict[str, Any]]] = {
    "linear": (networks.DenseLinear, {"learning_rate": 3e-2}),
    "MLP": (lambda levels: networks.MLP(), {"learning_rate": 1e-3, "prediction": "v"}),
}
"""From noise levels to a network, and what it is trained with."""

PATCH_SIZE = 5
"""Of the patch machine."""

PATCH_MACHINE = f"ELS, {PATCH_SIZE} × {PATCH_SIZE}"

DENOISERS = {
    "empirical": "the empirical denoiser (no constraint: the exact posterior mean over the training images)",
    "linear, full": "the best linear one (of any matrix)",
    "linear, stationary": "the best linear one that is the same at every pixel",
    "linear, 3 × 3": "the best linear one of a 3 × 3 window",
    PATCH_MACHINE: f"a patch machine (ELS: the posterior mean of a pixel from the {PATCH_SIZE} × {PATCH_SIZE} patch "
    "around it, over the patches of all training images at all places)",
    "MLP": "a trained network",
}
"""Everything that can be probed, in words."""

COLOURS = dict(zip(DENOISERS, plotting.COLOURS, strict=True))
"""Of their curves."""


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Settings of one run."""

    num_images: int | None = 500
    sampler_steps: int = 20
    sigma_min: float = 0.05
    sigma_max: float = 20.0
    sigmas: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    """Noise levels at which denoisers are probed."""
    num_points: int = 8
    """Noisy images that a probe is averaged over."""
    train_steps: int = 1500
    ascent_steps: int = 20
    """Steps of gradient ascent on the noise."""
    removed: int = 10
    """Training images that are left out to test influences."""
    retrained: tuple[str, ...] = tuple(NETWORKS)
    """Networks that are trained without them too."""
    denoisers: tuple[str, ...] = tuple(DENOISERS)
    """What is probed."""
    small: bool = False
    """Few images, noise levels and steps, for `make demo`; overrides the settings above."""


SMALL: dict[str, Any] = {
    "num_images": 100, "sampler_steps": 8, "sigmas": (0.3, 3.0), "num_points": 4, "train_steps": 200,
    "ascent_steps": 8, "removed": 5, "retrained": ("linear",),
    "denoisers": ("empirical", "linear, full", "linear, stationary", "MLP"),  # programs of patches compile for long
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Setup:
    """What the parts share.

    Attributes:
        x: training images.
        grid: the sampler's noise levels.
        key: random key of points and noises.
        trained: networks of this process by name and variant, filled as they are asked for; in place of one that
            diverged, why.
    """

    x: jax.Array
    grid: jax.Array
    key: jax.Array
    trained: dict[tuple[str, str], Denoiser | str] = dataclasses.field(default_factory=dict)

    def noisy(self, sigma: float, n: int) -> jax.Array:
        """The first n images with noise."""
        return self.x[:n] + sigma * jax.random.normal(self.key, (n, *self.x.shape[1:]), self.x.dtype)

    def network(self, run: Run, name: str, variant: str = "all", x: jax.Array | None = None, seed: int = 0) -> Denoiser:
        """One of NETWORKS, trained on `x` (all images if not given) or taken from the checkpoint of that variant.

        Raises:
            FloatingPointError: if training diverges.
        """
        if (name, variant) not in self.trained:
            config, (module, options) = run.settings, NETWORKS[name]
            with run.doing(f"training {name}, {variant}"):
                try:
                    self.trained[name, variant] = training.fit(
                        module(tuple(np.asarray(self.grid[:-1]).tolist())), self.x if x is None else x, self.grid,
                        key=jax.random.key(config.seed + seed), num_steps=config.train_steps,
                        checkpoint_folder=run.folder / "networks" / f"{name}, {variant}", progress=config.progress,
                        label=f"{name}, {variant}", **options,
                    )  # fmt: skip
                except FloatingPointError as error:
                    self.trained[name, variant] = f"training failed: {why(error, config)}"
        if isinstance(found := self.trained[name, variant], str):
            raise FloatingPointError(found)
        return found

    def denoisers(self, run: Run) -> dict[str, Denoiser]:
        """Everything that is probed, without a network whose training diverged.

        Raises:
            FloatingPointError: if nothing is left.
        """
        x = self.x
        make = {
            "empirical": lambda: EmpiricalDenoiser(x),
            "linear, full": lambda: linear.fit(x, "full"),
            "linear, stationary": lambda: linear.fit(x, "stationary"),
            "linear, 3 × 3": lambda: linear.fit(x, "local", kernel_size=3),
            PATCH_MACHINE: lambda: patch_machine(x),
            "MLP": lambda: self.network(run, "MLP"),
        }
        made = {}
        for name in run.settings.denoisers:
            try:
                made[name] = make[name]()
            except FloatingPointError as error:
                if run.settings.denoisers == (name,):
                    raise
                run.say(f"left out: {name} ({error})")
        return made

    @property
    def left_out(self) -> Numbers:
        """Networks that were to be probed, and why they are not."""
        return {
            "left_out": {
                name: reason
                for (name, variant), reason in self.trained.items()
                if isinstance(reason, str) and variant == "all"
            }
        }


def patch_machine(x: jax.Array, weights: jax.Array | None = None) -> LocalDenoiser:
    """The best denoiser that sees a patch of the image, the same everywhere but at the border (ELS)."""
    return LocalDenoiser(x, PATCH_SIZE, equivariant=True, boundary="broken", weights=weights)


def prepare(config: Config) -> tuple[Config, Setup]:
    """Resolved settings and loaded data.

    Raises:
        ValueError: for bad settings or data.
    """
    if config.small:
        config = dataclasses.replace(config, **SMALL)
    check_counts(
        config, "num_images", "image_size", "sampler_steps", "num_points", "train_steps", "ascent_steps", "removed"
    )
    check_noise_levels(config)
    check_choices(config, "retrained", NETWORKS)
    check_choices(config, "denoisers", DENOISERS)
    if not config.sigmas or not all(0 < sigma < np.inf for sigma in config.sigmas):
        raise ValueError(f"--sigmas must be one or more numbers above 0, got {config.sigmas}")
    x = jnp.asarray(load(config).train)
    if "linear, full" not in config.denoisers:
        config = dataclasses.replace(config, retrained=())  # they stand beside its prediction
    if not config.removed < len(x):
        raise ValueError(f"--removed must lie between 1 and {len(x) - 1}, got {config.removed}")
    if config.num_points > len(x):
        raise ValueError(f"--num-points must lie between 1 and {len(x)}, the number of images, got {config.num_points}")
    if min(x.shape[1:3]) < PATCH_SIZE:
        raise ValueError(f"--image-size must be at least {PATCH_SIZE}, the patch machine's patches, got {x.shape[1:3]}")
    config = dataclasses.replace(config, num_images=len(x))
    grid = schedules.grid(schedules.log_linear(config.sigma_min, config.sigma_max), config.sampler_steps)
    return config, Setup(x, grid, jax.random.key(config.seed + 1))


def head(run: Run, metrics: Numbers) -> str:
    """Beginning of the summary: what was run, and what is probed."""
    config = run.settings
    left_out = "".join(f"\n\n{name} is left out: {reason}." for name, reason in metrics.get("left_out", {}).items())
    kinds = "\n".join(f"- {name}: {DENOISERS[name]}" for name in config.denoisers)
    return f"""# Probing denoisers on {config.dataset}

{config.num_images} images, {config.num_points} noisy images or seeds per number, {config.train_steps} training steps,
{config.sampler_steps} sampling steps from σ = {config.sigma_max:g} to {config.sigma_min:g}, seed {config.seed}.

A denoiser D estimates the image x from y = x + σ · noise. Probed are

{kinds}{left_out}
"""


def rows_as_table(rows: Iterable[dict[str, Any]], columns: dict[str, str]) -> str:
    """A table of rows; `columns` is key -> what its column is called."""
    cell = lambda v: v if isinstance(v, str) else "–" if v is None else f"{v:.3g}"  # noqa: E731
    return table(list(columns.values()), [[cell(row[key]) for key in columns] for row in rows])
