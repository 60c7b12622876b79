"""No constraint: the posterior mean over the training images, which memorises them, and its smoothed relative.

| name                | closed form                                              | generates                       | source                     |
|---------------------|----------------------------------------------------------|---------------------------------|----------------------------|
| `EmpiricalDenoiser` | `sum_i w_i x_i`, `w = softmax_i(-|y - x_i|^2 / 2s^2)`    | training images                 | docs/theory/empirical.md   |
| `SmoothedDenoiser`  | the same, averaged over Gaussian perturbations of y      | barycentres of training images  | Scarvelis et al. (2023)    |
| `smooth`            | makes a `SmoothedDenoiser` of a training set             |                                 |                            |
| `IndexedEmpiricalDenoiser` | the first, over a `build_index`, with an error bar | not over all data               | docs/theory/patches.md     |
"""

from jaxcreativity.theory.empirical.exact import EmpiricalDenoiser
from jaxcreativity.theory.empirical.indexed import ImageIndex, IndexedEmpiricalDenoiser, build_index
from jaxcreativity.theory.empirical.smoothed import SmoothedDenoiser
from jaxcreativity.theory.empirical.smoothed import fit as smooth

__all__ = [
    "EmpiricalDenoiser",
    "ImageIndex",
    "IndexedEmpiricalDenoiser",
    "SmoothedDenoiser",
    "build_index",
    "smooth",
]
