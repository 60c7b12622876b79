"""Memorisation: how far samples are from the training images, whole, as blends, and in patches.

| name                                          | a copy is                                                                 |
|-----------------------------------------------|---------------------------------------------------------------------------|
| `novelty(samples, train, test)`               | much nearer to one training image than to the next different one: `d_1 / d_2 < 1/3` |
| `neighbour_ratio(samples, data, k)`           | the ratio of all neighbours alone, traceable                              |
| `hull_distance(samples, train, test)`         | a blend of few training images: distance to their convex hull             |
| `patch_novelty(samples, train, held_out)`     | a mosaic: its patches are nearer to the training patches than held-out ones |
| `birthday_test(samples, train, test)`         | what comes twice: the number of different images that can be generated    |
| `nearest_neighbours(queries, data, k)`        | exact, in bounded memory, differentiable                                  |
| `project_on_hull(x, vertices)`                | the nearest point of a convex hull, exact                                 |

The first, the hull and the birthday test count near-duplicates in the training set once. Each reports what held-out
images score: the floor of a model that copies nothing.
"""

from jaxcreativity.metrics.memorisation.birthday import Birthday, birthday_test
from jaxcreativity.metrics.memorisation.hull import HullDistance, HullProjection, hull_distance, project_on_hull
from jaxcreativity.metrics.memorisation.neighbours import Neighbours, nearest_neighbours
from jaxcreativity.metrics.memorisation.patches import PatchDistances, PatchNovelty, patch_novelty
from jaxcreativity.metrics.memorisation.ratio import Novelty, neighbour_ratio, novelty

__all__ = [
    "Birthday",
    "HullDistance",
    "HullProjection",
    "Neighbours",
    "Novelty",
    "PatchDistances",
    "PatchNovelty",
    "birthday_test",
    "hull_distance",
    "nearest_neighbours",
    "neighbour_ratio",
    "novelty",
    "patch_novelty",
    "project_on_hull",
]
