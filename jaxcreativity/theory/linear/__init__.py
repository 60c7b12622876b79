"""Linear denoisers, which generate Gaussians.

| name                       | what                                                                                            |
|----------------------------|-------------------------------------------------------------------------------------------------|
| `fit`                      | the best affine denoiser of a structure, training effects included                              |
| `LinearDenoiser`           | what `fit` makes                                                                                |
| `generated`                | the Gaussian that the sampler makes of it, exact for a finite grid                              |
| `generated_limit`          | the same for infinitely many steps                                                              |
| `predict_sample`           | the sample of one noise, without running the chain                                              |
| `AffineDenoiser`           | any matrices and biases, one per noise level                                                    |
| `from_denoiser`            | reads them off an affine network                                                                |

Source: theory section 2; Levine & Weiss (2026); Kay, *Estimation Theory*.
"""

from jaxcreativity.theory.linear.affine import AffineDenoiser, from_denoiser
from jaxcreativity.theory.linear.fitting import (
    STRUCTURES,
    LinearDenoiser,
    Structure,
    fit,
    generated,
    generated_limit,
    predict_sample,
)

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
