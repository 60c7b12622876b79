"""Settings of `experiments.unet_variants`, its variants, and the plan of its networks."""

import dataclasses
import importlib
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcreativity import networks
from jaxcreativity.metrics.fidelity.report import check_counts

PARTS = ("variants", "sweep", "controls")


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of one run."""

    dataset: str = "digits"
    image_size: int | None = None
    num_images: int | None = None
    parts: tuple[str, ...] = PARTS
    variants: tuple[str, ...] = ()
    """Names, the first is the baseline; all that fit the image size by default."""
    network: str | None = None
    """`module:factory` of your own: a function without arguments that returns a Flax module, or a dictionary of them,
    which then take the place of the UNets."""
    widths: tuple[int, ...] = (16, 32)
    """Of the baseline."""
    training_seeds: int = 3
    train_steps: int = 2000
    batch_size: int = 6
    """Images per noise level and training step."""
    learning_rate: float = 3e-3
    sampler_steps: int = 15
    num_samples: int = 512
    num_pairs: int = 64
    """Seeds on which closed forms and networks are compared."""
    counts: tuple[int, ...] = tuple(2**k for k in range(4, 15))
    """N of part `sweep`, as far as there are images."""
    sweep_variant: str | None = None
    """Swept beside the baseline; the second variant by default."""
    num_prototypes: int = 64
    els_sizes: tuple[int, ...] = (3, 5, 9, 15)
    """Patch sizes of the patch machines; at each noise level the one nearest to the range of the Wiener filter."""
    classifier_steps: int = 1000
    """Of the classifier whose features realism is measured in; 0 takes principal components."""
    small: bool = False
    """Three variants and short training, for `make demo`; overrides the sizes above."""
    seed: int = 0
    name: str | None = None
    """Name of the run's folder; unet-variants-<dataset> by default."""
    output: str = "runs"
    progress: bool = True


SMALL = {
    "parts": ("variants",), "training_seeds": 1, "train_steps": 200, "batch_size": 4, "num_samples": 256,
    "num_pairs": 32, "widths": (8, 16), "classifier_steps": 0, "sampler_steps": 10, "els_sizes": (3,),
    "num_images": 800,
}  # fmt: skip
SMALL_VARIANTS = ("baseline", "no skips", "linear")
SMALL_FORMS = ("empirical", "linear, full", "linear, stationary", "linear, pixelwise", "ELS, border")


@dataclasses.dataclass(frozen=True)
class Variant:
    """A network and what it is trained to predict."""

    module: nn.Module
    prediction: str = "v"
    scale_input: bool = True


def built_in(widths: tuple[int, ...]) -> dict[str, Variant]:
    """The baseline, variants that differ from it in one field, and three that differ in several (the last)."""
    base = networks.UNet(widths, embedding_features=32)
    changes = {
        "baseline": {},
        "no skips": {"skips": "none"},
        "one scale": {"widths": widths[:1]},
        "three scales": {"widths": (*widths, widths[-1])},
        "max pooling": {"downsampling": "max"},
        "strided": {"downsampling": "strided"},
        "kernel 1": {"kernel_size": 1},
        "kernel 5": {"kernel_size": 5},
        "circular": {"padding": "circular"},
        "reflect": {"padding": "reflect"},
        "attention lowest": {"attention": "lowest"},
        "attention all": {"attention": "all"},
        "group norm": {"normalisation": "group"},
        "layer norm": {"normalisation": "layer"},
        "ReLU": {"activation": "relu"},
        "quadratic": {"activation": "quadratic"},
        "identity": {"activation": "identity"},
        "bottleneck": {"bottleneck": 16},
        "coordinates": {"coordinates": True},
        "no time": {"time_conditioning": False},
        "no bias": {"bias": False},
        "half width": {"widths": tuple(max(1, width // 2) for width in widths)},
    }
    one_scale = base.clone(widths=widths[:1], padding="circular")
    return {
        **{name: Variant(base.clone(**change)) for name, change in changes.items()},
        "predict x": Variant(base, "x"),
        "predict noise": Variant(base, "noise"),
        "unscaled input": Variant(base, scale_input=False),
        "narrow": Variant(base.clone(bottleneck=16, skips="none"), "x"),
        "linear": Variant(one_scale.clone(activation="identity")),
        "polynomial": Variant(one_scale.clone(activation="quadratic")),
    }


def choose_variants(config: Config, shape: tuple[int, ...], say: Callable[[str], None]) -> dict[str, Variant]:
    """The variants of a run, after checking that each maps an image to one of its shape.

    Of the built-in ones, those that do not fit the images are left out, unless they were asked for by name.

    Raises:
        ValueError: for an unknown variant, a module or a baseline that does not fit the images, or a factory that
            cannot be imported.
    """
    found = built_in(config.widths) if config.network is None else _from_factory(config.network)
    if unknown := set(config.variants) - set(found):
        raise ValueError(f"unknown variants {sorted(unknown)}; there are {', '.join(found)}")
    chosen = {}
    for name in config.variants or found:
        try:
            check_module(found[name].module, shape)
        except ValueError as error:
            if config.variants or config.network is not None or name == "baseline":
                raise ValueError(f"variant {name!r}: {error}") from error
            say(f"left out: {name} ({error})")
        else:
            chosen[name] = found[name]
    return chosen


def check_module(module: nn.Module, shape: tuple[int, ...]) -> None:
    """Raise `ValueError` unless the module is a pure function of its parameters that keeps the image's shape."""
    y, sigma = jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct((), jnp.float32)
    try:
        out, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), y, sigma)
    except TypeError as error:
        raise ValueError(f"{type(module).__name__} is not called as module(y_scaled, sigma): {error}") from error
    if out.shape != shape or set(variables) != {"params"}:
        raise ValueError(
            f"{type(module).__name__} must return the shape {shape} and have parameters only, got {out.shape} and "
            f"the collections {sorted(variables)}"
        )


def _from_factory(path: str) -> dict[str, Variant]:
    module_name, _, factory_name = path.partition(":")
    try:
        made = getattr(importlib.import_module(module_name), factory_name)()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(f"network must be module:factory, callable without arguments; {path!r}: {error}") from error
    made = made if isinstance(made, Mapping) else {factory_name: made}
    if not made or not all(isinstance(module, nn.Module) for module in made.values()):
        raise ValueError(f"{path!r} must return a Flax module or a dictionary of them, got {made!r}")
    return {name: Variant(module) for name, module in made.items()}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One network of the run: what is trained, on which images, in which folder."""

    folder: str
    label: str
    variant: Variant
    seed: int
    count: int
    first: int = 0
    shuffled: bool = False


def plan(config: Config, variants: dict[str, Variant], num_images: int) -> dict[str, list[Cell]]:
    """All networks of a run, by part.

    Raises:
        ValueError: for unknown parts or counts that do not fit the data.
    """
    if unknown := set(config.parts) - set(PARTS):
        raise ValueError(f"unknown parts {sorted(unknown)}; there are {', '.join(PARTS)}")
    if not config.parts:
        raise ValueError(f"parts must name at least one of {', '.join(PARTS)}")
    names = list(variants)
    if len(set(map(_slug, names))) < len(names):
        raise ValueError(f"names of networks must differ in letters or digits, got {', '.join(names)}")
    baseline = names[0]
    cells = {part: [] for part in config.parts}
    if "variants" in cells:
        cells["variants"] = [
            Cell(f"variants/{_slug(name)}/seed-{seed}", f"{name}, seed {seed}", variants[name], seed, num_images)
            for seed in range(config.training_seeds)
            for name in names
        ]
    swept = sweep_names(config, variants)
    counts = sweep_counts(config, num_images)
    if "sweep" in cells:
        cells["sweep"] = [
            Cell(f"sweep/{_slug(name)}/{n}", f"{name}, {n} images", variants[name], 0, n)
            for name in swept
            for n in counts
        ]
    if "controls" in cells:
        variant = variants[baseline]
        cells["controls"] = [
            Cell("controls/shuffled", "shuffled pixels", variant, 0, num_images, shuffled=True),
            *[
                Cell(f"controls/part-{part}-{n}", f"part {part} of {n}", variant, 0, n, first=n * part)
                for n in disjoint_counts(config, num_images)
                for part in (0, 1)
            ],
        ]
    return cells


def sweep_names(config: Config, variants: dict[str, Variant]) -> list[str]:
    """The baseline and the variant that are swept over data sizes.

    Raises:
        ValueError: if `sweep_variant` is none of the run's variants.
    """
    names = list(variants)
    other = config.sweep_variant or names[min(1, len(names) - 1)]
    if other not in names:
        raise ValueError(f"sweep_variant must be one of {', '.join(names)}, got {other!r}")
    return list(dict.fromkeys([names[0], other]))


def sweep_counts(config: Config, num_images: int) -> list[int]:
    """The data sizes for which there are images.

    Raises:
        ValueError: if there are none, or one of them is below 2.
    """
    counts = [n for n in config.counts if n <= num_images]
    if "sweep" in config.parts and (not counts or min(counts) < 2):
        raise ValueError(f"counts must have sizes between 2 and {num_images}, the training images; got {config.counts}")
    return counts


def disjoint_counts(config: Config, num_images: int) -> list[int]:
    """Sizes of the disjoint training sets: a small one and halves."""
    return sorted({min(64, num_images // 2), num_images // 2})


def check_run(config: Config, x: np.ndarray, test: np.ndarray, num_features: int) -> None:
    """Raise `ValueError` for settings that would fail only after training."""
    for name in ("training_seeds", "train_steps", "batch_size", "sampler_steps", "num_samples", "num_pairs"):
        value = getattr(config, name)
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if config.num_pairs > config.num_samples:
        raise ValueError(f"num_pairs must be at most num_samples = {config.num_samples}, got {config.num_pairs}")
    if not config.learning_rate > 0:
        raise ValueError(f"learning_rate must be positive, got {config.learning_rate}")
    # Half of the samples may diverge and the others still be measured.
    check_counts(config.num_samples // 2, len(x), len(test), num_features)
    if min(x.shape[1:3]) < 3:
        raise ValueError(f"images must have at least 3 pixels a side, got {x.shape[1:]}")


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())
