"""Variants of a UNet, and networks of a user's own."""

import dataclasses
import importlib
from collections.abc import Callable, Mapping

import flax.linen as nn

from experiments.runner import check_choices
from experiments.unet_variants.settings import Config
from jaxcreativity import networks


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
    if config.variants:
        check_choices(config, "variants", found)
    chosen = {}
    for name in config.variants or found:
        try:
            networks.check_module(found[name].module, shape)
        except ValueError as error:
            if config.variants or config.network is not None or name == "baseline":
                raise ValueError(f"variant {name!r}: {error}") from error
            say(f"left out: {name} ({error})")
        else:
            chosen[name] = found[name]
    return chosen


def _from_factory(path: str) -> dict[str, Variant]:
    module_name, _, factory_name = path.partition(":")
    try:
        made = getattr(importlib.import_module(module_name), factory_name)()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(f"--network must be module:factory, callable without arguments; {path!r}: {error}") from error
    made = made if isinstance(made, Mapping) else {factory_name: made}
    if not made or not all(isinstance(module, nn.Module) for module in made.values()):
        raise ValueError(f"{path!r} must return a Flax module or a dictionary of them, got {made!r}")
    return {name: Variant(module) for name, module in made.items()}
