"""One-dimensional targets: six laws, atoms with a mixture's moments, and coordinates of images."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.polynomial.settings import Config
from jaxcreativity import distributions
from jaxcreativity.theory import polynomial


def make_targets(config: Config, images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Training examples of every one-dimensional target, each `(num_targets,)` of mean 0 and variance 1."""
    n = config.num_targets
    keys = jax.random.split(jax.random.key(config.seed), 8)
    mixture = distributions.GaussianMixture(
        np.array([0.6, 0.4]), np.array([[-1.0], [1.2]]), np.array([[[0.09]], [[0.16]]])
    )
    mixed = np.asarray(mixture.sample(keys[0], n), np.float64)[:, 0]
    mixed = (mixed - mixed.mean()) / mixed.std()
    with jax.enable_x64(True):
        points, weights = polynomial.gauss_nodes(jnp.asarray([(mixed**k).mean() for k in range(7)]), 3)
    counts = np.diff(np.round(np.concatenate([[0.0], np.cumsum(np.asarray(weights))]) * n).astype(int))
    # Moment matching needs the atoms where they are; their mean and variance are right already.
    matched = {"mixture": mixed, "its three Gauss atoms": np.repeat(np.asarray(points), counts)}
    targets = {
        "Laplace": distributions.Laplace(1.0).sample(keys[1], n)[:, 0],
        "exponential": distributions.Exponential(1.0).sample(keys[2], n)[:, 0],
        "uniform": distributions.Uniform(-1.0, 1.0).sample(keys[3], n)[:, 0],
        "two atoms": distributions.Atoms(np.array([[-1.0], [1.0]])).sample(keys[4], n)[:, 0],
        "two atoms, 4 : 1": distributions.Atoms(np.array([[0.0], [1.0]]), np.array([0.8, 0.2])).sample(keys[5], n)[
            :, 0
        ],
    }
    for dataset, x in images.items():
        targets |= _coordinates(dataset, x, n, config.seed)
    return matched | {name: _standardised(np.asarray(x, np.float64)) for name, x in targets.items()}


def _coordinates(dataset: str, x: np.ndarray, n: int, seed: int) -> dict[str, np.ndarray]:
    """The pixel of largest variance and the first two principal coordinates, of images chosen at random."""
    flat = x.reshape(len(x), -1).astype(np.float64)
    centred = flat - flat.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    chosen = np.resize(np.random.default_rng(seed).permutation(len(flat)), n)
    pixel = int(flat.var(axis=0).argmax())
    components = {f"{dataset}, component {k}": centred[chosen] @ directions[:, -k] for k in (1, 2)}
    return {f"{dataset}, pixel {pixel}": flat[chosen, pixel]} | components


def _standardised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / x.std()
