"""What a synthetic target provides, its Bayes-optimal denoiser, and what the targets share."""

from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxcreativity import _checks, _pytree
from jaxcreativity.denoiser import Denoiser, NoiseLevel


class Distribution(Protocol):
    """A distribution that a diffusion model is to learn, known exactly."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        ...

    @property
    def mean(self) -> Float[Array, " d"]:
        """Mean of the flattened example."""
        ...

    @property
    def covariance(self) -> Float[Array, "d d"]:
        """Covariance of the flattened example."""
        ...

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n *shape"]:
        """Draw `n` independent examples."""
        ...

    def log_prob(self, x: Float[Array, "*shape"]) -> Float[Array, ""]:
        """Log-density at one example, in nats."""
        ...

    def denoiser(self) -> Denoiser:
        """The Bayes-optimal denoiser."""
        ...


@_pytree.dataclass
class BayesDenoiser:
    """`D(y, sigma) = E[x | y]`, from `target.posterior_mean(y, sigma)`; gradients flow into the target's parameters."""

    target: Any

    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `y`."""
        return self.target.posterior_mean(y, sigma)


def check_order(order: int) -> int:
    """Return `order` if it is a non-negative integer, else raise `ValueError`."""
    if isinstance(order, bool) or not isinstance(order, (int, np.integer)) or order < 0:
        raise ValueError(f"order must be a non-negative integer, got {order!r}")
    return int(order)


def set_floats(node: Any, *names: str) -> None:
    """Turn parameters of a target under construction into floating-point arrays, keeping a floating dtype."""
    for name in names:
        value = jnp.asarray(getattr(node, name))
        value = value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(jnp.result_type(float))
        object.__setattr__(node, name, value)


def set_scalars(node: Any, *names: str, positive: bool = False) -> None:
    """Turn parameters of a target under construction into finite (and positive) floating-point scalars.

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


def wiener_gain(values: Float[Array, "*shape"], variance: Float[Array, ""]) -> Float[Array, "*shape"]:
    """`lambda / (lambda + sigma^2)`."""
    return values / (values + variance)
