"""Images to train on and images held out, scaled to [-1, 1]: `load(name_or_path) -> Dataset`.

| `load(...)`                          | images             | size             | from                                                        |
|--------------------------------------|--------------------|------------------|-------------------------------------------------------------|
| `"digits"`                           | 1 797, labelled    | 8x8x1            | scikit-learn: the test part of the UCI optical digits       |
| `"natural_patches"`                  | 12 071             | 16x16x1          | tiles of photographs in scikit-learn and scikit-image       |
| `"faces"`                            | 100                | 25x25x1          | scikit-image: part of Labeled Faces in the Wild             |
| `"mnist"`, `"cifar10"`, `"celeb_a"`  | 60 000, 50 000, ... | 28x28x1, 32x32x3 | TensorFlow Datasets, each with its own licence              |
| `"path/to/folder"`                   | the image files    | `image_size`     | you                                                         |
| `"images.npz"`, `"images.npy"`       | the array's        | any              | you                                                         |

The first three come inside other packages, which state their licences, and need no network. Pillow, scikit-learn,
scikit-image and TensorFlow Datasets are imported when a set needs them.
"""

from jaxcreativity.data.loading import Dataset, load

__all__ = ["Dataset", "load"]
