"""Any affine denoiser, a trained one too: the exact law of what it generates.

With `D(y, s) = A_s y + b_s` every state of the sampler is Gaussian. One step of `sampling` carries its moments to

    m' = F m + (1 - c) b,   C' = F C F^T + tau^2 I,   F = (1 - c) A + c I,

from `m = 0`, `C = sigmas[0]^2 I` (theory section 2).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics.levels import nearest_level
from jaxcreativity.denoiser import Denoiser, NoiseLevel, Scalar
from jaxcreativity.distributions.gaussian import Gaussian
from jaxcreativity.sampling import step_coefficients


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
        """Estimate `x` from `y`."""
        y = _checks.example("y", y, self.shape)
        matrix, bias = self.at(sigma)
        estimate = jnp.matmul(matrix, y.ravel(), precision="highest") + bias
        return estimate.reshape(y.shape).astype(y.dtype)

    def at(self, sigma: NoiseLevel) -> tuple[Float[Array, "d d"], Float[Array, " d"]]:
        """`(A, b)` at the level nearest to `sigma`."""
        level = nearest_level(self.levels, sigma)
        return self.matrices[level], self.biases[level]


def from_denoiser(denoiser: Denoiser, sigmas: Float[ArrayLike, " levels"], shape: tuple[int, ...]) -> AffineDenoiser:
    """Read `A_k` and `b_k` off an affine denoiser (a trained linear network, say) at every level of a grid.

    `b = D(0)`, `A = dD/dy` at 0; both are then compared with the denoiser at a random point.

    Args:
        denoiser: callable on one example.
        sigmas: noise grid (the final 0 is left out).
        shape: shape of one example.

    Raises:
        ValueError: if the denoiser is not affine (checked outside traced code).
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


def generated(denoiser: AffineDenoiser, sigmas: Float[ArrayLike, " levels"], eta: Scalar) -> Gaussian:
    """The law that `sampling.sample` generates with an affine denoiser (this module's recursion)."""
    sigmas = _checks.noise_grid(sigmas).astype(denoiser.biases.dtype)
    d = denoiser.biases.shape[1]
    eye = jnp.eye(d, dtype=denoiser.biases.dtype)

    def step(moments, levels):
        mean, covariance = moments
        c, tau = step_coefficients(*levels, eta)
        matrix, bias = denoiser.at(levels[0])
        F = (1 - c) * matrix + c * eye
        mean = jnp.matmul(F, mean, precision="highest") + (1 - c) * bias
        covariance = jnp.linalg.multi_dot([F, covariance, F.T], precision="highest") + tau**2 * eye
        return (mean, covariance), None

    start = (jnp.zeros_like(denoiser.biases[0]), sigmas[0] ** 2 * eye)
    (mean, covariance), _ = jax.lax.scan(step, start, (sigmas[:-1], sigmas[1:]))
    return Gaussian(mean, 0.5 * (covariance + covariance.T))
