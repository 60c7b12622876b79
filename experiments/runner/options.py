"""Checks of settings before a run begins; what is wrong is named as it is typed (`--train-steps`)."""

import dataclasses
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


def option(field: str) -> str:
    """The option of a setting: `"train_steps"` -> `"--train-steps"`."""
    return "--" + field.replace("_", "-")


@contextmanager
def as_typed(settings: Any) -> Iterator[None]:
    """What is wrong with `image_size` is said of `--image-size`, and `image_size=14` as `--image-size 14`."""
    try:
        yield
    except ValueError as error:
        raise ValueError(_typed(str(error), settings)) from error


def why(error: Exception, settings: Any) -> str:
    """What went wrong, in one line, without its full stop; advice that has no option here is left out."""
    text = (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
    advice = "lower the learning rate"
    has_rate = any(field.name == "learning_rate" for field in dataclasses.fields(settings))
    text = text.replace(advice, "lower --learning-rate") if has_rate else text.replace(f"; {advice}", "")
    return _typed(text, settings)


def _typed(text: str, settings: Any) -> str:
    names = [field.name for field in dataclasses.fields(settings) if "_" in field.name]
    pattern = rf"(?<![\w./-])({'|'.join(names)})(?![\w./-])(?:=(?:\(([^()]*)\)|(?=\S)))?"
    return re.sub(pattern, lambda found: option(found[1]) + _value(found), text)


def _value(found: re.Match[str]) -> str:
    """What follows an option: the numbers of a tuple one by one."""
    if found[2] is not None:
        return " " + found[2].replace(",", "")
    return " " if found[0].endswith("=") else ""


def check_counts(settings: Any, *fields: str, least: int = 1) -> None:
    """Check that settings are whole numbers, or tuples of one or more different ones, of at least `least`.

    Args:
        settings: dataclass.
        *fields: names of its fields; one that is `None` passes.
        least: smallest number allowed.

    Raises:
        ValueError: if one is not.
    """
    for field in fields:
        value = getattr(settings, field)
        if value is None:
            continue
        numbers = value if isinstance(value, tuple) else (value,)
        if not numbers:
            raise ValueError(f"{option(field)} needs one number or more")
        if bad := [n for n in numbers if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < least]:
            raise ValueError(f"{option(field)} must be at least {least}, got {bad[0]}")
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"{option(field)} names a number twice: {' '.join(map(str, numbers))}")


def check_choices(settings: Any, field: str, allowed: Collection[str]) -> None:
    """Check that a setting, a word or a tuple of one or more different words, holds only known ones.

    Args:
        settings: dataclass.
        field: name of its field.
        allowed: what there is.

    Raises:
        ValueError: if it does not.
    """
    value = getattr(settings, field)
    words = value if isinstance(value, tuple) else (value,)
    if unknown := sorted(set(words) - set(allowed)):
        raise ValueError(f"{option(field)}: unknown {field} {unknown}; there are {', '.join(allowed)}")
    if not words or len(set(words)) < len(words):
        raise ValueError(f"{option(field)} needs one or more different words, got {' '.join(words) or 'none'}")


def check_noise_levels(settings: Any) -> None:
    """Check that `0 < sigma_min < sigma_max` in settings that have both.

    Raises:
        ValueError: if not.
    """
    low, high = settings.sigma_min, settings.sigma_max
    if not 0 < low < high < float("inf"):
        raise ValueError(f"--sigma-min must be above 0 and below --sigma-max, got {low:g} and {high:g}")
