"""Every law that the tests of this folder share, and programs that they share."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxcreativity import distributions

SIGMAS = (1e-4, 1e-2, 0.1, 0.7, 3.0, 40.0, 1e3)


def _covariances(dtype=np.float64):
    return np.array([[[0.5, 0.2], [0.2, 0.3]], [[0.1, -0.05], [-0.05, 0.4]]], dtype)


TARGETS = {
    "laplace": lambda t: distributions.Laplace(t(0.7), t(0.4)),
    "exponential": lambda t: distributions.Exponential(t(1.6)),
    "uniform": lambda t: distributions.Uniform(t(-0.5), t(2.0)),
    "mixture_1d": lambda t: distributions.GaussianMixture(
        np.array([0.3, 0.7], t), np.array([[-1.0], [0.8]], t), np.array([[[0.2]], [[0.5]]], t)
    ),
    "atoms_1d": lambda t: distributions.Atoms(np.array([[-1.0], [0.5]], t), np.array([0.25, 0.75], t)),
    "mixture_2d": lambda t: distributions.GaussianMixture(
        np.array([0.4, 0.6], t), np.array([[1.0, 0.0], [-0.5, 0.7]], t), _covariances(t)
    ),
    "atoms_image": lambda t: distributions.Atoms(np.linspace(-1, 1, 3 * 2 * 2).reshape(3, 2, 2, 1).astype(t)),
    "ring": lambda t: distributions.Ring(t(1.3), t(0.2)),
    "texture": lambda t: distributions.Texture.power_law(4, 5, t(1.5), t(0.8)),
}
ONE_DIMENSIONAL = [name for name in TARGETS if name in ("laplace", "exponential", "uniform") or name.endswith("1d")]
WITH_DENSITY = [name for name in TARGETS if not name.startswith("atoms")]

every_target = pytest.mark.parametrize("name", TARGETS)
one_dimensional = pytest.mark.parametrize("name", ONE_DIMENSIONAL)


def make(name, dtype=np.float64):
    return TARGETS[name](dtype)


@jax.jit
def denoise(denoiser, y, sigma):
    return denoiser(y, sigma)


@partial(jax.jit, static_argnums=2)
def draw(target, key, n):
    return target.sample(key, n)


@jax.jit
def log_prob(target, x):
    return target.log_prob(x)


log_prob_batch = jax.jit(jax.vmap(log_prob, in_axes=(None, 0)))
denoise_batch = jax.jit(jax.vmap(denoise, in_axes=(None, 0, None)))
