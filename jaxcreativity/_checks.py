"""Checks of user input, shared by every public function: what was expected, what was got, what to do."""

import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def needs(extra: str, *modules: str) -> None:
    """Check that modules are there which the core installation does not bring.

    Args:
        extra: what brings them, `pip install 'jaxcreativity[extra]'`.
        *modules: names as imported.

    Raises:
        ImportError: if one is missing; says what to install.
    """
    if missing := [name for name in modules if importlib.util.find_spec(name) is None]:
        raise ImportError(f"this needs {', '.join(missing)}: pip install 'jaxcreativity[{extra}]'")


def is_concrete(value: Any) -> bool:
    """Whether `value` can be looked at now, i.e. is not traced by `jit`, `vmap` or `grad`."""
    return not isinstance(value, jax.core.Tracer)


def known(value: Any) -> np.ndarray | None:
    """`value` in NumPy, or `None` if it is traced.

    Checks compare this, not `value`: inside `jit` an operation on JAX arrays is traced even where they are constants.
    """
    return np.asarray(value) if is_concrete(value) else None


def is_finite(value: Any) -> bool:
    """Whether all entries of `value` are finite; traced values, which cannot be looked at, pass."""
    values = known(value)
    return values is None or bool(np.isfinite(values).all())


def examples(name: str, x: Any, *, min_count: int = 1, ndim: int | None = None) -> jax.Array:
    """Return `x` as an array after checking that it is a set of examples, `(n, *shape)`, float and finite.

    Args:
        name: of the argument, for the message.
        x: what was passed.
        min_count: of examples.
        ndim: rank that it must have, the axis of examples counted; any above 1 by default.

    Raises:
        ValueError: if `x` has the wrong rank, no (or fewer than `min_count`) examples, an integer type, or NaN or
            infinite entries (values are only looked at outside traced code).
    """
    if not isinstance(x, (jax.Array, np.ndarray)):
        raise ValueError(f"{name} must be an array of examples, got {type(x).__name__}")
    if ndim is not None and x.ndim != ndim:
        layout = {4: "(n, height, width, channels)", 2: "(n, d)"}.get(ndim, f"of rank {ndim}")
        raise ValueError(f"{name} must have shape {layout}, got {x.shape}")
    if x.ndim < 2:
        raise ValueError(f"{name} must have shape (n, *example_shape), got {x.shape}; add the axis of examples")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"{name} must be floating point, got {x.dtype}; scale images to [-1, 1] first, e.g. {name} / 127.5 - 1"
        )
    if x.shape[0] < min_count or 0 in x.shape:
        raise ValueError(f"{name} needs at least {min_count} non-empty example(s), got an array of shape {x.shape}")
    x = jnp.asarray(x)
    if is_concrete(x):
        with jax.ensure_compile_time_eval():  # inside jit, where x may be a constant
            bad = int((~jnp.isfinite(x)).any(axis=tuple(range(1, x.ndim))).sum())
        if bad:
            raise ValueError(f"{name} has NaN or infinite entries in {bad} of {x.shape[0]} examples; remove them first")
    return x


def example(name: str, y: Any, shape: tuple[int, ...] | None = None) -> jax.Array:
    """Return `y` as one floating-point example, of the given shape if there is one.

    Args:
        name: of the argument, for the message.
        y: what was passed.
        shape: that it must have.

    Raises:
        ValueError: if the type is not floating point or the shape differs.
    """
    y = jnp.asarray(y)
    if not jnp.issubdtype(y.dtype, jnp.floating):
        raise ValueError(f"{name} must be floating point, got {y.dtype}")
    if shape is not None and y.shape != tuple(shape):
        hint = "; batch with jax.vmap" if y.ndim == len(shape) + 1 and y.shape[1:] == tuple(shape) else ""
        raise ValueError(f"{name} must have shape {tuple(shape)}, got {y.shape}{hint}")
    return y


def noise_level(sigma: Any) -> Any:
    """Return `sigma` if it can be the level of noise: not negative, not NaN.

    Raises:
        ValueError: if it is not (traced values, which cannot be looked at, pass: what they give is undefined).
    """
    level = known(sigma)
    if level is not None and not (level >= 0).all():
        raise ValueError(f"sigma must be at least 0, got {sigma}: it is the standard deviation of the noise in y")
    return sigma


def choice(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return `value` if it is one of `allowed`.

    Args:
        name: of the argument, for the message.
        value: what was passed.
        allowed: what it may be.

    Raises:
        ValueError: if it is not.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return value


def positive_int(name: str, value: Any) -> int:
    """Return `value` if it is an integer of at least 1.

    Raises:
        ValueError: if it is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    return int(value)


def odd_size(name: str, value: Any, largest: int | None = None, of: str = "") -> int:
    """Return `value` if it is the side of a window that has a centre: odd, and at most `largest` if that is given.

    Args:
        name: of the argument, for the message.
        value: what was passed.
        largest: bound.
        of: what the bound is, in words before it.

    Raises:
        ValueError: if it is not.
    """
    if positive_int(name, value) % 2 == 0 or (largest is not None and value > largest):
        bound = "" if largest is None else f" and at most {of}{largest}"
        raise ValueError(f"{name} must be odd{bound}, got {value}")
    return int(value)


def weights(values: Any, count: int, of: str) -> jax.Array:
    """Return `values` if they say how much each of `count` things counts: floating point, not negative, not all 0.

    Args:
        values: what was passed.
        count: how many there must be.
        of: things, in words.

    Raises:
        ValueError: if they do not (values are only looked at outside traced code).
    """
    values = jnp.asarray(values)
    if values.shape != (count,) or not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(
            f"weights must be floating point, one entry for each of the {count} {of}, got {values.dtype} {values.shape}"
        )
    concrete = known(values)
    if concrete is not None and not (np.isfinite(concrete).all() and (concrete >= 0).all() and concrete.any()):
        raise ValueError("weights must be finite, at least 0 and not all 0")
    return values


def concrete(what: str, **arrays: Any) -> None:
    """Check that none of the arrays is traced, which `what`, which looks at values, could not use.

    Args:
        what: looks at them, in words.
        **arrays: by the name of the argument.

    Raises:
        ValueError: if one is.
    """
    for name, x in arrays.items():
        if not is_concrete(x):
            raise ValueError(f"{name} is traced; {what} looks at values: call it outside jit and grad")


def noise_grid(sigmas: Any) -> jax.Array:
    """Return `sigmas` after checking that it is a noise grid: at least two levels, strictly decreasing, last 0.

    Raises:
        ValueError: if it is not (values are only looked at outside traced code).
    """
    sigmas = jnp.asarray(sigmas)
    if sigmas.ndim != 1 or sigmas.shape[0] < 2:
        raise ValueError(f"sigmas must be one axis of at least two noise levels, got shape {sigmas.shape}")
    if not jnp.issubdtype(sigmas.dtype, jnp.floating):
        raise ValueError(f"sigmas must be floating point, got {sigmas.dtype}")
    if is_concrete(sigmas):
        levels = np.asarray(sigmas)
        if not (np.isfinite(levels).all() and (np.diff(levels) < 0).all() and levels[-1] == 0):
            raise ValueError(
                "sigmas must be finite, strictly decreasing and end at 0 (schedules.grid makes such a grid), "
                f"got {np.array2string(levels, precision=4, threshold=8)}"
            )
    return sigmas


def positive_levels(sigmas: Any, dtype: Any) -> jax.Array:
    """The positive noise levels of `sigmas`, which may end in 0 (`schedules.grid`).

    Args:
        sigmas: what was passed; looked at, so not traced.
        dtype: of the result.

    Raises:
        ValueError: if there are none, or others are not positive and finite.
    """
    levels = np.asarray(sigmas, dtype)
    if levels.ndim == 1 and levels.size > 1 and levels[-1] == 0:
        levels = levels[:-1]
    if levels.ndim != 1 or levels.size == 0 or not (np.isfinite(levels).all() and (levels > 0).all()):
        raise ValueError(f"sigmas must be one axis of positive noise levels, got {sigmas}")
    return jnp.asarray(levels)
