"""Local and equivariant denoisers: mosaics of training patches.

| name                    | closed form at pixel q                                                        | source                    |
|-------------------------|-------------------------------------------------------------------------------|---------------------------|
| `LocalDenoiser`         | softmax-mean over images (LS) or over all patches of all images (ES, ELS)     | Kamb & Ganguli (2025)     |
| `by_level`              | one `LocalDenoiser` per noise level, of its own patch size                    |                           |
| `calibrate`             | the patch sizes that agree best with a network                                |                           |
| `predicted_patch_sizes` | patch sizes from the data's covariance alone                                  |                           |
| `SoftWindowDenoiser`    | a window that fades instead of ending; `fit_lengths` fits it to a network     |                           |
| `MaskedDenoiser`        | windows read off the covariance; `masks_from_covariance` makes it             | Lukoianov et al. (2025)   |
| `CompositeDenoiser`     | whole windows, averaged where they overlap                                    | Niedoba et al. (2024)     |
| `provenance`            | which training image each pixel comes from                                    |                           |

Theory section 5.
"""

from jaxcreativity.theory.patches._geometry import Boundary
from jaxcreativity.theory.patches.calibration import Calibration, calibrate
from jaxcreativity.theory.patches.composite import CompositeDenoiser
from jaxcreativity.theory.patches.levels import by_level
from jaxcreativity.theory.patches.local import LocalDenoiser
from jaxcreativity.theory.patches.masked import MaskedDenoiser
from jaxcreativity.theory.patches.masked import fit as masks_from_covariance
from jaxcreativity.theory.patches.patch_sizes import predicted_patch_sizes
from jaxcreativity.theory.patches.provenance import Provenance, provenance
from jaxcreativity.theory.patches.soft_window import SoftWindowDenoiser
from jaxcreativity.theory.patches.soft_window_fit import fit_lengths

__all__ = [
    "Boundary",
    "Calibration",
    "CompositeDenoiser",
    "LocalDenoiser",
    "MaskedDenoiser",
    "Provenance",
    "SoftWindowDenoiser",
    "by_level",
    "calibrate",
    "fit_lengths",
    "masks_from_covariance",
    "predicted_patch_sizes",
    "provenance",
]
