"""Linear denoisers, which generate Gaussians.

| name                                 | what                                                                        |
|--------------------------------------|-----------------------------------------------------------------------------|
| `fit`, `LinearDenoiser`              | the best affine denoiser of a structure, training effects included          |
| `Structure`, `STRUCTURES`            | which structures there are (below)                                          |
| `generated`                          | the Gaussian that the sampler makes of a denoiser, exact for a finite grid  |
| `generated_limit`                    | the same for infinitely many steps                                          |
| `predict_sample`                     | the sample of one noise, without running the chain                          |
| `AffineDenoiser`, `from_denoiser`    | any matrices and biases, one per noise level; read off an affine network    |

| structure    | a network of                  | gain                                                           | generates                                      |
|--------------|-------------------------------|----------------------------------------------------------------|------------------------------------------------|
| `full`       | one dense layer               | `l / (l + sigma^2)`, l the eigenvalues of the covariance       | the Gaussian of the data's mean and covariance |
| `pixelwise`  | one weight per entry          | the same, l the variance of each entry                         | independent entries                            |
| `stationary` | circular convolution          | the same, l the mean power at each frequency (C x C)           | a stationary Gaussian texture                  |
| `local`      | circular k x k convolution    | Fourier transform of the best k x k filter                     | a texture without the long-range order         |
| `low_rank`   | two layers, r units between   | `full` on the r largest eigenvalues, 0 on the others           | the Gaussian of the first r principal components |

Each generates its Gaussian in the limit of many steps from high noise; a finite grid distorts the covariance, and `generated`
says how. Weight decay and training time change the gains (`denoiser`).

Source: Levine & Weiss (2026); Kay, *Estimation Theory* (1993), section 12 (docs/theory/linear.md).
"""

from jaxcreativity.theory.linear._structures import STRUCTURES, Structure
from jaxcreativity.theory.linear.affine import AffineDenoiser, from_denoiser
from jaxcreativity.theory.linear.denoiser import LinearDenoiser
from jaxcreativity.theory.linear.fitting import fit
from jaxcreativity.theory.linear.law import generated, generated_limit, predict_sample

__all__ = [
    "STRUCTURES",
    "AffineDenoiser",
    "LinearDenoiser",
    "Structure",
    "fit",
    "from_denoiser",
    "generated",
    "generated_limit",
    "predict_sample",
]
