"""Laws that are known exactly: what a diffusion model is to learn, and what a closed form says that it generates.

Targets whose law is known exactly: sampler, density, moments and Bayes-optimal denoiser.

Each target is a pytree of its parameters and provides (`Distribution`)

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

from jaxcreativity.distributions.base import BayesDenoiser, Distribution
from jaxcreativity.distributions.gaussian import Gaussian, wasserstein2
from jaxcreativity.distributions.gaussian import fit as fit_gaussian
from jaxcreativity.distributions.mixtures import Atoms, GaussianMixture, GaussianMixtureDenoiser
from jaxcreativity.distributions.symmetric import Ring, Texture
from jaxcreativity.distributions.univariate import Exponential, Laplace, Uniform

__all__ = [
    "Atoms",
    "BayesDenoiser",
    "Distribution",
    "Exponential",
    "Gaussian",
    "GaussianMixture",
    "GaussianMixtureDenoiser",
    "Laplace",
    "Ring",
    "Texture",
    "Uniform",
    "fit_gaussian",
    "wasserstein2",
]
