"""Targets whose law is known exactly: sampler, density, moments and Bayes-optimal denoiser.

Each target is a pytree of its parameters and provides (`Target`)

    shape                      shape of one example
    sample(key, n)             (n, *shape), independent examples
    log_prob(x)                log-density at one example, in nats
    mean, covariance           (d,) and (d, d) of the flattened example, exact
    denoiser()                 E[x | y] under the contract denoiser(y, sigma)
    moments(order)             E[x**k], k = 0 to order: one-dimensional targets, whose examples have shape (1,)

One-dimensional: `Laplace`, `Exponential`, `Uniform`, and `GaussianMixture` and `Atoms` with `d = 1`. Two-dimensional:
`Ring`. Images: `Texture`. `log_prob` and the denoiser compute in the dtype of their argument, the rest in that of the
parameters. Parameters are checked when an object is built outside traced code.
"""

from jaxcreativity.data.mixtures import Atoms, GaussianMixture, GaussianMixtureDenoiser
from jaxcreativity.data.symmetric import Ring, Texture
from jaxcreativity.data.target import BayesDenoiser, Target
from jaxcreativity.data.univariate import Exponential, Laplace, Uniform

__all__ = [
    "Atoms",
    "BayesDenoiser",
    "Exponential",
    "GaussianMixture",
    "GaussianMixtureDenoiser",
    "Laplace",
    "Ring",
    "Target",
    "Texture",
    "Uniform",
]
