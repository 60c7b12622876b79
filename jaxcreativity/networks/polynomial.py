"""Trainable polynomial denoisers: the counterparts of `theory.polynomial`, with one readout per noise level.

The closed forms: docs/theory/polynomial.md.
"""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcreativity import _checks
from jaxcreativity._numerics import hermite
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.networks._levels import parameter_at


class PolynomialReadout(nn.Module):
    """Linear readout `sum_a theta_a He_a(y)` of Hermite features of the scaled input; counterpart of one basis.

    `basis="pixel"`: He_0 ... He_p of each entry, with weights of its own. `"joint"`: all He_a of total degree up to p
    of all entries. `"patch"`: those of the k x k patch around a pixel (circular), the same weights for every pixel.
    The input that `networks.bind` scales has about unit variance, so He_a / sqrt(a!) is well conditioned. Weights start
    at zero. Where the polynomial overflows the output is infinite or NaN, which the sampler reports as diverged.

    Attributes:
        levels: the noise levels that have weights of their own, e.g. `tuple(grid[:-1].tolist())`.
        degree: p, at least 1.
        basis: `"pixel"`, `"joint"` or `"patch"`.
        kernel_size: odd side of the patch; `"patch"` only.
    """

    levels: tuple[float, ...]
    degree: int = 2
    basis: Literal["pixel", "joint", "patch"] = "pixel"
    kernel_size: int | None = None

    @nn.compact
    def __call__(self, y: Float[Array, "*shape"], sigma: NoiseLevel) -> Float[Array, "*shape"]:
        """Apply the polynomial of the level nearest to `sigma` to one scaled example.

        Raises:
            ValueError: for an unknown basis, a degree below 1, and a `kernel_size` that does not go with the basis or
                the example.
        """
        _checks.choice("basis", self.basis, ("pixel", "joint", "patch"))
        _checks.positive_int("degree", self.degree)
        if (self.kernel_size is not None) != (self.basis == "patch"):
            raise ValueError(f"kernel_size goes with basis 'patch' only, got {self.basis!r} and {self.kernel_size}")
        if self.basis == "pixel":
            features, outputs = self._features(y.reshape(-1, 1)), 1
            theta = parameter_at(self, "kernel", (y.size, features.shape[1]), sigma, y.dtype)
            return jnp.sum(theta * features, axis=1).reshape(y.shape)
        if self.basis == "patch":
            if y.ndim != 3:
                raise ValueError(f"basis 'patch' needs an image (height, width, channels), got shape {y.shape}")
            _checks.odd_size("kernel_size", self.kernel_size, min(y.shape[:2]))
        outputs = y.size if self.basis == "joint" else y.shape[2]
        features = self._features(hermite.patches(y[None], self.kernel_size)[0])
        theta = parameter_at(self, "kernel", (features.shape[1], outputs), sigma, y.dtype)
        return jnp.matmul(features, theta).reshape(y.shape)

    def _features(self, rows):
        d = rows.shape[1]
        features = hermite.hermite_features(rows, jnp.ones(d, rows.dtype), self.degree)
        return features / jnp.asarray(hermite.norms(d, self.degree), rows.dtype)[None]
