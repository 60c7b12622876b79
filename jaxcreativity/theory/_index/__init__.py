"""Posterior means of cost independent of the number of keys, each with its standard error.

A posterior over n keys is summed near the query exactly and elsewhere by draws. Which keys are near each other says a
tree (`tree`) of equal cells (`cells`), which are drawn by what they weigh, about (`draws`); their keys are weighed in a
few coordinates, and one is drawn from each (`weighing`). `estimation` adds up near cells and draws.
`build` makes cells, `keeping` finds them again. Its users are `theory.empirical` (keys are images) and `theory.patches` (keys
are patches).
"""

from jaxcreativity.theory._index.cells import Cells
from jaxcreativity.theory._index.estimation import Estimate, Keys, checked_budget, estimate
from jaxcreativity.theory._index.tree import Tree

__all__ = ["Cells", "Estimate", "Keys", "Tree", "checked_budget", "estimate"]
