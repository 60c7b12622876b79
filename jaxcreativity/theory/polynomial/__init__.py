r"""Polynomial denoisers of degree p: laws that the target's moments up to order 2p decide.

| name                                                | what                                                            | form                                         |
|-----------------------------------------------------|-----------------------------------------------------------------|----------------------------------------------|
| `fit`, `from_moments`, `tabulate`                   | the best polynomial of a data set, or of a law's moments        | `E[x \| y] ~ sum_n E[u h_n] h_n(y)`          |
| `PolynomialDenoiser`                                | each coordinate on its own (pixels, principal coordinates)      | h_n the noisy law's orthogonal polynomials   |
| `VolterraDenoiser`                                  | all monomials of an image (`"joint"`) or of a patch (`"patch"`) | normal equations of Hermite features         |
| `density`, `log_density`, `cdf`, `marginal_density` | the law that a finite schedule generates                        | `sum phi(z) / \|Phi'(z)\|` over `Phi(z) = x` |
| `generated_moments`, `expected_log_likelihood`      | numbers of that law                                             | quadrature                                   |
| `diverging_probability`                             | the share of seeds that diverge on the way                      | mass of the seeds with infinite `Phi(z)`     |
| `limit_density`                                     | many steps: the density                                         | the flow integrated backwards                |
| `moebius_map`                                       | many steps, p = 2                                               | `x = (A y + B) / (C y + D)`                  |
| `bernoulli_map`                                     | many steps, p = 3, symmetric target                             | `x = alpha z / sqrt(1 + beta z^2)`           |
| `blow_up_probability`, `blow_up_seeds`              | many steps: the seeds that reach infinity                       | those outside `(z_-, z_+)`                   |
| `langevin_density`                                  | the law at which Langevin dynamics would end                    | `exp(int score)`, of degree p + 1            |
| `gauss_nodes`                                       | atoms that no denoiser of degree p tells from a law             | Gauss quadrature                             |

The laws find their roots and integrals with optimistix and diffrax: `pip install 'jaxcreativity[theory]'`.

Source: Levine & Weiss (2026); docs/theory/polynomial.md.
"""

from jaxcreativity.theory.polynomial.blow_up import blow_up_probability, blow_up_seeds
from jaxcreativity.theory.polynomial.fitting import BASES, Basis, fit, from_moments, tabulate
from jaxcreativity.theory.polynomial.langevin import langevin_density
from jaxcreativity.theory.polynomial.limit import limit_density
from jaxcreativity.theory.polynomial.maps import bernoulli_map, moebius_map
from jaxcreativity.theory.polynomial.pushforward import (
    cdf,
    density,
    expected_log_likelihood,
    log_density,
    marginal_density,
)
from jaxcreativity.theory.polynomial.quadrature import gauss_nodes
from jaxcreativity.theory.polynomial.separable import PolynomialDenoiser
from jaxcreativity.theory.polynomial.summaries import diverging_probability, generated_moments
from jaxcreativity.theory.polynomial.volterra import VolterraDenoiser

__all__ = [
    "BASES",
    "Basis",
    "PolynomialDenoiser",
    "VolterraDenoiser",
    "bernoulli_map",
    "blow_up_probability",
    "blow_up_seeds",
    "cdf",
    "density",
    "diverging_probability",
    "expected_log_likelihood",
    "fit",
    "from_moments",
    "gauss_nodes",
    "generated_moments",
    "langevin_density",
    "limit_density",
    "log_density",
    "marginal_density",
    "moebius_map",
    "tabulate",
]
