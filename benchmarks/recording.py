"""The command line of a benchmark, and the file that keeps what it found."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import tyro

from experiments.runner import table_of
from experiments.runner.environment import environment
from experiments.runner.files import write_json
from jaxcreativity import data

Tables: TypeAlias = dict[str, list[dict[str, Any]]]
"""What a benchmark finds: title -> rows, each a dictionary of plain numbers and names by column."""

FOLDER = Path(__file__).resolve().parents[1] / "results" / "benchmarks"


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What every benchmark can be told."""

    record: str | None = None
    """Keep the numbers, with command, commit, device and versions, as results/benchmarks/<record>.json."""


def images(dataset: str, num_images: int) -> jax.Array:
    """Training images of a set, or noise of CIFAR-10's shape for `"random"`.

    Args:
        dataset: a TFDS name, an embedded set, or `"random"`.
        num_images: how many.
    """
    if dataset == "random":
        return jax.random.uniform(jax.random.key(2), (num_images, 32, 32, 3), minval=-1.0)
    return jnp.asarray(data.load(dataset, num_images=num_images).train)


def main(config: type[Recorded], measure: Callable[[Any], Tables], description: str | None) -> None:
    """Measure with the settings of the command line, print the tables, and keep them if told so.

    Args:
        config: dataclass of the settings.
        measure: settings -> tables.
        description: the benchmark's docstring, for `--help`.
    """
    settings = tyro.cli(config, description=description)
    entry, began = environment(), time.perf_counter()
    tables = measure(settings)
    for title, rows in tables.items():
        print(f"\n{title}:\n\n{table_of(rows)}")
    if settings.record:
        FOLDER.mkdir(parents=True, exist_ok=True)
        entry |= {"seconds": round(time.perf_counter() - began, 1), "settings": dataclasses.asdict(settings)}
        write_json(FOLDER / f"{settings.record}.json", entry | {"tables": tables})
