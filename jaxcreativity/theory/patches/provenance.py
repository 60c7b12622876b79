"""Which training patches the pixels of a patch denoiser's output come from."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from jaxcreativity import _checks, _pytree
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.theory.patches._posterior import refined_posterior
from jaxcreativity.theory.patches.local import LocalDenoiser


@_pytree.dataclass
class Provenance:
    """Sources of every pixel; made by `provenance`.

    Args:
        image: index of the training image with the nearest patch; -1 where not known.
        row: row of that patch's middle in its image.
        column: column of it.
        candidates: effective number of patches, `exp(entropy of the posterior)`; NaN where not known.
    """

    image: Int[Array, "height width"]
    row: Int[Array, "height width"]
    column: Int[Array, "height width"]
    candidates: Float[Array, "height width"]


def provenance(denoiser: LocalDenoiser, y: Float[ArrayLike, "height width channels"], sigma: NoiseLevel) -> Provenance:
    """Where each pixel of an equivariant denoiser's output comes from.

    With the posterior w over patches, `candidates = exp(-sum_j w_j log w_j)`, from `log Z` and its derivative with
    respect to the inverse temperature. The border of a `"broken"` denoiser, which has fewer patches to choose from, is
    left out (docs/theory/patches.md).

    Args:
        denoiser: equivariant.
        y: noisy image.
        sigma: noise level, positive.

    Raises:
        ValueError: if the denoiser is not equivariant or has weights, `y` has another shape, or `sigma` is negative or
            NaN.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcreativity as jc
        >>> x = jax.random.uniform(jax.random.key(0), (8, 6, 6, 1))
        >>> machine = jc.theory.patches.LocalDenoiser(x, 3, equivariant=True, boundary="broken")
        >>> traced = jc.theory.patches.provenance(machine, x[5], 0.01)
        >>> traced.image[3].tolist(), traced.column[3].tolist()
        ([-1, 5, 5, 5, 5, -1], [-1, 1, 2, 3, 4, -1])
    """
    if not denoiser.equivariant:
        raise ValueError("denoiser must be equivariant; a local one takes every pixel from its own position")
    if denoiser.weights is not None:
        raise ValueError("provenance counts patches, each once: leave out the denoiser's weights")
    y = _checks.example("y", y, denoiser.data.shape[1:])
    return _provenance(denoiser, y, _checks.noise_level(sigma))


@jax.jit
def _provenance(denoiser, y, sigma):
    source = denoiser.source(y.dtype)
    queries, keys = denoiser.queries_and_keys()
    if 0 in queries.shape:  # every patch reaches over the border
        nowhere = jnp.full(y.shape[:2], -1, jnp.int32)
        return Provenance(nowhere, nowhere, nowhere, jnp.full(y.shape[:2], jnp.nan, y.dtype))

    def log_weight(inverse):
        # Relative to the smallest energy, which has no derivative: -d/d(1/T) of this is the mean energy above it.
        _, weight, nearest = refined_posterior(source.centred(y), queries, keys, source, 1 / inverse)
        return jnp.log(weight), nearest

    inverse = 1 / (2 * jnp.square(jnp.asarray(sigma, y.dtype)))
    value, slope, nearest = jax.jvp(log_weight, (inverse,), (jnp.ones_like(inverse),), has_aux=True)
    entropy = value - inverse * slope
    place = lambda fill, x: jnp.full(y.shape[:2], fill, x.dtype).at[queries.region].set(x)  # noqa: E731
    top, left = (part.start for part in keys.region)
    return Provenance(
        place(-1, nearest.image), place(-1, nearest.row + top), place(-1, nearest.column + left),
        place(jnp.nan, jnp.exp(entropy)),
    )  # fmt: skip
