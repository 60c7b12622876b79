"""The contract: a denoiser maps one noisy example and its noise level to an estimate of the clean example.

`denoiser(y, sigma) -> x_hat` with `y = x + sigma * noise`, `x_hat` of the shape and dtype of `y`. There is no batch
axis (batch with `jax.vmap`, or `generate`). A denoiser with arrays is a pytree, so that it can be an argument of
`jax.jit` and `jax.grad`; a plain function will do wherever one is asked for. `sigma` is at least 0, and `D(y, 0)` the
limit of `D(y, sigma)`: denoisers of this package refuse a negative or NaN level where they can look at it; where it is
traced (an argument of `jit`, `vmap` or `grad`) what it gives is undefined.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks, _pytree

Example: TypeAlias = Float[Array, "*shape"]
Scalar: TypeAlias = Float[ArrayLike, ""] | int
"""A number: Python, NumPy or JAX, traced or not."""

NoiseLevel: TypeAlias = Scalar

Prediction: TypeAlias = Literal["x", "noise", "v"]
"""What the output of a network, or of a linear map, stands for (`networks.binding`)."""


@runtime_checkable
class Denoiser(Protocol):
    """Anything callable as `denoiser(y, sigma) -> x_hat` on one example."""

    def __call__(self, y: Example, sigma: NoiseLevel) -> Example:
        """Estimate `x` from `y = x + sigma * noise`."""
        ...


def score(denoiser: Denoiser, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
    """Score of the noisy density, `(D(y, sigma) - y) / sigma**2`.

    Exact for the Bayes-optimal denoiser (Tweedie's formula: Robbins 1956; Efron 2011); for any other denoiser it is
    the field that the sampler follows.

    Args:
        denoiser: callable on one example.
        y: noisy example, any shape.
        sigma: noise level, in the units of `y`.

    Raises:
        ValueError: if `sigma` is negative or NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> gaussian = lambda y, sigma: y / (1 + sigma**2)  # E[x | y] for x ~ N(0, 1)
        >>> print(score(gaussian, jnp.asarray([2.0]), 1.0))  # of N(0, 2) at 2
        [-1.]
    """
    return (denoiser(y, _checks.noise_level(sigma)) - y) / jnp.square(sigma)


def predicted_noise(denoiser: Denoiser, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
    """Unit-variance noise that the denoiser takes to be in `y`, `(y - D(y, sigma)) / sigma`.

    This is `eps_theta` of Ho et al. (2020).

    Args:
        denoiser: callable on one example.
        y: noisy example, any shape.
        sigma: noise level, in the units of `y`.

    Raises:
        ValueError: if `sigma` is negative or NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> print(predicted_noise(lambda y, sigma: y / (1 + sigma**2), jnp.asarray([2.0]), 1.0))
        [1.]
    """
    return (y - denoiser(y, _checks.noise_level(sigma))) / sigma


@_pytree.dataclass
class Piecewise:
    """One denoiser per noise band: `denoisers[i]` serves `edges[i] <= sigma < edges[i - 1]`.

    Args:
        edges: `(bands - 1,)`, strictly decreasing noise levels that separate the bands.
        denoisers: one denoiser per band, that of the highest noise first.

    A single `sigma` runs one denoiser only; a batched `sigma` (`vmap` over noise levels) runs all and selects.

    Raises:
        ValueError: if the counts do not fit or `edges` does not decrease.

    Example:
        >>> import jax.numpy as jnp
        >>> both = Piecewise([1.0], [lambda y, sigma: 0 * y, lambda y, sigma: y])  # above 1, and below
        >>> print(both(jnp.ones(2), 3.0), both(jnp.ones(2), 0.3))
        [0. 0.] [1. 1.]
    """

    edges: Float[ArrayLike, " edges"] | Sequence[float]
    denoisers: Sequence[Denoiser]

    def __post_init__(self):
        object.__setattr__(self, "denoisers", tuple(self.denoisers))
        object.__setattr__(self, "edges", jnp.asarray(self.edges, dtype=jnp.result_type(float)))
        if not self.denoisers or self.edges.shape != (len(self.denoisers) - 1,):
            raise ValueError(
                f"edges must have one entry fewer than there are denoisers, got shape {self.edges.shape} "
                f"for {len(self.denoisers)} denoiser(s)"
            )
        if _checks.is_concrete(self.edges):
            edges = np.asarray(self.edges)
            if not (np.isfinite(edges).all() and (edges > 0).all() and (np.diff(edges) < 0).all()):
                raise ValueError(f"edges must be positive and strictly decreasing, got {edges}")

    def __call__(self, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `y` with the denoiser of the band that holds `sigma`.

        Raises:
            ValueError: if `sigma` is negative or NaN.
        """
        sigma = _checks.noise_level(sigma)
        band = jnp.sum(jnp.asarray(sigma) < self.edges)
        branches = [lambda y, s, denoiser=denoiser: denoiser(y, s) for denoiser in self.denoisers]
        return jax.lax.switch(band, branches, y, jnp.asarray(sigma, y.dtype))
