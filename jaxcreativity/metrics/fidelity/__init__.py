"""Fidelity: how near a set of samples is to a set of real images, as sets; none of these sees copies.

| name                                           | of                                           | perfect                   |
|------------------------------------------------|----------------------------------------------|---------------------------|
| `realism(samples, train, held_out)`            | all below, with held-out images as the floor | the floor                 |
| `frechet_distance`, `frechet_extrapolated`     | means and covariances of features            | 0                         |
| `kernel_distance`                              | moments of features up to order 3            | 0, also below             |
| `precision_recall`, `density_coverage`         | the regions that features cover              | what held-out images have |
| `power_spectrum`, `spectrum_error`             | power of pixels by spatial frequency         | 0                         |
| `check_counts`                                 | images that `realism` needs                  |                           |
"""

from jaxcreativity.metrics.fidelity.frechet import FrechetDistance, frechet_distance, frechet_extrapolated
from jaxcreativity.metrics.fidelity.kernel import KernelDistance, kernel_distance
from jaxcreativity.metrics.fidelity.overlap import (
    DensityCoverage,
    Overlap,
    PrecisionRecall,
    density_coverage,
    precision_recall,
)
from jaxcreativity.metrics.fidelity.report import Realism, check_counts, realism
from jaxcreativity.metrics.fidelity.spectrum import power_spectrum, spectrum_error

__all__ = [
    "DensityCoverage",
    "FrechetDistance",
    "KernelDistance",
    "Overlap",
    "PrecisionRecall",
    "Realism",
    "check_counts",
    "density_coverage",
    "frechet_distance",
    "frechet_extrapolated",
    "kernel_distance",
    "power_spectrum",
    "precision_recall",
    "realism",
    "spectrum_error",
]
