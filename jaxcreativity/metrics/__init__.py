"""What was generated, measured.

| name                                                     | compares                                                      |
|----------------------------------------------------------|---------------------------------------------------------------|
| `agreement`, `pearson`, `r_squared`                      | two sets of samples from the same noise, pair by pair         |
| `covariance_error`, `sampling_error`                     | a covariance with that of samples; the error that chance makes |
| `memorisation`: `novelty`, `neighbour_ratio`             | samples with the training images: copies of one image         |
| `nearest_neighbours`                                     | finds those                                                   |
| `hull_distance`, `project_on_hull`                       | blends of few training images                                 |
| `birthday_test`                                          | samples that come twice                                       |
| `patch_novelty`                                          | copied patches                                                |
| `fidelity`: `realism`                                    | whole sets: all of the following, with a held-out set as floor |
| `frechet_distance`, `frechet_extrapolated`, `kernel_distance` | features of two sets                                     |
| `precision_recall`, `density_coverage`                   | the regions that two sets cover                               |
| `power_spectrum`, `spectrum_error`                       | their power by frequency                                      |
| `features`                                               | the spaces in which sets are compared                         |
| `wilson_interval`, `bootstrap_interval`                  | the interval of a fraction; of any statistic                  |

The larger ones return a result whose `.summary()` is a dictionary of plain numbers, for a table or JSON.
"""

from jaxcreativity.metrics import features, fidelity, memorisation
from jaxcreativity.metrics.comparison import Agreement, agreement, pearson, r_squared
from jaxcreativity.metrics.covariances import covariance_error, sampling_error
from jaxcreativity.metrics.fidelity import (
    DensityCoverage,
    FrechetDistance,
    KernelDistance,
    PrecisionRecall,
    Realism,
    density_coverage,
    frechet_distance,
    frechet_extrapolated,
    kernel_distance,
    power_spectrum,
    precision_recall,
    realism,
    spectrum_error,
)
from jaxcreativity.metrics.memorisation import (
    Birthday,
    HullDistance,
    Neighbours,
    Novelty,
    PatchNovelty,
    birthday_test,
    hull_distance,
    nearest_neighbours,
    neighbour_ratio,
    novelty,
    patch_novelty,
    project_on_hull,
)
from jaxcreativity.metrics.summary import bootstrap_interval, wilson_interval

__all__ = [
    "Agreement",
    "Birthday",
    "DensityCoverage",
    "FrechetDistance",
    "HullDistance",
    "KernelDistance",
    "Neighbours",
    "Novelty",
    "PatchNovelty",
    "PrecisionRecall",
    "Realism",
    "agreement",
    "birthday_test",
    "bootstrap_interval",
    "covariance_error",
    "density_coverage",
    "features",
    "fidelity",
    "frechet_distance",
    "frechet_extrapolated",
    "hull_distance",
    "kernel_distance",
    "memorisation",
    "nearest_neighbours",
    "neighbour_ratio",
    "novelty",
    "patch_novelty",
    "pearson",
    "power_spectrum",
    "precision_recall",
    "project_on_hull",
    "r_squared",
    "realism",
    "sampling_error",
    "spectrum_error",
    "wilson_interval",
]
