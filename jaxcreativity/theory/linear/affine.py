"""Any affine denoiser, a trained one too: one matrix and one bias for each noise level (docs/theory/linear.md)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity._numerics.levels import LevelTable
from jaxcreativity.denoiser import Denoiser, NoiseLevel


@_pytree.dataclass
class AffineDenoiser:
    """`D(y, sigma) = A_k y + b_k`, `k` the level nearest to `sigma` in ratio.

    Args:
        levels: `(levels,)`, positive noise levels.
        matrices: `(levels, d, d)`, acting on flattened examples.
        biases: `(levels, d)`.
        shape: shape of one example, of `d` entries.

    Raises:
        ValueError: if the shapes do not fit.
    """

    levels: Float[ArrayLike, " levels"]
    matrices: Float[ArrayLike, "levels d d"]
    biases: Float[ArrayLike, "levels d"]
    shape: tuple[int, ...] = _pytree.static()

    def __post_init__(self):
        for name in ("levels", "matrices", "biases"):
            object.__setattr__(self, name, jnp.asarray(getattr(self, name)))
        n, d = self.levels.shape[0], int(np.prod(self.shape))
        if self.matrices.shape != (n, d, d) or self.biases.shape != (n, d):
            raise ValueError(
                f"for {n} levels and examples of shape {self.shape} need matrices {(n, d, d)} and biases {(n, d)}, "
                f"got {self.matrices.shape} and {self.biases.shape}"
            )

    def __call__(self, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `y`.

        Raises:
            ValueError: if `y` is not one floating-point example of this shape, or `sigma` is negative or NaN.
        """
        y = _checks.example("y", y, self.shape)
        matrix, bias = self.at(sigma)
        estimate = dot(matrix, y.ravel()) + bias
        return estimate.reshape(y.shape).astype(y.dtype)

    def at(self, sigma: NoiseLevel) -> tuple[Float[Array, "d d"], Float[Array, " d"]]:
        """`(A, b)` at the level nearest to `sigma`.

        Raises:
            ValueError: if `sigma` is known to be negative or NaN.
        """
        return LevelTable(self.levels, (self.matrices, self.biases)).at(_checks.noise_level(sigma))


def from_denoiser(denoiser: Denoiser, sigmas: Float[ArrayLike, " levels"], shape: tuple[int, ...]) -> AffineDenoiser:
    """Read `A_k` and `b_k` off an affine denoiser (a trained linear network, say) at every level of a grid.

    `b = D(0)`, `A = dD/dy` at 0; both are then compared with the denoiser at a random point.

    Args:
        denoiser: callable on one example.
        sigmas: noise grid (the final 0 is left out).
        shape: shape of one example.

    Raises:
        ValueError: for a bad grid, or if the denoiser is not affine (checked outside traced code).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcreativity.theory import linear
        >>> read = linear.from_denoiser(lambda y, sigma: y / (1 + sigma**2), jnp.array([2.0, 1.0, 0.0]), (2,))
        >>> print(read.matrices[1])
        [[0.5 0. ]
         [0.  0.5]]
    """
    levels = _checks.noise_grid(sigmas)[:-1]
    zero = jnp.zeros(shape, levels.dtype)
    d = zero.size
    read = jax.vmap(lambda s: (jax.jacfwd(denoiser)(zero, s).reshape(d, d), denoiser(zero, s).ravel()))
    matrices, biases = read(levels)
    affine = AffineDenoiser(levels, matrices, biases, tuple(shape))

    # A point of the size that the sampler meets at each level.
    probe = jax.random.normal(jax.random.key(0), (levels.size, *shape), levels.dtype)
    probe = probe * jnp.sqrt(1 + levels**2).reshape(-1, *[1] * len(shape))
    got, expected = jax.vmap(denoiser)(probe, levels), jax.vmap(affine)(probe, levels)
    got, expected = _checks.known(got), _checks.known(expected)
    if got is not None and expected is not None:
        eps = float(jnp.finfo(levels.dtype).eps)
        error = np.abs(got - expected).max() / (np.abs(expected).max() + np.abs(probe).max() * eps)
        if not error < np.sqrt(eps):
            raise ValueError(f"the denoiser is not affine in y: it departs from A y + b by {error:.1e} of its size")
    return affine
