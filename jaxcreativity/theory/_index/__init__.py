"""Posterior means of cost independent of the number of keys, each with its standard error.

A posterior over n keys is summed near the query exactly and elsewhere by draws. Which keys are near is looked up in a
tree of equal cells (`tree`, `cells`); `estimation` adds up whole cells, draws of the cells around them, and draws of all
others. Its users are `theory.empirical` (keys are images) and `theory.patches` (keys are patches).
"""

from jaxcreativity.theory._index.cells import Cells, Draws
from jaxcreativity.theory._index.estimation import Estimate, Keys, estimate
from jaxcreativity.theory._index.tree import Tree

__all__ = ["Cells", "Draws", "Estimate", "Keys", "Tree", "estimate"]
