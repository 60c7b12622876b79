"""What was generated, measured.

| name                                   | compares                                                                        |
|----------------------------------------|---------------------------------------------------------------------------------|
| `agreement`, `pearson`, `r_squared`    | two sets of samples from the same noise, pair by pair                           |
| `covariance_error`, `sampling_error`   | a covariance with that of samples, and the error that chance makes              |
| `novelty`, `neighbour_ratio`           | samples with the training images: copies of one image                           |
| `nearest_neighbours`                   | finds those                                                                     |
| `hull_distance`, `birthday_test`       | blends of few training images; samples that come twice                          |
| `patch_novelty`                        | samples with the training images: copied patches                                |
| `realism`                              | whole sets: all of the following, with a held-out set as floor                  |
| `frechet_distance`, `kernel_distance`  | features of two sets                                                            |
| `precision_recall`, `density_coverage` | the regions that two sets cover                                                 |
| `power_spectrum`, `spectrum_error`     | their power by frequency                                                        |
| `features`                             | the spaces in which sets are compared                                           |
"""

from jaxcreativity.metrics import features
from jaxcreativity.metrics.comparison import Agreement, agreement, covariance_error, pearson, r_squared, sampling_error
from jaxcreativity.metrics.fidelity.frechet import FrechetDistance, frechet_distance, frechet_extrapolated
from jaxcreativity.metrics.fidelity.kernel import KernelDistance, kernel_distance
from jaxcreativity.metrics.fidelity.overlap import DensityCoverage, PrecisionRecall, density_coverage, precision_recall
from jaxcreativity.metrics.fidelity.report import Realism, realism
from jaxcreativity.metrics.fidelity.spectrum import power_spectrum, spectrum_error
from jaxcreativity.metrics.memorisation.birthday import Birthday, birthday_test
from jaxcreativity.metrics.memorisation.hull import HullDistance, hull_distance, project_on_hull
from jaxcreativity.metrics.memorisation.neighbours import Neighbours, nearest_neighbours
from jaxcreativity.metrics.memorisation.patches import PatchNovelty, patch_novelty
from jaxcreativity.metrics.memorisation.ratio import Novelty, neighbour_ratio, novelty

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
    "covariance_error",
    "density_coverage",
    "features",
    "frechet_distance",
    "frechet_extrapolated",
    "hull_distance",
    "kernel_distance",
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
]
