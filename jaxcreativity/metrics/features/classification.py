"""A small classifier, trained on the images' own labels: its last hidden layer is a feature space of that data set."""

from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, Shaped

from jaxcreativity import _checks, _pytree, training
from jaxcreativity.networks._convolution import convolution

# Images evaluated at once.
_BATCH = 256


class Classifier(nn.Module):
    """Three convolutions, two of them with stride 2, a hidden layer whose output are the features, and logits.

    Attributes:
        num_classes: logits.
        num_features: units of the hidden layer.
        width: channels of the first convolution; the others have twice as many.
    """

    num_classes: int
    num_features: int = 64
    width: int = 32

    @nn.compact
    def __call__(self, images: Float[Array, "n h w c"]) -> tuple[Float[Array, "n classes"], Float[Array, "n d"]]:
        """Logits and features of a batch of images."""
        h = nn.silu(convolution(self.width, 3, "zero")(images))
        for _ in range(2):
            h = nn.silu(convolution(2 * self.width, 3, "zero", strides=(2, 2))(h))
        # Smooth units: of rectified ones some never fire, and a feature that is always 0 says nothing.
        features = nn.silu(nn.Dense(self.num_features)(h.reshape(h.shape[0], -1)))
        return nn.Dense(self.num_classes)(features), features


@_pytree.dataclass
class ClassifierFeatures:
    """Images -> features of a trained classifier, with the accuracy it reached; made by `fit`.

    Features are divided by `scale`, the root of their mean variance over the training images: their units mean nothing,
    and the kernel of the KID depends on them.

    Attributes:
        params: of the classifier.
        scale: what its features are divided by.
        module: the classifier.
        train_accuracy: share of the training images that it classifies rightly.
        test_accuracy: the same of the images held out.
        image_shape: `(height, width, channels)`.
    """

    params: dict
    scale: Float[Array, ""]
    module: Classifier = _pytree.static()
    train_accuracy: float = _pytree.static()
    test_accuracy: float = _pytree.static()
    image_shape: tuple[int, ...] = _pytree.static()

    @property
    def name(self) -> str:
        """What the features are, for a table."""
        return f"classifier ({self.module.num_features} features, test accuracy {self.test_accuracy:.3f})"

    def __call__(self, images: Shaped[ArrayLike, "n h w c"]) -> Float[Array, "n d"]:
        """Features of images, a batch at a time.

        Raises:
            ValueError: if the images differ in shape from those that the classifier was trained on.
        """
        images = _checks.examples("images", images, ndim=4)
        if images.shape[1:] != self.image_shape:
            raise ValueError(f"the classifier was trained on images {self.image_shape}, got {images.shape[1:]}")
        return _evaluate(self.module, self.params, images)[1] / self.scale


def fit(
    images: Shaped[ArrayLike, "n h w c"],
    labels: Shaped[ArrayLike, " n"],
    test_images: Shaped[ArrayLike, "m h w c"],
    test_labels: Shaped[ArrayLike, " m"],
    *,
    key: PRNGKeyArray,
    num_features: int = 64,
    width: int = 32,
    num_steps: int = 1500,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    checkpoint_folder: str | Path | None = None,
    checkpoint_every: int | None = None,
    progress: bool = True,
) -> ClassifierFeatures:
    """Train `Classifier` with the cross-entropy, Adam and a cosine schedule, and measure its accuracy.

    The random numbers of a step depend on `key` and the step alone, so that a run that was killed and resumed ends at
    the same parameters.

    Args:
        images: training images.
        labels: their classes, integers from 0 on.
        test_images: images held out, for the accuracy that is reported.
        test_labels: their classes.
        key: random key for initial parameters and batches.
        num_features: length of the feature vectors.
        width: channels of the first convolution.
        num_steps: optimiser steps.
        batch_size: images per step.
        learning_rate: peak of the schedule (5 % warm-up, cosine decay to 0).
        checkpoint_folder: where to save and resume; nothing is saved if not given.
        checkpoint_every: steps between checkpoints, a tenth of the run by default.
        progress: whether to show a progress bar.

    Raises:
        ValueError: for images or labels that do not fit, settings below 1, and for a checkpoint folder that is
            damaged, belongs to another configuration or package version, or is in use.
        OSError: if the disk of the checkpoint folder is full.
        FloatingPointError: if the loss becomes infinite or NaN.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxcreativity.metrics import features
        >>> labels = jnp.arange(20) % 2
        >>> images = jnp.broadcast_to(labels.reshape(20, 1, 1, 1), (20, 6, 6, 1)).astype(jnp.float32)
        >>> network = features.classification.fit(
        ...     images, labels, images, labels, key=jax.random.key(0), num_features=4, width=2, num_steps=5,
        ...     progress=False,
        ... )
        >>> network(images).shape
        (20, 4)
    """
    images, labels = _labelled("images", images, "labels", labels)
    test_images, test_labels = _labelled("test_images", test_images, "test_labels", test_labels)
    if test_images.shape[1:] != images.shape[1:]:
        raise ValueError(f"test_images must have images of shape {images.shape[1:]}, got {test_images.shape[1:]}")
    settings = {
        "num_features": num_features, "width": width, "num_steps": num_steps, "batch_size": batch_size,
        "checkpoint_every": checkpoint_every or max(1, num_steps // 10),
    }  # fmt: skip
    for name, value in settings.items():
        _checks.positive_int(name, value)
    num_classes = int(labels.max()) + 1
    if num_classes < 2:
        raise ValueError("labels has one class; a classifier needs at least 2")

    module = Classifier(num_classes, num_features, width)
    optimizer = optax.adam(training.warmup_cosine(learning_rate, num_steps))
    init_key, data_key = jax.random.split(key)
    params = jax.jit(module.init)(init_key, images[:1])["params"]
    state = training.TrainState(jnp.zeros((), jnp.int32), params, None, optimizer.init(params))
    identity = settings | {"module": repr(module), "learning_rate": learning_rate}
    state = training.loop(
        partial(_step, module, optimizer, batch_size), state, x=(images, labels), key=data_key, num_steps=num_steps,
        label="classifier", progress=progress, checkpoint_folder=checkpoint_folder,
        checkpoint_every=settings["checkpoint_every"], identity=identity,
    )  # fmt: skip
    logits, features = _evaluate(module, state.params, images)
    return ClassifierFeatures(
        state.params, jnp.sqrt(features.var(axis=0).mean()), module, _accuracy(logits, labels),
        _accuracy(_evaluate(module, state.params, test_images)[0], test_labels), images.shape[1:],
    )  # fmt: skip


def _step(module, optimizer, batch_size, state, data, key):
    """One optimiser step; `(state, loss)`."""
    images, labels = data
    chosen = jax.random.randint(jax.random.fold_in(key, state.step), (batch_size,), 0, images.shape[0])

    def loss_of(params):
        logits, _ = module.apply({"params": params}, images[chosen])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels[chosen]).mean()

    loss, gradient = jax.value_and_grad(loss_of)(state.params)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    return training.TrainState(state.step + 1, optax.apply_updates(state.params, updates), None, opt_state), loss


@partial(jax.jit, static_argnums=0)
def _apply(module, params, images):
    return module.apply({"params": params}, images)


def _evaluate(module, params, images):
    """Logits and features, a batch at a time; the last batch is moved back to end with the images."""
    n = images.shape[0]
    batch = min(n, _BATCH)
    parts = []
    for start in range(0, n, batch):
        first = min(start, n - batch)
        out = _apply(module, params, images[first : first + batch])
        parts.append(tuple(x[start - first :] for x in out))
    return tuple(jnp.concatenate(x) for x in zip(*parts, strict=True))


def _accuracy(logits, labels) -> float:
    return float(jnp.mean(logits.argmax(axis=1) == labels))


def _labelled(name, images, labels_name, labels) -> tuple[Float[Array, "n h w c"], Int[Array, " n"]]:
    images = _checks.examples(name, images, ndim=4)
    if labels is None:
        raise ValueError(f"{labels_name} is None: this data set has no labels; use features.pca or features.pixels")
    labels = np.asarray(labels)
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(
            f"{labels_name} must be {images.shape[0]} integers of at least 0, one per image, "
            f"got {labels.dtype} {labels.shape}"
        )
    return images, jnp.asarray(labels, jnp.int32)
