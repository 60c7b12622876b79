"""Patch machines: local and equivariant denoisers, which paste new images from training patches.

A convolutional network sees only the surroundings of a pixel (it is *local*) and treats all positions alike (it is
*equivariant*). The best denoiser under such a constraint is a closed form. Every pixel is compared, with the patch
around it, with the pixels of the training images, and becomes their mean, weighted by how well the patches agree:

- **LS**, local: with the pixels of all images at the same position;
- **ELS**, equivariant and local: with the pixels of all images at all positions;
- **ES**, equivariant only: ELS whose patch is the whole image, so with all shifts of all images.

Such a *patch machine* generates mosaics: near every pixel a training patch, as a whole a new image.

| name                    | closed form at pixel q                                           | source                  |
|-------------------------|------------------------------------------------------------------|-------------------------|
| `LocalDenoiser`         | softmax-mean over images (LS) or all patches of all images (ELS) | Kamb & Ganguli (2025)   |
| `IndexedLocalDenoiser`  | ELS over a `build_index`, with an error bar; not over all data   | docs/theory/patches.md  |
| `by_level`              | one denoiser per noise level, of its own patch size              | Kamb & Ganguli (2025)   |
| `indexed_by_level`      | the same over indices, of as many draws as an error takes        |                         |
| `calibrate`             | the patch sizes that agree best with a network                   | Kamb & Ganguli (2025)   |
| `predicted_patch_sizes` | patch sizes from covariance or derivatives; nothing is fitted    | docs/theory/patches.md  |
| `SoftWindowDenoiser`    | a window that fades; `fit_lengths` fits it to a network          | docs/theory/patches.md  |
| `MaskedDenoiser`        | windows from the covariance; made by `masks_from_covariance`     | Lukoianov et al. (2025) |
| `CompositeDenoiser`     | whole windows, averaged where they overlap                       | Niedoba et al. (2024)   |
| `provenance`            | which training image each pixel comes from                       | docs/theory/patches.md  |

With P_q y the k x k patch of y around pixel q, `LocalDenoiser` is a softmax-mean over the training images x_i, with
energies |P_q y - P_q' x_i|^2 and temperature 2 sigma^2:

| constraint                  | boundary     | output at q                                                     |
|-----------------------------|--------------|-----------------------------------------------------------------|
| local (LS)                  | `"zero"`     | mean of x_i[q] over images; windows are cut at the border       |
|                             | `"circular"` | the same; windows wrap                                          |
| local and equivariant (ELS) | `"circular"` | mean of x_i[q'] over images and positions; all windows wrap     |
|                             | `"interior"` | the same; windows of y wrap, those of x_i lie inside the image  |
|                             | `"broken"`   | the same; windows are cut, and q' has the border signature of q |

The border signature of a pixel is its distance to each of the four edges, cut off at (k - 1) / 2: what a network with
zero padding can see of the border. A window that covers the image gives the empirical denoiser (LS), or its average
over shifts (ES).

Source: Kamb & Ganguli (ICML 2025), sections 3 and 4 (docs/theory/patches.md).
"""

from jaxcreativity.theory.patches._geometry import Boundary
from jaxcreativity.theory.patches.calibration import Calibration, calibrate
from jaxcreativity.theory.patches.composite import CompositeDenoiser
from jaxcreativity.theory.patches.index import PatchIndex, build_index
from jaxcreativity.theory.patches.indexed import IndexedLocalDenoiser
from jaxcreativity.theory.patches.levels import by_level, indexed_by_level
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
    "IndexedLocalDenoiser",
    "LocalDenoiser",
    "MaskedDenoiser",
    "PatchIndex",
    "Provenance",
    "SoftWindowDenoiser",
    "build_index",
    "by_level",
    "calibrate",
    "fit_lengths",
    "indexed_by_level",
    "masks_from_covariance",
    "predicted_patch_sizes",
    "provenance",
]
