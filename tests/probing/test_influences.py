"""Influence of training images: the linearisation against leaving images out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcreativity import data, probing, sampling, schedules
from jaxcreativity.theory import linear
from jaxcreativity.theory.bottleneck.prototypes import PrototypeDenoiser
from jaxcreativity.theory.patches import LocalDenoiser

# Ends where the empirical denoiser still mixes images: a copy of one has no influences to speak of.
MIXED = schedules.grid(schedules.log_linear(0.3, 10.0), 6)
GRID = schedules.grid(schedules.log_linear(0.05, 10.0), 10)


def test_leaving_out_the_most_influential_images():
    """500 digits, 10 of them left out, linear theory: the sample moves as the linearisation says, and far."""
    n, removed = 500, 10
    x = jnp.asarray(data.load("digits").train[:n], float)
    z = jax.random.normal(jax.random.key(0), x.shape[1:])
    theory = lambda w: linear.fit(x, "full", weights=w)  # noqa: E731
    effects = jax.jit(lambda z: probing.influence(theory, z, GRID, n))(z)
    np.testing.assert_allclose(effects.sum(0), 0.0, atol=1e-9)
    generate = jax.jit(lambda w: sampling.sample(theory(w), z, GRID))

    def change(indices):
        kept = np.ones(n)
        kept[indices] = 0.0
        return np.asarray(generate(jnp.asarray(kept)) - generate(jnp.ones(n)))

    # The most influential on one number: along the direction in which the images' influences differ most.
    flat = np.asarray(effects).reshape(n, -1)
    direction = np.linalg.svd(flat)[2][0]
    along = flat @ direction
    strongest = np.argsort(-along * np.sign(along[np.abs(along).argmax()]))[:removed]
    actual, predicted = change(strongest), -np.asarray(effects)[strongest].sum(0)
    assert np.corrcoef(actual.ravel(), predicted.ravel())[0, 1] > 0.9
    np.testing.assert_allclose(np.linalg.norm(actual), np.linalg.norm(predicted), rtol=0.2)
    rng = np.random.default_rng(0)
    at_random = [np.linalg.norm(change(rng.choice(n, removed, replace=False))) for _ in range(20)]
    ratio = np.linalg.norm(actual) / np.median(at_random)
    assert ratio > 5, ratio


THEORIES = {
    "linear": lambda x, w: linear.fit(x, "full", weights=w),
    "empirical": lambda x, w: PrototypeDenoiser(x, jnp.log(w)),
    "LS": lambda x, w: LocalDenoiser(x, 3, equivariant=False, boundary="zero", weights=w),
    "ELS": lambda x, w: LocalDenoiser(x, 3, equivariant=True, boundary="broken", weights=w),
}


@pytest.mark.parametrize("name", [*list(THEORIES)[:3], pytest.param("ELS", marks=pytest.mark.slow)])
def test_scalar_measure_and_finite_differences(digits, name):
    x = jnp.asarray(digits[:40, 2:6, 2:6])
    z = jax.random.normal(jax.random.key(1), x.shape[1:])
    theory = lambda w: THEORIES[name](x, w)  # noqa: E731
    measure = lambda sample: jnp.sum(sample[1] ** 2)  # noqa: E731
    effects = jax.jit(lambda z: probing.influence(theory, z, MIXED, 40, measure=measure))(z)
    value = jax.jit(lambda w: measure(sampling.sample(theory(w), z, MIXED)))
    np.testing.assert_allclose(effects.sum(), 0.0, atol=1e-9)  # only ratios of weights matter
    for i in np.argsort(-np.abs(effects))[:2]:
        ends = [value(jnp.ones(40).at[i].add(e)) for e in (1e-5, -1e-5)]
        np.testing.assert_allclose(effects[i], (ends[0] - ends[1]) / 2e-5, rtol=1e-5, atol=1e-9)
