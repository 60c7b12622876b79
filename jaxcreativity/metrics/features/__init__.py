"""Feature spaces, in which sets of images are compared; the table is in `spaces`."""

from jaxcreativity.metrics.features.classification import Classifier, ClassifierFeatures
from jaxcreativity.metrics.features.classification import fit as classifier
from jaxcreativity.metrics.features.spaces import PCA, Features, Inception, Pixels, inception, name_of, pca, pixels

__all__ = [
    "PCA",
    "Classifier",
    "ClassifierFeatures",
    "Features",
    "Inception",
    "Pixels",
    "classifier",
    "inception",
    "name_of",
    "pca",
    "pixels",
]
