"""Mixtures of Gaussians in any number of dimensions."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Real

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics import spectral
from jaxcreativity._numerics.arithmetic import dot, safe_sqrt
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.distributions._parameters import check_one_dimensional, check_order, check_weights, set_floats


@_pytree.dataclass
class GaussianMixture:
    """`sum_k weights[k] N(means[k], covariances[k])`.

    Args:
        weights: `(k,)`, positive, summing to one.
        means: `(k, *shape)`.
        covariances: `(k, d, d)`, `d` the size of one example; symmetric positive semi-definite.

    Raises:
        ValueError: if shapes do not fit, weights are no probabilities, or a covariance is not positive semi-definite.

    Example:
        >>> import jax.numpy as jnp
        >>> law = GaussianMixture(jnp.ones(2) / 2, jnp.asarray([[-1.0], [1.0]]), jnp.ones((2, 1, 1)) / 4)
        >>> print(law.moments(4), law.denoiser()(jnp.zeros(1), 0.5))
        [1.     0.     1.25   0.     2.6875] [0.]
    """

    weights: Real[ArrayLike, " k"]
    means: Real[ArrayLike, "k *shape"]
    covariances: Real[ArrayLike, "k d d"]

    def __post_init__(self):
        set_floats(self, "weights", "means", "covariances")
        check_weights(self.weights, self.means, "means")
        d = self.means[0].size
        if self.covariances.shape != (self.weights.size, d, d):
            raise ValueError(
                f"covariances must have shape {(self.weights.size, d, d)} for means of shape {self.means.shape}, "
                f"got {self.covariances.shape}"
            )
        if _checks.is_concrete(self.covariances):
            matrices = np.asarray(self.covariances, np.float64)
            if not np.isfinite(matrices).all():
                raise ValueError("covariances must be finite, but have NaN or infinite entries")
            # What rounding in the caller's dtype may do to a valid covariance.
            slack = 10 * d * float(jnp.finfo(self.covariances.dtype).eps) * np.abs(matrices).max(axis=(1, 2))
            lopsided = np.abs(matrices - matrices.swapaxes(1, 2)).max(axis=(1, 2)) > slack
            negative = np.linalg.eigvalsh(matrices)[:, 0] < -slack
            if lopsided.any() or negative.any():
                bad = np.flatnonzero(lopsided | negative).tolist()
                raise ValueError(f"covariances must be symmetric positive semi-definite; those at {bad} are not")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.means.shape[1:]

    @property
    def mean(self) -> Float[Array, " d"]:
        """`sum_k w_k mu_k`."""
        return dot(self.weights, self._flat_means)

    @property
    def covariance(self) -> Float[Array, "d d"]:
        """`sum_k w_k (C_k + (mu_k - mu)(mu_k - mu)^T)`."""
        spread = self._flat_means - self.mean[None]
        within = jnp.tensordot(self.weights, self.covariances, axes=1, precision="highest")
        return within + dot(spread.T * self.weights[None], spread)

    def moments(self, order: int) -> Float[Array, " {order}+1"]:
        """Raw moments `E[x**k]`, k = 0 to `order`, in one dimension: `m_k = mu m_{k-1} + (k - 1) v m_{k-2}` each.

        Raises:
            ValueError: if `order` is no whole number of at least 0, or examples have more than one entry.
        """
        check_one_dimensional(self.shape)
        mu, variance = self._flat_means[:, 0], self.covariances[:, 0, 0]
        each = [jnp.ones_like(mu), mu]
        for k in range(2, check_order(order) + 1):
            each.append(mu * each[-1] + (k - 1) * variance * each[-2])
        return dot(jnp.stack(each[: order + 1]), self.weights)

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n *shape"]:
        """Draw `n` independent examples."""
        key_component, key_noise = jax.random.split(key)
        component = jax.random.categorical(key_component, jnp.log(self.weights), shape=(n,))
        noise = jax.random.normal(key_noise, (n, self._flat_means.shape[1]), self.means.dtype)
        root = spectral.apply(safe_sqrt, spectral.decompose(self.covariances), (), self._identities)
        # One matrix product per component and a choice: the roots of all n chosen components would be n d^2 numbers.
        coloured = jnp.einsum("nd,ked->kne", noise, root, precision="highest")
        chosen = jnp.take_along_axis(coloured, component[None, :, None], axis=0)[0]
        return (self._flat_means[component] + chosen).reshape(n, *self.shape)

    def log_prob(self, x: Float[Array, "*shape"]) -> Float[Array, ""]:
        """Log-density at one example, in nats; the covariances must not be singular.

        Raises:
            ValueError: if `x` is not floating point or has another shape.
        """
        return self.denoiser().log_prob(x, 0.0)

    def denoiser(self) -> "GaussianMixtureDenoiser":
        """The Bayes-optimal denoiser; the covariances are decomposed here, once."""
        spectrum = spectral.decompose(0.5 * (self.covariances + self.covariances.swapaxes(1, 2)))
        # d lambda_i = u_i^T dC u_i: the eigenvalues with their derivative, which `decompose` cuts.
        rotated = jnp.matmul(spectrum.matrix, spectrum.vectors, precision="highest")
        diagonal = jnp.sum(spectrum.vectors * rotated, axis=1)
        eigenvalues = spectrum.values + diagonal - jax.lax.stop_gradient(diagonal)
        return GaussianMixtureDenoiser(self.weights, self.means, spectrum, eigenvalues)

    @property
    def _flat_means(self):
        return self.means.reshape(self.means.shape[0], -1)

    @property
    def _identities(self):
        return jnp.broadcast_to(
            jnp.eye(self.covariances.shape[1], dtype=self.means.dtype)[None], self.covariances.shape
        )


@_pytree.dataclass
class GaussianMixtureDenoiser:
    """`sum_k r_k(y) (mu_k + C_k (C_k + sigma^2 I)^-1 (y - mu_k))`, `r_k` the posterior probability of component `k`.

    The posterior mean under a Gaussian mixture; made by `GaussianMixture.denoiser`.

    Args:
        weights: `(k,)`.
        means: `(k, *shape)`.
        spectrum: eigendecompositions of the covariances.
        eigenvalues: `(k, d)`, those of `spectrum`, with their derivative with respect to the covariances.
    """

    weights: Float[Array, " k"]
    means: Float[Array, "k *shape"]
    spectrum: spectral.Eigendecomposition
    eigenvalues: Float[Array, "k d"]

    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `y`.

        Raises:
            ValueError: if `y` is not floating point or has another shape, or `sigma` is negative or NaN.
        """
        # With a singular covariance the limit of no noise is that of a variance which does not underflow.
        least = jnp.finfo(jnp.result_type(y)).tiny ** 0.25
        u, variance, spectrum, log_joint = self._terms(y, sigma, least)
        probabilities = _softmax(log_joint)
        means = self.means.reshape(u.shape).astype(u.dtype)
        estimates = means + spectral.apply(spectral.wiener_gain, spectrum, (variance,), u)
        return dot(probabilities, estimates).reshape(self.means.shape[1:])

    def log_prob(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, ""]:
        """Log-density of `y = x + sigma * noise`, in nats.

        Raises:
            ValueError: if `y` is not floating point or has another shape, or `sigma` is negative or NaN.
        """
        return jax.nn.logsumexp(self._terms(y, sigma)[-1])

    def _terms(self, y, sigma, least=0.0):
        y = _checks.example("y", y, self.means.shape[1:])
        sigma = _checks.noise_level(sigma)
        weights, means, spectrum, eigenvalues = jax.tree.map(lambda leaf: leaf.astype(y.dtype), _leaves(self))
        variance = jnp.square(jnp.maximum(jnp.asarray(sigma, y.dtype), least))
        u = y.reshape(1, -1) - means.reshape(means.shape[0], -1)
        squares = jnp.sum(u * spectral.apply(_inverse, spectrum, (variance,), u), axis=1)
        log_determinants = jnp.sum(jnp.log(2 * jnp.pi * (eigenvalues + variance)), axis=1)
        return u, variance, spectrum, jnp.log(weights) - 0.5 * squares - 0.5 * log_determinants


def _leaves(denoiser):
    return denoiser.weights, denoiser.means, denoiser.spectrum, denoiser.eigenvalues


def _softmax(log_weights):
    shifted = log_weights - jax.lax.stop_gradient(log_weights.max())
    # Compiled, the subtraction may be fused with what made its operands and exceed 0 by their rounding: cut there, by
    # `where`, because the derivative of `minimum` at a tie, which the largest weight is, is one half.
    weights = jnp.exp(jnp.where(shifted > 0, 0.0, shifted))
    return weights / weights.sum()


def _inverse(values, variance):
    return 1 / (values + variance)
