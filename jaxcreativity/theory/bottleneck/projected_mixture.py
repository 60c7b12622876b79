"""The posterior mean under a Gaussian mixture, given a linear code."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.distributions import GaussianMixture
from jaxcreativity.theory.bottleneck.projections import check_projection, flatten


@_pytree.dataclass
class MixtureProjectedDenoiser:
    """The posterior mean under a Gaussian mixture, given only the code of the noisy example:

        D(y, sigma) = sum_k r_k (mu_k + C_k W^T (W C_k W^T + sigma^2 I)^-1 W (y - mu_k)),
        r = softmax_k(log weights_k + log N(W y; W mu_k, W C_k W^T + sigma^2 I))

    A code covariance that is singular at `sigma = 0` is raised by a few rounding units.

    Args:
        weights: `(k,)`, positive, summing to one.
        means: `(k, *shape)`.
        covariances: `(k, d, d)`, `d` the entries of one example; symmetric positive semi-definite.
        projection: W, `(r, d)` with orthonormal rows, `r < d` (`orthonormalise`).

    Raises:
        ValueError: for the parameters that `distributions.GaussianMixture` rejects, and if the projection has
            another shape, as many rows as columns or rows that are not orthonormal.

    Example:
        >>> import jax.numpy as jnp
        >>> covariance = jnp.asarray([[[1.0, 0.5], [0.5, 1.0]]])
        >>> denoiser = MixtureProjectedDenoiser(jnp.ones(1), jnp.zeros((1, 2)), covariance, jnp.asarray([[1.0, 0.0]]))
        >>> [round(float(x), 3) for x in denoiser(jnp.asarray([2.0, 7.0]), 1.0)]
        [1.0, 0.5]
    """

    weights: Real[ArrayLike, " k"]
    means: Real[ArrayLike, "k *shape"]
    covariances: Real[ArrayLike, "k d d"]
    projection: Float[ArrayLike, "r d"]

    def __post_init__(self):
        mixture = GaussianMixture(self.weights, self.means, self.covariances)
        for name in ("weights", "means", "covariances"):
            object.__setattr__(self, name, getattr(mixture, name))
        object.__setattr__(self, "projection", check_projection(self.projection, self.means[0].size))

    @property
    def codes(self) -> GaussianMixture:
        """Law of the code W x: the projected mixture."""
        means, covariances, _ = self._project(self.means.dtype)
        return GaussianMixture(self.weights, means, 0.5 * (covariances + covariances.swapaxes(1, 2)))

    def __call__(self, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `W y`.

        Raises:
            ValueError: if `y` is not floating point or has another shape, or `sigma` is negative or NaN.
        """
        y = _checks.example("y", y, self.means.shape[1:])
        sigma = _checks.noise_level(sigma)
        means, covariances, cross = self._project(y.dtype)
        r = means.shape[1]
        rounding = 8 * jnp.finfo(y.dtype).eps * jnp.trace(covariances, axis1=1, axis2=2)
        floor = rounding + jnp.finfo(y.dtype).tiny ** 0.5
        variance = jnp.maximum(jnp.square(jnp.asarray(sigma, y.dtype)), jax.lax.stop_gradient(floor))
        noisy = covariances + variance[:, None, None] * jnp.eye(r, dtype=y.dtype)[None]
        u = dot(self.projection.astype(y.dtype), y.ravel())[None] - means
        # Inverted here, not solved with u: a batch of examples then shares the factors, and costs matrix products only.
        root = jnp.linalg.cholesky(noisy)
        eye = jnp.broadcast_to(jnp.eye(r, dtype=y.dtype)[None], root.shape)
        whiten = jax.scipy.linalg.solve_triangular(root, eye, lower=True)
        white = dot(whiten, u[..., None])[..., 0]
        shift = dot(dot(cross, whiten.swapaxes(1, 2)), white[..., None])[..., 0]
        log_determinant = jnp.sum(jnp.log(jnp.diagonal(root, axis1=1, axis2=2)), axis=1)
        log_density = -0.5 * jnp.sum(jnp.square(white), axis=1) - log_determinant
        probabilities = jax.nn.softmax(jnp.log(self.weights.astype(y.dtype)) + log_density)
        return dot(probabilities, flatten(self.means.astype(y.dtype)) + shift).reshape(y.shape)

    def _project(self, dtype):
        """`W mu_k`, `W C_k W^T` and `C_k W^T`."""
        projection = self.projection.astype(dtype)
        cross = jnp.matmul(self.covariances.astype(dtype), projection.T, precision="highest")
        covariances = jnp.einsum("rd,kds->krs", projection, cross, precision="highest")
        return dot(flatten(self.means.astype(dtype)), projection.T), covariances, cross
