"""What every law provides, and its Bayes-optimal denoiser."""

from typing import Any, Protocol

from jaxtyping import Array, Float, PRNGKeyArray

from jaxcreativity import _pytree
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
    """`D(y, sigma) = E[x | y]`, from `target.posterior_mean(y, sigma)`; gradients flow into the target's parameters.

    Args:
        target: a law of this package that has `posterior_mean`; its method `denoiser` makes this object.
    """

    target: Any

    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `y`.

        Raises:
            ValueError: if `y` is not floating point or has another shape, or `sigma` is negative or NaN.
        """
        return self.target.posterior_mean(y, sigma)
