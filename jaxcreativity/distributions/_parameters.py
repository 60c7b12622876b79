"""What the laws share: checks of their parameters."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcreativity import _checks


def check_order(order: int) -> int:
    """Return `order` if it is a non-negative integer.

    Raises:
        ValueError: if it is not.
    """
    if isinstance(order, bool) or not isinstance(order, (int, np.integer)) or order < 0:
        raise ValueError(f"order must be a non-negative integer, got {order!r}")
    return int(order)


def set_floats(node: Any, *names: str) -> None:
    """Turn parameters of a law under construction into floating-point arrays, keeping a floating dtype.

    Args:
        node: the object.
        *names: of its fields.
    """
    for name in names:
        value = jnp.asarray(getattr(node, name))
        value = value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(jnp.result_type(float))
        object.__setattr__(node, name, value)


def set_scalars(node: Any, *names: str, positive: bool = False) -> None:
    """Turn parameters of a law under construction into finite (and positive) floating-point scalars.

    Args:
        node: the object.
        *names: of its fields.
        positive: whether they must be above 0.

    Raises:
        ValueError: if they are not (values are only looked at outside traced code).
    """
    set_floats(node, *names)
    for name in names:
        value = getattr(node, name)
        known = _checks.known(value)
        fits = known is None or (np.isfinite(known).all() and ((known > 0).all() or not positive))
        if value.ndim or not fits:
            raise ValueError(f"{name} must be a {'positive, ' if positive else ''}finite scalar, got {value}")


def check_weights(weights: Float[Array, " k"], points: Float[Array, "k *shape"], points_name: str) -> None:
    """Check the parameters of a mixture of k components.

    Args:
        weights: probabilities of the components.
        points: one place for each.
        points_name: name of that argument, for the message.

    Raises:
        ValueError: if shapes do not fit, entries are not finite, or weights are no probabilities.
    """
    if points.ndim < 2 or 0 in points.shape or weights.shape != points.shape[:1]:
        raise ValueError(
            f"need {points_name} (k, *shape), (k, 1) in one dimension, and weights (k,); got {points.shape} and "
            f"{weights.shape}"
        )
    for name, values in ((points_name, points), ("weights", weights)):
        if not _checks.is_finite(values):
            raise ValueError(f"{name} must be finite, got {values}")
    known = _checks.known(weights)
    if known is not None and not ((known > 0).all() and abs(known.sum() - 1) <= 1e-5):
        raise ValueError(f"weights must be positive and sum to one, got {weights} (sum {weights.sum()})")


def check_one_dimensional(shape: tuple[int, ...]) -> None:
    """Check that examples have the shape `(1,)`.

    Raises:
        ValueError: if they do not.
    """
    if shape != (1,):
        raise ValueError(f"moments are those of one-dimensional targets, with examples of shape (1,), not {shape}")
