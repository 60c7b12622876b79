"""The networks of a run: what is trained, and on which images."""

import dataclasses

from experiments.runner import check_choices, slug
from experiments.unet_variants.settings import PARTS, Config
from experiments.unet_variants.variants import Variant


@dataclasses.dataclass(frozen=True)
class Cell:
    """One network of the run: what is trained, under the name of its variant, on which images, in which folder."""

    folder: str
    label: str
    name: str
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
    if not config.parts:
        raise ValueError(f"--parts must name at least one of {', '.join(PARTS)}")
    check_choices(config, "parts", PARTS)
    names = list(variants)
    if len(set(map(slug, names))) < len(names):
        raise ValueError(f"names of networks must differ in letters or digits, got {', '.join(names)}")
    baseline = names[0]
    cells = {part: [] for part in config.parts}
    if "variants" in cells:
        cells["variants"] = [
            Cell(f"variants/{slug(name)}/seed-{seed}", f"{name}, seed {seed}", name, variants[name], seed, num_images)
            for seed in range(config.training_seeds)
            for name in names
        ]
    swept = sweep_names(config, variants)
    counts = sweep_counts(config, num_images)
    if "sweep" in cells:
        cells["sweep"] = [
            Cell(f"sweep/{slug(name)}/{n}", f"{name}, {n} images", name, variants[name], 0, n)
            for name in swept
            for n in counts
        ]
    if "controls" in cells:
        variant = variants[baseline]
        cells["controls"] = [
            Cell("controls/shuffled", "shuffled pixels", baseline, variant, 0, num_images, shuffled=True),
            *[
                Cell(f"controls/part-{part}-{n}", f"part {part} of {n}", baseline, variant, 0, n, first=n * part)
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
        raise ValueError(f"--sweep-variant must be one of {', '.join(names)}, got {other!r}")
    return list(dict.fromkeys([names[0], other]))


def sweep_counts(config: Config, num_images: int) -> list[int]:
    """The data sizes for which there are images.

    Raises:
        ValueError: if there are none, or one of them is below 2.
    """
    counts = [n for n in config.counts if n <= num_images]
    if "sweep" in config.parts and (not counts or min(counts) < 2):
        raise ValueError(
            f"--counts must have sizes between 2 and {num_images}, the training images; got {config.counts}"
        )
    return counts


def disjoint_counts(config: Config, num_images: int) -> list[int]:
    """Sizes of the disjoint training sets: a small one and halves."""
    return sorted({min(64, num_images // 2), num_images // 2})
