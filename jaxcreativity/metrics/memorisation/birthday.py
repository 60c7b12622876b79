"""How many different images can a model generate? The birthday test.

Among m samples of a law on N equally likely images, `m (m - 1) / 2N` pairs are expected to be duplicates. Their number
C therefore estimates the size of the support,

    N_eff = m (m - 1) / 2C,

in general 1 / P(two samples are duplicates). A model that copies its training set has N_eff near the number of
training images; a new image does not come twice. Source: Arora, Risteski & Zhang (2018).
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Int, Shaped

from jaxcreativity import _checks, _pytree
from jaxcreativity.metrics import summary
from jaxcreativity.metrics._images import check_pair, first_occurrences
from jaxcreativity.metrics.memorisation._near_duplicates import near_duplicates
from jaxcreativity.metrics.memorisation._search import search_in


@_pytree.dataclass
class Birthday:
    """Duplicates among `m` samples; made by `birthday_test`.

    Args:
        collisions: of how many other samples each sample is a duplicate.
        held_out: the same for the held-out set.
        support_low: lower end of the bootstrap interval of the support size.
        support_high: its upper end.
        tolerance: distance below which two samples are duplicates.
        confidence: level of the interval.
    """

    collisions: Int[Array, " m"]
    held_out: "Birthday | None"
    support_low: float = _pytree.static()
    support_high: float = _pytree.static()
    tolerance: float = _pytree.static()
    confidence: float = _pytree.static()

    @property
    def num_pairs(self) -> int:
        """Number of duplicate pairs, C."""
        return int(self.collisions.sum()) // 2

    @property
    def support_size(self) -> float:
        """`m (m - 1) / 2C`; infinite if there is no duplicate."""
        m = self.collisions.shape[0]
        return m * (m - 1) / 2 / self.num_pairs if self.num_pairs else math.inf

    def summary(self) -> dict[str, float | int | None]:
        """Return plain numbers for JSON, `None` for infinity.

        `count`, `duplicate_pairs`, `support_size`, `support_low`, `support_high`, `tolerance`, `confidence`, and the
        first five again for the held-out set, prefixed with `held_out_`.
        """
        settings = {"tolerance": self.tolerance, "confidence": self.confidence}
        reference = {} if self.held_out is None else self.held_out._measured()
        return self._measured() | settings | {f"held_out_{name}": value for name, value in reference.items()}

    def _measured(self):
        sizes = {"support_size": self.support_size, "support_low": self.support_low, "support_high": self.support_high}
        finite = {name: value if math.isfinite(value) else None for name, value in sizes.items()}
        return {"count": self.collisions.shape[0], "duplicate_pairs": self.num_pairs, **finite}


def birthday_test(
    samples: Shaped[ArrayLike, "m ..."],
    train: Shaped[ArrayLike, "n ..."],
    test: Shaped[ArrayLike, "t ..."] | None = None,
    *,
    threshold: float = 1 / 3,
    tolerance: float | None = None,
    duplicate_fraction: float = 1 / 3,
    confidence: float = 0.95,
    num_resamples: int = 400,
    seed: int = 0,
) -> Birthday:
    """Count duplicates among the samples and estimate how many different images they come from.

    Two samples are duplicates if they are nearer to each other than `tolerance`, by default `threshold` times the
    median distance of a training image to the nearest that is different: no near-duplicate, as in `novelty`
    (`Novelty.neighbour_scale`).

    The interval is the bootstrap's over samples, pairs of one sample with itself left out; without any duplicate it is
    `[pairs / -log(1 - confidence), inf)`, from the Poisson law of no event.

    Looks at values, so not traceable. Memory: `m^2` numbers.

    Args:
        samples: generated images `(m, *shape)`, independent, at least two.
        train: training images `(n, *shape)`, at least two distinct, for the scale.
        test: held-out images, at least two.
        threshold: of the scale, as in the ratio test of `novelty`.
        tolerance: distance below which two samples are duplicates, in the units of the data.
        duplicate_fraction: of the scale, below which training images are near-duplicates, in [0, 1); 0: none are.
        confidence: level of the interval.
        num_resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: for bad or too few images, a threshold outside (0, 1], a tolerance that is not positive,
            `duplicate_fraction` outside [0, 1), `confidence` outside (0, 1), traced arrays.

    Example:
        >>> import numpy as np
        >>> train = np.random.default_rng(0).normal(size=(20, 8))
        >>> drawn = train[np.random.default_rng(1).integers(0, 20, 100)]  # a model that copies its training set
        >>> round(birthday_test(drawn, train).support_size)
        19
    """
    samples, train = check_pair("samples", samples, "train", train)
    _checks.concrete("birthday_test", samples=samples, train=train)
    summary.check_confidence(confidence)
    _checks.positive_int("num_resamples", num_resamples)
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is a ratio of distances in (0, 1], got {threshold}")
    if tolerance is None:
        distinct = train[first_occurrences(train)]
        if len(distinct) < 2:
            raise ValueError("train needs at least 2 distinct images for a scale; pass a tolerance")
        tolerance = threshold * near_duplicates(distinct, search_in(distinct), duplicate_fraction).scale
    if not tolerance > 0:
        raise ValueError(f"tolerance must be a positive distance, got {tolerance}")

    def measure(name, x, held_out):
        x = np.asarray(_checks.examples(name, x, min_count=2), np.float64).reshape(len(x), -1)
        x = x - x.mean(axis=0)
        squares = np.square(x).sum(axis=1)
        pairs = squares[:, None] + squares - 2 * x @ x.T < tolerance**2
        np.fill_diagonal(pairs, False)
        low, high = _interval(pairs, confidence, num_resamples, seed)
        return Birthday(jnp.asarray(pairs.sum(axis=1)), held_out, low, high, float(tolerance), float(confidence))

    reference = None if test is None else measure("test", check_pair("test", test, "train", train)[0], None)
    return measure("samples", samples, reference)


def _interval(pairs, confidence, num_resamples, seed):
    m = len(pairs)
    if not pairs.any():
        return m * (m - 1) / 2 / -math.log(1 - confidence), math.inf
    # Not SciPy's bootstrap: pairs of one sample with itself must be left out.
    counts = np.random.default_rng(seed).multinomial(m, np.full(m, 1 / m), size=num_resamples).astype(float)
    possible = m**2 - np.square(counts).sum(axis=1)
    counts, possible = counts[possible > 0], possible[possible > 0]  # not m times the same sample
    # Quantiles of the probability of a collision, which is finite, then the inverse.
    probabilities = ((counts @ pairs) * counts).sum(axis=1) / possible
    low, high = np.quantile(probabilities, [0.5 - 0.5 * confidence, 0.5 + 0.5 * confidence])
    return float(1 / high) if high else math.inf, float(1 / low) if low else math.inf
