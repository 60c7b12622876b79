"""The cells of an index, found in a folder or built: shown, and kept under a digest of what determines them."""

import dataclasses
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray
from tqdm import tqdm

from jaxcreativity import _folder
from jaxcreativity._digest import digest
from jaxcreativity.theory._index.build import Source, build, cells_per_class, checked_num_cells, size_in_bytes
from jaxcreativity.theory._index.cells import Cells

VERSION = 4
"""Of what a file holds; part of its name."""

_FIELDS = tuple(field.name for field in dataclasses.fields(Cells))


def found_or_built(
    kinds: Sequence[Sequence[Source]],
    data: jax.Array,
    num_cells: int | None,
    key: PRNGKeyArray,
    cache_dir: str | Path | None,
    settings: str,
) -> tuple[Cells, ...]:
    """The cells of each kind of classes, stacked: from a file of these data and settings, or built and kept there.

    Args:
        kinds: the keys of the classes, those with as many keys each together.
        data: that the keys are taken from.
        num_cells: cells of the largest class; `None` for the default.
        key: random key.
        cache_dir: folder of the file; `None` keeps nothing.
        settings: what else determines the keys, beginning with what they are, as part of a file's name.

    Raises:
        ValueError: for more cells than keys, more than 2^31 keys in a class, or a damaged file.
    """
    largest = max(kind[0].num_keys for kind in kinds)
    if largest >= 2**31:
        raise ValueError(f"an index numbers at most 2^31 keys of a class, got {largest}; use fewer images")
    per_cell = largest / checked_num_cells(num_cells, largest)
    name = None
    if cache_dir is not None:
        name = Path(cache_dir) / f"{settings}-{num_cells}-{VERSION}-{digest(data)}-{digest(key)}.npz"
        if name.exists():
            return tuple(_load(name, len(kinds)))
    return tuple(_built(kinds, per_cell, key, name))


def _built(kinds, per_cell, key, name) -> list[Cells]:
    counts = [cells_per_class(kind[0].num_keys, per_cell) for kind in kinds]
    size = sum(
        size_in_bytes(source.num_keys, count, source.entries)
        for kind, count in zip(kinds, counts, strict=True)
        for source in kind
    )
    num_keys = sum(source.num_keys for kind in kinds for source in kind)
    where = f"in memory and in {name.parent}" if name else "in memory"
    tqdm.write(f"index of {num_keys:,} keys: {size / 2**20:.0f} MiB {where}", file=sys.stderr)
    parts = name and name.with_suffix(".parts")
    if name:
        name.parent.mkdir(parents=True, exist_ok=True)
        _folder.check_space(name.parent, 2 * size)
    found = []
    with tqdm(total=2 * sum(s.num_images for kind in kinds for s in kind), unit="image", desc="index") as bar:
        for i, (kind, count) in enumerate(zip(kinds, counts, strict=True)):
            of_kind = []
            for j, source in enumerate(kind):
                folder = parts and parts / f"{i}-{j}"
                if folder:
                    folder.mkdir(parents=True, exist_ok=True)
                of_kind.append(build(source, count, jax.random.fold_in(key, 1000 * i + j), folder, bar))
            found.append(Cells(**{field: _stacked([cells.pop(field) for cells in of_kind]) for field in _FIELDS}))
    if name:
        _save(name, found)
        shutil.rmtree(parts)
    return found


def _stacked(arrays) -> jax.Array:
    """On the device; those of a single class, which may be most of the memory, are copied once."""
    return jnp.asarray(np.stack(arrays) if len(arrays) > 1 else arrays[0][None])


def _save(path, kinds) -> None:
    arrays = {f"{i}.{name}": np.asarray(getattr(c, name)) for i, c in enumerate(kinds) for name in _FIELDS}
    with _folder.whole(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def _load(path, number) -> list[Cells]:
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return [Cells(*(jnp.asarray(arrays[f"{i}.{name}"]) for name in _FIELDS)) for i in range(number)]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"the index in {path} is damaged ({error}); delete the file and build it again") from None
