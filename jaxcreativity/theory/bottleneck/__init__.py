"""Denoisers behind a bottleneck: a linear encoder with an unrestricted decoder.

With an encoder W of r orthonormal rows and any decoder the best denoiser is `D(y, sigma) = E[x | W y]`. The code of
the state follows the exact reverse diffusion of the law of W x, and the complement relaxes to its conditional mean:

    generated law (many steps) = law of E[x | W x = z],  z ~ law of W x,

the right marginal along the bottleneck, on the r-dimensional regression manifold. Of a *finite* set with distinct
codes the manifold is the set itself: a narrow encoder alone does not stop memorisation, a small decoder does. The
smallest decoder is that of weighted atoms. Sources: Levine & Weiss (2026); theory section 4.

`projected` has the denoisers and the law, `projection_search` the best encoder, `prototypes` the atoms.
"""

from jaxcreativity.theory.bottleneck.projected import (
    ManifoldLaw,
    MixtureProjectedDenoiser,
    ProjectedDenoiser,
    generated_limit,
    orthonormalise,
    regression_manifold,
)
from jaxcreativity.theory.bottleneck.projection_search import BestProjection, best_projection
from jaxcreativity.theory.bottleneck.prototypes import PrototypeDenoiser, fit_prototypes

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
