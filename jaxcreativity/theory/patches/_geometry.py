"""Which windows are compared with which, at each boundary."""

import functools
from typing import Literal, get_args

from jaxcreativity import _checks
from jaxcreativity._numerics import windows
from jaxcreativity._numerics.windows import Windows

Boundary = Literal["zero", "circular", "interior", "broken"]
"""What windows do at the border; the table of `theory.patches` says what is compared."""


def check_window(patch_size: int, shape: tuple[int, int], equivariant: bool, boundary: Boundary) -> None:
    """Check that a denoiser of images of this shape can have this window.

    Args:
        patch_size: side of the window.
        shape: height and width of the images.
        equivariant: whether all positions are compared.
        boundary: what windows do at the border.

    Raises:
        ValueError: for an even or too large window, or a boundary that does not go with `equivariant`.
    """
    _checks.odd_size("patch_size", patch_size)
    _checks.choice("boundary", boundary, get_args(Boundary))
    allowed = ("circular", "interior", "broken") if equivariant else ("zero", "circular")
    if boundary not in allowed:
        kind = "an equivariant" if equivariant else "a non-equivariant"
        raise ValueError(
            f"boundary of {kind} denoiser must be one of {', '.join(map(repr, allowed))}, got {boundary!r}"
        )
    largest = min(shape) if boundary == "interior" else 2 * max(shape) - 1
    if patch_size > largest:
        raise ValueError(
            f"patch_size must be at most {largest} for {shape} images and boundary {boundary!r}, got {patch_size}"
        )


def queries_and_keys(shape: tuple[int, int], patch_size: int, boundary: Boundary) -> tuple[Windows, Windows]:
    """Windows of the noisy image and of the training images, all of the first to be compared with all of the second.

    Args:
        shape: height and width of the images.
        patch_size: side of the window.
        boundary: `"circular"`, `"interior"` or `"broken"`; the last leaves out the windows that the border cuts.
    """
    whole, none = tuple((0, n) for n in shape), ((0, 0), (0, 0))
    reaches = tuple(windows.reach(patch_size, n, wraps=boundary != "broken") for n in shape)
    window = functools.partial(
        Windows, size=tuple(before + 1 + after for before, after in reaches), centre=tuple(r[0] for r in reaches)
    )
    inside = tuple((0, max(0, n - patch_size + 1)) for n in shape)
    if boundary == "broken":
        return (window(none, rows=inside[0], columns=inside[1]),) * 2
    queries = window(reaches, rows=whole[0], columns=whole[1])
    if boundary == "circular":
        return queries, queries
    return queries, window(none, rows=inside[0], columns=inside[1])
