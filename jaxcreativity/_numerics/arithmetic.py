"""Sums and roots that are safe to differentiate and precise on every backend."""

import jax.numpy as jnp
from jaxtyping import Array, Inexact


def dot(a: Inexact[Array, "..."], b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """Matrix product in full precision: on GPUs the default rounds to ten bits."""
    return jnp.matmul(a, b, precision="highest")


def safe_sqrt(values: Inexact[Array, "*shape"]) -> Inexact[Array, "*shape"]:
    """Square root; its derivative at 0, which is infinite, is taken as 0: a variance of 0 stays 0."""
    positive = values > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, values, 1.0)), 0.0)
