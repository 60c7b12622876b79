"""Settings of the UNet study."""

import dataclasses

from experiments import runner

PARTS = ("variants", "sweep", "controls")
SEEDS = 1000
"""Most training seeds of a run: its networks have the random keys `seed * SEEDS`, ..."""


@dataclasses.dataclass(frozen=True)
class Config(runner.Settings):
    """Settings of one run."""

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


SMALL = {
    "parts": ("variants",), "training_seeds": 1, "train_steps": 200, "batch_size": 4, "num_samples": 256,
    "num_pairs": 32, "widths": (8, 16), "classifier_steps": 0, "sampler_steps": 10, "els_sizes": (3,),
    "num_images": 800,
}  # fmt: skip
SMALL_VARIANTS = ("baseline", "no skips", "linear")
SMALL_FORMS = ("empirical", "linear, full", "linear, stationary", "linear, pixelwise", "ELS, border")


def resolve(config: Config) -> Config:
    """Fill in what `--small` sets."""
    if not config.small:
        return config
    config = dataclasses.replace(config, **SMALL)
    if config.network is None:
        config = dataclasses.replace(config, variants=config.variants or SMALL_VARIANTS)
    return config
