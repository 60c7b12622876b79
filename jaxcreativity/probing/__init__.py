"""Derivatives of denoisers and of the samples they generate, closed forms and networks alike.

| name                                                 | what                                            | formula                        |
|------------------------------------------------------|-------------------------------------------------|--------------------------------|
| `jacobian(denoiser, y, sigma)`                       | the derivative of a denoiser, as an operator    | `J = dD(y, sigma) / dy`        |
| `spectrum(operator, k)`                              | its leading singular triples, or eigenpairs     | `J v = s u`                    |
| `asymmetry(operator)`                                | 0 if the score is a gradient there              | `|J - J^T| / |J|`              |
| `trace(operator)`                                    | free directions                                 | `tr J`                         |
| `effective_rank(values)`                             | directions that count                           | `exp(-sum p log p)`            |
| `receptive_field(denoiser, y, sigma, pixel)`         | which pixels an output pixel depends on         | `|dD[pixel] / dy[p]|`          |
| `radius(field, pixel)`, `mass_outside(field, ...)`   | how far away they are                           | weighted by squares            |
| `equivariance_error(denoiser, y, sigma, transform)`  | does it commute with shift, flip, turn?         | `|D(T y) - T D(y)| / |T D(y)|` |
| `sample_jacobian(denoiser, z, sigmas)`               | the generated manifold and its density          | `dx / dz`                      |
| `influence(theory, z, sigmas, n)`                    | which training images a sample owes what to     | `dx / dw_i`                    |
| `discrepancy(theory, network, z, sigmas)`            | how far two denoisers' samples are apart        | mean of `measure(x, x')`       |
| `ascent_step(theory, network, z, sigmas)`            | towards the seeds on which they are             | gradient with respect to z     |
"""

from jaxcreativity.probing.ascent import ascent_step
from jaxcreativity.probing.discrepancies import discrepancy
from jaxcreativity.probing.influences import influence
from jaxcreativity.probing.jacobians import Jacobian, Spectrum, asymmetry, effective_rank, jacobian, spectrum, trace
from jaxcreativity.probing.locality import mass_outside, radius, receptive_field
from jaxcreativity.probing.sample_jacobians import SampleJacobian, sample_jacobian
from jaxcreativity.probing.symmetry import TRANSFORMS, equivariance_error

__all__ = [
    "TRANSFORMS",
    "Jacobian",
    "SampleJacobian",
    "Spectrum",
    "ascent_step",
    "asymmetry",
    "discrepancy",
    "effective_rank",
    "equivariance_error",
    "influence",
    "jacobian",
    "mass_outside",
    "radius",
    "receptive_field",
    "sample_jacobian",
    "spectrum",
    "trace",
]
