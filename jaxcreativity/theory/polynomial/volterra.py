"""Polynomials of many coordinates jointly: of a whole small image, or of a patch (a Volterra filter).

In the principal coordinates u of the data, each divided by a scale s_i, the noisy vector is v = u + r * eps with
r_i = sigma / s_i. The features are the multivariate Hermite polynomials `He_a(v; r^2) = prod_i He_{a_i}(v_i; r_i^2)`
of total degree up to p, for which (docs/theory/polynomial.md)

    E[He_a(v) | u] = u^a,    E[eps_j He_a(v)] = r_j a_j E[u^(a - e_j)],
    E[He_a He_b] = sum_k sigma^(2k) G_k[a, b],    G_0[a, b] = E[u^(a + b)],
    G_k[a, b] = 1/k sum_i (a_i b_i / s_i^2) G_{k-1}[a - e_i, b - e_i].

The Gram matrix of every noise level is therefore one matrix polynomial in sigma^2, made from one pass over the data.
Source: Volterra (1930); Schetzen, *The Volterra and Wiener Theories of Nonlinear Systems* (1980).
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics.arithmetic import dot
from jaxcreativity._numerics.hermite import MultiIndices, hermite_features, multi_indices, num_features, patches
from jaxcreativity._numerics.levels import LevelTable
from jaxcreativity.denoiser import NoiseLevel

# A Gram matrix of this many features takes 0.8 GB in float64, and there are p + 1 of them.
MAX_FEATURES = 10_000
_CHUNK_ENTRIES = 2**24


@_pytree.dataclass
class VolterraDenoiser:
    """The best denoiser among polynomials of total degree p of all entries, or of the patch around each pixel.

    Made by `polynomial.fit` with basis `"joint"` or `"patch"`. Without a `table`, a call solves the normal equations of
    its noise level; `polynomial.tabulate` does so once for a grid, and keeps the coefficients only.

    Args:
        mean: of the patch (of the whole example, flattened, for `"joint"`).
        vectors: principal directions of the patch.
        scales: s_i.
        outputs: rows of `vectors` for the entries that are estimated.
        output_mean: of those entries.
        output_variance: of those entries.
        gram: G_k, k = 0 ... p; `None` if there is a table.
        signal: `E[(x_o - mean_o) u^a]`; `None` if there is a table.
        noise: `E[eps_o He_a] / sigma`; `None` if there is a table.
        table: `(f, o)` coefficients of some noise levels.
        degree: p.
        shape: of one example.
        kernel_size: k, `None` for `"joint"`.
    """

    mean: Float[Array, " m"]
    vectors: Float[Array, "m m"]
    scales: Float[Array, " m"]
    outputs: Float[Array, "o m"]
    output_mean: Float[Array, " o"]
    output_variance: Float[Array, " o"]
    gram: Float[Array, "orders f f"] | None
    signal: Float[Array, "f o"] | None
    noise: Float[Array, "f o"] | None
    table: LevelTable | None
    degree: int = _pytree.static()
    shape: tuple[int, ...] = _pytree.static()
    kernel_size: int | None = _pytree.static()

    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Estimate `x` from `y`; infinite, never NaN, where the polynomial overflows.

        Raises:
            ValueError: if `y` is not one floating-point example of the shape of those that were fitted, or `sigma` is
                negative or NaN.
        """
        y = _checks.example("y", y, self.shape)
        sigma = _checks.noise_level(sigma)
        dtype = self.scales.dtype
        sigma = jnp.asarray(sigma, dtype)
        level, coefficients = self.at(sigma)
        observed = patches(y[None], self.kernel_size)[0].astype(dtype)  # (positions, m)
        infinite = ~jnp.isfinite(observed).all(axis=1)
        v = jnp.where(infinite[:, None], 0.0, observed - self.mean[None])
        v = dot(v, self.vectors) / self.scales[None]
        features = hermite_features(v, (level / self.scales) ** 2, self.degree)
        features = features / _feature_size(level, self.scales, self.degree)[None]
        value = dot(features, coefficients)
        centres = y.reshape(value.shape).astype(dtype)
        by_noise = self._by_noise(level)[None]
        value = jnp.where(by_noise, centres - level * value, self.output_mean[None] + value)
        value = jnp.where(infinite[:, None] | ~jnp.isfinite(value), jnp.inf, value)
        value = jnp.where(jnp.isfinite(centres), value, centres)
        return value.reshape(y.shape).astype(y.dtype)

    def at(self, sigma: NoiseLevel) -> tuple[Float[Array, ""], Float[Array, "f o"]]:
        """The noise level that is used for `sigma`, and the coefficients of the (scaled) features."""
        if self.table is None:
            return jnp.asarray(sigma), self.solve(sigma)
        return self.table.level(sigma), self.table.at(sigma)

    def solve(self, sigma: NoiseLevel) -> Float[Array, "f o"]:
        """Solve the normal equations of one noise level, for features of unit variance."""
        size = _feature_size(sigma, self.scales, self.degree)
        gram = sum(self.gram[k] * sigma ** (2 * k) for k in range(self.degree + 1))
        gram = gram / (size[:, None] * size[None, :])
        # Unit diagonal; then the least change that lets the factorisation of a matrix of this size succeed.
        diagonal = jnp.sqrt(jnp.diagonal(gram))
        diagonal = jnp.where(diagonal > 0, diagonal, 1.0)  # what is constant has no variance without noise
        scaled = gram / (diagonal[:, None] * diagonal[None, :])
        jitter = 4 * gram.shape[0] * jnp.finfo(gram.dtype).eps
        factor = jax.scipy.linalg.cho_factor(scaled + jitter * jnp.eye(gram.shape[0], dtype=gram.dtype), lower=True)
        by_noise = self._by_noise(sigma)[None]
        right = jnp.where(by_noise, sigma * self.noise, self.signal) / (size * diagonal)[:, None]
        return jax.scipy.linalg.cho_solve(factor, right) / diagonal[:, None]

    def _by_noise(self, sigma):
        # Below sigma = standard deviation the noise is what is estimated: its error is multiplied by sigma.
        return sigma**2 < self.output_variance


@partial(jax.jit, static_argnames=("degree", "kernel_size"))
def fit(x: Float[Array, "n *shape"], degree: int, kernel_size: int | None) -> VolterraDenoiser:
    """Moments of the data up to order 2p, of all entries (`kernel_size=None`) or of all patches (circular).

    Args:
        x: examples.
        degree: p.
        kernel_size: k, or `None`.

    Raises:
        ValueError: for more than `MAX_FEATURES` features.
    """
    shape = x.shape[1:]
    m = kernel_size**2 * shape[2] if kernel_size else math.prod(shape)
    indices = _indices_or_error(m, degree, kernel_size, x.dtype)
    positions = shape[0] * shape[1] if kernel_size else 1
    chunk = max(1, _CHUNK_ENTRIES // (positions * indices.count))
    axes = (0, 1, 2) if kernel_size else 0
    centre_mean = x.mean(axis=axes, keepdims=True)
    centre_mean = centre_mean + (x - centre_mean).mean(axis=axes, keepdims=True)
    centred = x - centre_mean
    count = x.shape[0] * positions
    covariance = _sum_over_chunks(_outer, centred, chunk, kernel_size) / count
    values, vectors = jnp.linalg.eigh(covariance)
    # Any scale of the order of the standard deviation does; the floor keeps r = sigma / s within range.
    scales = jnp.sqrt(jnp.maximum(values, 1e-4 * values[-1]))
    scales = jnp.where(values[-1] > 0, scales, 1.0)
    centre = np.arange(m) if not kernel_size else (kernel_size**2 // 2) * shape[2] + np.arange(shape[2])
    outputs = vectors[centre]

    def second_moment(patch_rows):
        u = dot(patch_rows, vectors) / scales[None]
        features = hermite_features(u, jnp.zeros_like(scales), degree)
        return dot(features.T, features)

    moments = _sum_over_chunks(second_moment, centred, chunk, kernel_size) / count
    gram = [moments]
    weight = jnp.asarray(indices.power, x.dtype) / scales[:, None]
    for k in range(1, degree + 1):
        block = gram[-1][indices.lowered[:, :, None], indices.lowered[:, None, :]]
        block = block * weight[:, :, None] * weight[:, None, :] / k
        gram.append(jnp.zeros_like(moments).at[indices.index[:, :, None], indices.index[:, None, :]].add(block))
    # Feature 1 + i is u_i itself, so E[(x_o - mean_o) u^a] = sum_i outputs[o, i] s_i E[u_i u^a].
    signal = dot(moments[:, 1 : m + 1], (outputs * scales[None]).T)
    derivative = jnp.zeros_like(moments[:, 1 : m + 1])
    column = np.broadcast_to(np.arange(m)[:, None], indices.index.shape)
    derivative = derivative.at[indices.index, column].add(weight * moments[0, indices.lowered])
    noise = dot(derivative, outputs.T)
    mean = jnp.tile(centre_mean.ravel(), kernel_size**2 if kernel_size else 1)
    return VolterraDenoiser(
        mean=mean,
        vectors=vectors,
        scales=scales,
        outputs=outputs,
        output_mean=mean[centre],
        output_variance=jnp.diagonal(covariance)[centre],
        gram=jnp.stack(gram),
        signal=signal,
        noise=noise,
        table=None,
        degree=degree,
        shape=tuple(shape),
        kernel_size=kernel_size,
    )


def tabulate(denoiser: VolterraDenoiser, sigmas: Float[Array, " levels"]) -> VolterraDenoiser:
    """The same denoiser with the coefficients of every positive level of a grid, without its Gram matrices.

    Raises:
        ValueError: if that was done before.
    """
    levels = sigmas[:-1].astype(denoiser.scales.dtype)
    if denoiser.gram is None:
        raise ValueError("this denoiser was tabulated already and no longer holds its moments; tabulate the fitted one")
    table = LevelTable(levels, _solve_all(denoiser, levels))
    fields = {name: getattr(denoiser, name) for name in VolterraDenoiser.__dataclass_fields__}
    return VolterraDenoiser(**{**fields, "gram": None, "signal": None, "noise": None, "table": table})


def _indices_or_error(m, degree, kernel_size, dtype) -> MultiIndices:
    count = num_features(m, degree)
    if count > MAX_FEATURES:
        memory = (degree + 1) * count**2 * jnp.dtype(dtype).itemsize / 2**30
        what = f"a {kernel_size} x {kernel_size} patch" if kernel_size else f"{m} entries jointly"
        raise ValueError(
            f"degree {degree} polynomials of {what} have {count:,} features, whose moment matrices take "
            f"{memory:,.1f} GiB (limit: {MAX_FEATURES:,} features); lower the degree, use smaller images or patches, "
            "or basis 'pca'"
        )
    return multi_indices(m, degree)


def _feature_size(sigma, scales, degree):
    """Standard deviation of He_a for a Gaussian of unit variance plus noise, `prod_i (1 + r_i^2)^(a_i / 2)`."""
    per_coordinate = jnp.sqrt(1 + (sigma / scales) ** 2)
    return hermite_features(per_coordinate[None], jnp.zeros_like(scales), degree)[0]


@jax.jit
def _solve_all(denoiser, levels):
    return jax.lax.map(denoiser.solve, levels)


def _outer(rows):
    return dot(rows.T, rows)


def _sum_over_chunks(function, x, chunk, kernel_size):
    """Sum of `function(rows)` over all patches of all examples, `chunk` examples at a time."""
    whole = x.shape[0] // chunk * chunk

    def rows_of(examples):
        stacked = patches(examples, kernel_size)
        return stacked.reshape(-1, stacked.shape[-1])

    def add(total, examples):
        return total + function(rows_of(examples)), None

    rest = function(rows_of(x[whole:])) if whole < x.shape[0] else 0.0
    if not whole:
        return rest
    blocks = x[:whole].reshape(-1, chunk, *x.shape[1:])
    first = jax.eval_shape(lambda e: function(rows_of(e)), blocks[0])
    return jax.lax.scan(add, jnp.zeros(first.shape, first.dtype), blocks)[0] + rest
