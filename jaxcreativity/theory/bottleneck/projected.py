"""Posterior means given a linear code, the manifold that they lie on, and the law generated there."""

from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity._numerics.posterior import posterior_mean
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.distributions import Atoms, GaussianMixture


@_pytree.dataclass
class ProjectedDenoiser:
    """The posterior mean over a training set, given only the code of the noisy example:

        D(y, sigma) = sum_i w_i x_i,   w = softmax_i(-|W (y - x_i)|^2 / (2 sigma^2))

    Equal codes are averaged, so images that occur more than once count as often as they occur. Which image is nearest
    is told apart down to gaps between codes of about `eps |x|`: with thousands of images and one code number, float32
    does not resolve all of them.

    Args:
        data: `(n, *shape)`, floating point.
        projection: W, `(r, d)` with orthonormal rows, `r < d`, `d` the entries of one example (`orthonormalise`).
        chunk_size: largest number of images compared at once (all by default).

    Raises:
        ValueError: if the data are empty, not floating point or not finite, the projection has another shape, as many
            rows as columns or rows that are not orthonormal, or `chunk_size < 1`.
    """

    data: Float[ArrayLike, "n *shape"]
    projection: Float[ArrayLike, "r d"]
    chunk_size: int | None = _pytree.static(default=None)

    def __post_init__(self):
        object.__setattr__(self, "data", _checks.examples("data", self.data))
        object.__setattr__(self, "projection", _check_projection(self.projection, self.data[0].size))
        if self.chunk_size is not None:
            _checks.positive_int("chunk_size", self.chunk_size)

    @property
    def codes(self) -> Atoms:
        """Law of the code W x: an atom for every image."""
        return Atoms(dot(flatten(self.data), self.projection.T.astype(self.data.dtype)))

    def __call__(self, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `W y`."""
        y = _checks.example("y", y, self.data.shape[1:])
        data, projection = flatten(self.data.astype(y.dtype)), self.projection.astype(y.dtype)
        # Codes count from the middle of the data, for smaller numbers; the middle cancels.
        middle = jax.lax.stop_gradient(data.mean(axis=0))
        codes = dot(data - middle[None], projection.T)
        code = dot(projection, y.ravel() - middle)

        mean = posterior_mean(code, codes, sigma, values=data, chunk_size=self.chunk_size)
        return mean.reshape(y.shape)


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
        ValueError: for the parameters that `data.synthetic.GaussianMixture` rejects, and if the projection has
            another shape, as many rows as columns or rows that are not orthonormal.
    """

    weights: Real[ArrayLike, " k"]
    means: Real[ArrayLike, "k *shape"]
    covariances: Real[ArrayLike, "k d d"]
    projection: Float[ArrayLike, "r d"]

    def __post_init__(self):
        mixture = GaussianMixture(self.weights, self.means, self.covariances)
        for name in ("weights", "means", "covariances"):
            object.__setattr__(self, name, getattr(mixture, name))
        object.__setattr__(self, "projection", _check_projection(self.projection, self.means[0].size))

    @property
    def codes(self) -> GaussianMixture:
        """Law of the code W x: the projected mixture."""
        means, covariances, _ = self._project(self.means.dtype)
        return GaussianMixture(self.weights, means, 0.5 * (covariances + covariances.swapaxes(1, 2)))

    def __call__(self, y: Float[ArrayLike, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `W y`."""
        y = _checks.example("y", y, self.means.shape[1:])
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


Projected: TypeAlias = ProjectedDenoiser | MixtureProjectedDenoiser


def regression_manifold(denoiser: Projected, z: Float[ArrayLike, " r"]) -> Float[Array, "*shape"]:
    """`E[x | W x = z]`, the example that the many-step limit generates where the code is `z`.

    Of a training set, the image whose code is nearest to `z`.

    Args:
        denoiser: one of the two projected denoisers.
        z: code `(r,)`; batch with `jax.vmap`.

    Raises:
        ValueError: if `z` is not floating point or has another shape.
    """
    z = _checks.example("z", z, denoiser.projection.shape[:1])
    shape = denoiser.data.shape[1:] if isinstance(denoiser, ProjectedDenoiser) else denoiser.means.shape[1:]
    # Orthonormal rows: this y has the code z.
    return denoiser(dot(denoiser.projection.T.astype(z.dtype), z).reshape(shape), 0.0)


@_pytree.dataclass
class ManifoldLaw:
    """What a projected denoiser generates in the limit of many steps; made by `generated_limit`."""

    denoiser: Projected
    codes: Atoms | GaussianMixture

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n *shape"]:
        """Draw `n` independent examples: `E[x | W x = z]` at `z` drawn from the law of `W x`."""
        return jax.vmap(partial(regression_manifold, self.denoiser))(self.codes.sample(key, n))

    def log_prob(self, z: Float[ArrayLike, " r"]) -> Float[Array, ""]:
        """Log-density of the generated example's code, in nats; for a training set the log-probability of an atom."""
        return self.codes.log_prob(_checks.example("z", z, self.codes.shape))


def generated_limit(denoiser: Projected) -> ManifoldLaw:
    """The law generated by infinitely many deterministic steps from infinite noise to none.

    `E[x | W x = z]` with `z` of the law of `W x`: this module's docstring.
    """
    return ManifoldLaw(denoiser, denoiser.codes)


def orthonormalise(projection: Float[ArrayLike, "r d"]) -> Float[Array, "r d"]:
    """Orthonormal rows with the same span (QR), each turned to the side of the row that it comes from.

    Raises:
        ValueError: if `projection` is not a floating-point `(r, d)` with `r <= d`, or its rows are linearly dependent.
    """
    projection = _checks.examples("projection", projection, ndim=2)
    r, d = projection.shape
    if r > d:
        raise ValueError(f"projection (r, d) must have at most as many rows as columns, got {projection.shape}")
    q, triangle = jnp.linalg.qr(projection.T)
    diagonal = jnp.diagonal(triangle)
    known = _checks.known(diagonal)
    if known is not None and np.abs(known).min() <= d * np.finfo(known.dtype).eps * np.abs(projection).max():
        raise ValueError(f"projection has linearly dependent rows (diagonal of R: {known}); leave some out")
    return (q * jnp.where(diagonal < 0, -1.0, 1.0).astype(q.dtype)[None]).T


def _check_projection(projection, d):
    projection = jnp.asarray(projection)
    if projection.ndim != 2 or projection.shape[1] != d or not jnp.issubdtype(projection.dtype, jnp.floating):
        raise ValueError(
            f"projection must be floating point (r, {d}), one column per entry of an example, got {projection.dtype} "
            f"{projection.shape}"
        )
    r = projection.shape[0]
    if not 1 <= r < d:
        raise ValueError(f"projection must have at least 1 row and fewer than {d}, the entries of an example; got {r}")
    known = _checks.known(projection)
    if known is not None:
        known = known.astype(np.float64)
        error = np.abs(known @ known.T - np.eye(r)).max()
        if not error <= jnp.finfo(projection.dtype).eps ** 0.5:
            raise ValueError(
                f"projection must have orthonormal rows, but W W^T differs from I by up to {error:.3g}; pass "
                "orthonormalise(projection) to use the space that its rows span"
            )
    return projection


def flatten(x: Float[Array, "n *shape"]) -> Float[Array, "n d"]:
    """Examples as rows."""
    return x.reshape(x.shape[0], -1)
