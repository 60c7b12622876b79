"""Denoisers behind a bottleneck: a linear encoder with an unrestricted decoder, or a decoder of few units.

| name                       | closed form                                                       | generates                              |
|----------------------------|-------------------------------------------------------------------|----------------------------------------|
| `ProjectedDenoiser`        | `E[x | W y]` over a training set: softmax of `|W (y - x_i)|^2`    | training images, even with one row     |
| `MixtureProjectedDenoiser` | `E[x | W y]` under a Gaussian mixture                             | the regression manifold `E[x | W x]`   |
| `PrototypeDenoiser`        | posterior mean over K weighted atoms                              | atom k with probability `pi_k`         |

| name                  | what it does                                                                                 |
|-----------------------|----------------------------------------------------------------------------------------------|
| `generated_limit`     | the law that a projected denoiser generates in many steps, a `ManifoldLaw`                   |
| `regression_manifold` | the example that it generates where the code is z                                            |
| `best_projection`     | the encoder W of least denoising loss, a `BestProjection`                                    |
| `orthonormalise`      | rows of W made orthonormal                                                                   |
| `fit_prototypes`      | prototypes of a training set: k-means, and Adam on the denoising loss from there             |

With an encoder W of r orthonormal rows and any decoder the best denoiser is `D(y, sigma) = E[x | W y]`. The code of
the state follows the exact reverse diffusion of the law of W x, and the complement relaxes to its conditional mean:

    generated law (many steps) = law of E[x | W x = z],  z ~ law of W x,

the right marginal along the bottleneck, on the r-dimensional regression manifold. Of a *finite* set with distinct
codes the manifold is the set itself: a narrow encoder alone does not stop memorisation, a small decoder does. The
smallest decoder is that of weighted atoms. Sources: Levine & Weiss (2026); docs/theory/bottleneck.md.
"""

from jaxcreativity.theory.bottleneck.manifold import ManifoldLaw, generated_limit, regression_manifold
from jaxcreativity.theory.bottleneck.projected import ProjectedDenoiser
from jaxcreativity.theory.bottleneck.projected_mixture import MixtureProjectedDenoiser
from jaxcreativity.theory.bottleneck.projection_search import BestProjection, best_projection
from jaxcreativity.theory.bottleneck.projections import orthonormalise
from jaxcreativity.theory.bottleneck.prototype_fitting import fit_prototypes
from jaxcreativity.theory.bottleneck.prototypes import PrototypeDenoiser

__all__ = [
    "BestProjection",
    "ManifoldLaw",
    "MixtureProjectedDenoiser",
    "ProjectedDenoiser",
    "PrototypeDenoiser",
    "best_projection",
    "fit_prototypes",
    "generated_limit",
    "orthonormalise",
    "regression_manifold",
]
