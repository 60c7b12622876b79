"""What the entries of the comparison are made from."""

import dataclasses
from functools import cached_property
from typing import Literal

import jax
import numpy as np

from experiments.compare.settings import Config
from jaxcreativity import distributions


@dataclasses.dataclass(frozen=True)
class Setup:
    """What the entries are made from."""

    config: Config
    x: jax.Array
    test: np.ndarray
    sigmas: jax.Array
    sigma_data: float

    @property
    def levels(self) -> tuple[float, ...]:
        """The positive noise levels."""
        return tuple(np.asarray(self.sigmas[:-1]).tolist())

    def key(self, purpose: Literal["training", "noise", "floor"]) -> jax.Array:
        """A random key for each purpose, the same in every run with this seed."""
        return jax.random.fold_in(jax.random.key(self.config.seed), ("training", "noise", "floor").index(purpose))

    @property
    def gradient_scale(self) -> float:
        """Loss of `training` (a mean over levels and entries) over that of `theory.linear` (per entry and level)."""
        return 1 / (len(self.levels) * self.x[0].size)

    @cached_property
    def largest_curvature(self) -> float:
        """Of the loss of `theory.linear` in a matrix of weights at any noise level, mean square over batches at most.

        With inputs u of mean square 1 per entry, gradient descent on batches of b is stable, in mean square, up to a
        rate of 1 over the largest eigenvalue of E[u u^T] + E|u|^2 / b (here of images, and of less at higher levels).
        """
        x = np.asarray(self.x, np.float64).reshape(len(self.x), -1)
        largest = np.linalg.eigvalsh(x.T @ x / len(x))[-1] / self.sigma_data**2
        return float(largest + x.shape[1] / self.config.batch_size)

    @cached_property
    def z(self) -> jax.Array:
        """The noises that all samplers start from."""
        return jax.random.normal(self.key("noise"), (self.config.num_samples, *self.x.shape[1:]), self.x.dtype)

    @cached_property
    def principal_axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Variances of the data along their principal axes, the largest first, and the axes `(d, d)` in columns."""
        values, axes = np.linalg.eigh(np.asarray(distributions.fit_gaussian(self.x).covariance, np.float64))
        return values[::-1], axes[:, ::-1]
