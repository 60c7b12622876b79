"""What a run is: digests of everything that determines its parameters, the same in every process.

A function is known by what it computes: the program that JAX exports of it, in which every number, shape, type and
precision stands that it closes over or reads from JAX's settings, and no name or address of a Python object.
"""

import hashlib
import math
import re
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import jax
from jax import export

from jaxcreativity._digest import digest

__all__ = ["PACKAGES", "PROGRAM", "differences", "digest", "program", "versions", "without_addresses"]

PACKAGES = ("jax", "jaxlib", "flax", "optax")
"""Packages on which the numbers of a training step depend."""

PROGRAM = "program "

_LOCATION = re.compile(r" loc\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)")  # lines and paths of the source


def program(name: str, function: Callable, *arguments: Any) -> str:
    """What a function computes of arguments of these shapes and types, as a short hash that every process finds.

    Args:
        name: what an error calls the function.
        function: pure, in `jax.numpy`.
        *arguments: pytrees of arrays.

    Raises:
        ValueError: if the function cannot be exported, because it calls Python when it runs.
    """
    try:
        # For CPUs wherever it runs: a run may go on on another device.
        exported = export.export(jax.jit(function), platforms=["cpu"])(*arguments)
    except Exception as error:  # of many kinds, by what cannot be exported
        raise ValueError(
            f"{name} cannot be compared with that of a checkpoint ({type(error).__name__}: {str(error)[:200]}); write "
            "it in jax.numpy, without callbacks and jax.debug, or train without checkpoint_folder"
        ) from error
    lines = (line for line in exported.mlir_module().splitlines() if not line.startswith("#loc"))
    text = _LOCATION.sub("", "\n".join(lines))
    return PROGRAM + hashlib.sha256(text.encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """The installed version of each package on which the numbers of a training step depend."""
    return {name: version(name) for name in PACKAGES}


def without_addresses(value: Any) -> str:
    """`repr` without the addresses of functions and objects, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The entries in which a stored description differs from the present one, for an error message; `""` if none.

    Programs are named only if nothing else differs: most follow from the other settings.

    Args:
        found: stored.
        wanted: present.
    """
    differing = sorted(k for k in found.keys() | wanted.keys() if not _same(found.get(k), wanted.get(k)))
    is_program = lambda k: all(str(d.get(k)).startswith(PROGRAM) for d in (found, wanted))  # noqa: E731
    values = [k for k in differing if not is_program(k)]
    if differing and not values:
        return f"what is computed by {', '.join(differing)}"
    return "; ".join(f"{k}: {found.get(k)!r} there, {wanted.get(k)!r} here" for k in values)


def _same(found: Any, wanted: Any) -> bool:
    """Whether two entries are equal; real numbers in a list to 1e-5: another device changes the last bits."""
    if not (isinstance(found, list) and isinstance(wanted, list)):
        return found == wanted
    return len(found) == len(wanted) and all(
        a == b or (isinstance(a, float) and math.isclose(a, b, rel_tol=1e-5))
        for a, b in zip(found, wanted, strict=True)
    )
