"""Feature spaces, in which sets of images are compared: callables `images (n, h, w, c) -> (n, d)` with a `name`.

| space                          | d         | needs                                                             |
|--------------------------------|-----------|-------------------------------------------------------------------|
| `pixels()`                     | h w c     | nothing                                                           |
| `pca(train, rank)`             | rank      | training images                                                   |
| `classifier(images, ...)`      | 64        | labels, and a minute or a few                                     |
| `inception(weights)`           | 2048      | the user's weights, and PyTorch                                   |

Any other such callable will do, too (`Features` is the type, `name_of` its name for a table). `Pixels`, `PCA`,
`Classifier`, `ClassifierFeatures` and `Inception` are what the four return, or hold.
"""

from typing import TYPE_CHECKING, Any

from jaxcreativity.metrics.features.spaces import PCA, Features, Inception, Pixels, inception, name_of, pca, pixels

if TYPE_CHECKING:
    from jaxcreativity.metrics.features.classification import Classifier, ClassifierFeatures
    from jaxcreativity.metrics.features.classification import fit as classifier

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

# Loaded when first used: the classifier needs Flax and Optax, nothing else here does.
_OF_THE_CLASSIFIER = {"Classifier": "Classifier", "ClassifierFeatures": "ClassifierFeatures", "classifier": "fit"}


def __getattr__(name: str) -> Any:
    if name in _OF_THE_CLASSIFIER:
        from jaxcreativity.metrics.features import classification

        return getattr(classification, _OF_THE_CLASSIFIER[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
