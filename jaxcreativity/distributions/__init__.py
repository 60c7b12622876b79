"""Laws that are known exactly: what a diffusion model is to learn, and what a closed form says that it generates.

| name              | law                                     | examples            | source of its denoiser `E[x | y]`                |
|-------------------|-----------------------------------------|---------------------|--------------------------------------------------|
| `Gaussian`        | normal; the covariance may be singular  | `(d,)`              | none: `theory.linear.fit` has it                 |
| `GaussianMixture` | weighted normals                        | any shape           | Wiener filters, weighted by their posterior      |
| `Atoms`           | weighted points                         | any shape           | softmax of distances (docs/theory/empirical.md)  |
| `Laplace`         | a kink, heavy tails                     | `(1,)`              | truncated normals, integrated to rounding        |
| `Exponential`     | an edge, a skew                         | `(1,)`              | the same                                         |
| `Uniform`         | bounded                                 | `(1,)`              | the same                                         |
| `Ring`            | a blurred circle                        | `(2,)`              | von Mises angle: a ratio of Bessel functions     |
| `Texture`         | a stationary Gaussian image             | `(h, w, 1)`         | Wiener filter per frequency                      |

| name              | what it is                                                                                      |
|-------------------|-------------------------------------------------------------------------------------------------|
| `fit_gaussian`    | the Gaussian of a set of examples                                                               |
| `wasserstein2`    | distance of two Gaussians (Bures)                                                               |
| `BayesDenoiser`, `GaussianMixtureDenoiser` | what the method `denoiser` of a law returns                            |
| `Distribution`    | the protocol that all but `Gaussian` follow                                                     |

Each is a pytree of its parameters and provides (`Distribution`)

    shape                      shape of one example
    sample(key, n)             (n, *shape), independent examples
    log_prob(x)                log-density at one example, in nats
    mean, covariance           (d,) and (d, d) of the flattened example, exact
    denoiser()                 E[x | y] under the contract denoiser(y, sigma)
    moments(order)             E[x**k], k = 0 to order: laws on the line, whose examples have shape (1,)

`log_prob` and the denoiser compute in the dtype of their argument, the rest in that of the parameters. Parameters are
checked when an object is built outside traced code.
"""

from jaxcreativity.distributions.atoms import Atoms
from jaxcreativity.distributions.base import BayesDenoiser, Distribution
from jaxcreativity.distributions.exponential import Exponential
from jaxcreativity.distributions.gaussian import Gaussian, wasserstein2
from jaxcreativity.distributions.gaussian import fit as fit_gaussian
from jaxcreativity.distributions.gaussian_mixture import GaussianMixture, GaussianMixtureDenoiser
from jaxcreativity.distributions.laplace import Laplace
from jaxcreativity.distributions.ring import Ring
from jaxcreativity.distributions.texture import Texture
from jaxcreativity.distributions.uniform import Uniform

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
