"""Agreement of theory and network: the same image from the same noise.

Two measures per pair of images (p, t), reported side by side because they answer different questions:

| measure | formula                                  | is 1 for           | does not see            |
|---------|------------------------------------------|--------------------|-------------------------|
| Pearson | <p - mean p, t - mean t> / (their norms) | p = s t + c, s > 0 | contrast and brightness |
| R^2     | 1 - |t - p|^2 / |t - mean t|^2           | p = t              |                         |

R^2 is the coefficient of determination, *not* the square of Pearson's correlation: a prediction of half the
contrast (same mean) has Pearson 1 and R^2 = 3/4, a negative image Pearson -1 and R^2 = -3. R^2 <= Pearson^2
always. The published "r^2" of Kamb & Ganguli (2025; medians 0.94 to 0.96) are Pearson correlations of
mean-centred images.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcreativity import _checks, _pytree
from jaxcreativity.metrics import summary

# Below this many rounding units of an image's largest entry, its differences are taken to be rounding.
_ROUNDING_UNITS = 4


@_pytree.dataclass
class Agreement:
    """Agreement of `n` pairs of images; made by `agreement`.

    Args:
        pearson: correlation of each pair, in [-1, 1].
        r_squared: coefficient of determination of each pair, at most 1.
    """

    pearson: Float[Array, " n"]
    r_squared: Float[Array, " n"]

    @property
    def pearson_quartiles(self) -> Float[Array, "3"]:
        """Lower quartile, median, upper quartile over the pairs."""
        return summary.quartiles(self.pearson)

    @property
    def r_squared_quartiles(self) -> Float[Array, "3"]:
        """Lower quartile, median, upper quartile over the pairs."""
        return summary.quartiles(self.r_squared)

    def summary(self) -> dict[str, float | int]:
        """Return `count` and the named quartiles of `pearson` and `r_squared`: plain numbers for JSON."""
        return {
            "count": self.pearson.shape[0],
            **summary.named_quartiles("pearson", self.pearson),
            **summary.named_quartiles("r_squared", self.r_squared),
        }


def pearson(a: Shaped[ArrayLike, "..."], b: Shaped[ArrayLike, "..."]) -> Float[Array, ""]:
    """Correlation of two images over all their entries, each image centred on its own mean:

        sum (a - mean a)(b - mean b) / sqrt(sum (a - mean a)^2 sum (b - mean b)^2)

    Never NaN for finite input: with a constant image (to within rounding, 4 units in the last place) the
    result is 0, or 1 if both are constant and equal; the derivative is 0 there, and finite everywhere.

    Args:
        a: one image of any shape (all its channels are centred together); batch with `jax.vmap`.
        b: another, of the same shape.

    Raises:
        ValueError: if the shapes differ, an image is empty, integer, or has NaN or infinite entries.
    """
    return _pearson(*_pair("a", a, "b", b))


def r_squared(prediction: Shaped[ArrayLike, "..."], target: Shaped[ArrayLike, "..."]) -> Float[Array, ""]:
    """Coefficient of determination of one image, the share of the target's variance that is explained:

        1 - sum (target - prediction)^2 / sum (target - mean target)^2

    1 if they are equal, 0 for the target's own mean, negative without bound for worse. Not symmetric, not
    invariant under a change of the prediction's contrast or brightness, and not the square of `pearson`.

    Never NaN for finite input: for a constant target (to within rounding, 4 units in the last place) the
    result is 1 if the prediction equals it and 0 otherwise (scikit-learn's convention), and errors so large
    that their squares overflow count as the largest that do not.

    Args:
        prediction: one image of any shape; batch with `jax.vmap`.
        target: the image to be explained, of the same shape.

    Raises:
        ValueError: if the shapes differ, an image is empty, integer, or has NaN or infinite entries.
    """
    return _r_squared(*_pair("prediction", prediction, "target", target))


def agreement(prediction: Shaped[ArrayLike, "n ..."], target: Shaped[ArrayLike, "m ..."]) -> Agreement:
    """Pearson correlation and R^2 of each pair of images, e.g. closed form and network on shared noise.

    Images of one data set resemble each other, so pairs that do *not* share their noise agree to some degree,
    too: `agreement(prediction, jnp.roll(target, 1, axis=0))` is the floor to read the result against.

    Args:
        prediction: `(n, *shape)`, e.g. the closed form's samples.
        target: `(n, *shape)`, e.g. the trained network's samples from the same noise, in the same order.

    Raises:
        ValueError: if the shapes differ, there are no images, or images are integer, NaN or infinite.

    Example:
        >>> import jax, jaxcreativity as jc
        >>> target = jax.random.normal(jax.random.key(0), (8, 4, 4, 1))
        >>> found = jc.metrics.agreement(0.5 * target, target)  # half the contrast
        >>> [round(float(found.pearson_quartiles[1]), 3), round(float(found.r_squared_quartiles[1]), 2)]
        [1.0, 0.74]
    """
    prediction = _checks.examples("prediction", prediction)
    target = _checks.examples("target", target)
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction and target must have the same shape (n, *shape), one pair per noise vector, "
            f"got {prediction.shape} and {target.shape}"
        )
    dtype = jnp.result_type(prediction, target)
    return _agreement(prediction.astype(dtype), target.astype(dtype))


@jax.jit
def _pearson(a, b):
    u, scale_a = _deviations(a)
    v, scale_b = _deviations(b)
    flat_a, flat_b = scale_a == 0, scale_b == 0
    # Guarded before the root: its derivative at 0 is infinite.
    norm_a = jnp.sqrt(jnp.where(flat_a, 1.0, jnp.sum(jnp.square(u))))
    norm_b = jnp.sqrt(jnp.where(flat_b, 1.0, jnp.sum(jnp.square(v))))
    correlation = jnp.clip(jnp.sum(u * v) / (norm_a * norm_b), -1.0, 1.0)
    return jnp.where(flat_a & flat_b & _equal(a, b), 1.0, correlation)


@jax.jit
def _r_squared(prediction, target):
    deviation, scale = _deviations(target)
    flat = scale == 0
    largest = (jnp.finfo(target.dtype).max / (8 * target.size)) ** 0.5
    error = (0.5 * target - 0.5 * prediction) / jnp.where(flat, 1.0, scale)
    error = jnp.clip(error, -largest, largest)
    variance = jnp.where(flat, 1.0, jnp.sum(jnp.square(deviation)))
    explained = 1 - jnp.sum(jnp.square(error)) / variance
    return jnp.where(flat, _equal(prediction, target).astype(explained.dtype), explained)


@jax.jit
def _agreement(prediction, target):
    return Agreement(jax.vmap(_pearson)(prediction, target), jax.vmap(_r_squared)(prediction, target))


def _pair(name_a, a, name_b, b):
    a, b = _checks.example(name_a, a), _checks.example(name_b, b)
    if a.shape != b.shape:
        raise ValueError(f"{name_a} and {name_b} must have the same shape, got {a.shape} and {b.shape}")
    if a.size == 0:
        raise ValueError(f"{name_a} and {name_b} must not be empty, got shape {a.shape}")
    for name, image in ((name_a, a), (name_b, b)):
        if not _checks.is_finite(image):
            raise ValueError(f"{name} has NaN or infinite entries; leave such samples out and count them")
    dtype = jnp.result_type(a, b)
    return a.astype(dtype), b.astype(dtype)


def _deviations(image) -> tuple[Array, Array]:
    """`(half the image - its mean) / scale`, and `scale`, its largest difference: 0 if it is constant.

    Differences to the first entry are exact for a constant image, which those to a rounded mean are not; the
    half and the scale keep large finite entries from overflowing. Shift and scale need no derivative: what is
    made of the result does not depend on them.
    """
    half = 0.5 * image.ravel()
    first = jax.lax.stop_gradient(half[0])
    scale = jnp.max(jnp.abs(jax.lax.stop_gradient(half) - first))
    rounding = _ROUNDING_UNITS * jnp.finfo(half.dtype).eps * jnp.max(jnp.abs(jax.lax.stop_gradient(half)))
    scale = jnp.where(scale > rounding, scale, 0.0)
    u = jnp.where(scale > 0, half - first, 0.0) / jnp.where(scale > 0, scale, 1.0)
    return u - jnp.mean(u), scale


def _equal(a, b):
    """Whether two images agree to within rounding."""
    largest = jnp.maximum(jnp.max(jnp.abs(0.5 * a)), jnp.max(jnp.abs(0.5 * b)))
    return jnp.max(jnp.abs(0.5 * a - 0.5 * b)) <= _ROUNDING_UNITS * jnp.finfo(a.dtype).eps * largest
