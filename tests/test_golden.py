"""Samplers, schedules, densities and training give the numbers on file (denoisers: `test_contract.py`)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcreativity as jc
from tests import golden

X = np.random.default_rng(0).standard_normal((12, 3)) @ [[1.0, 0.5, 0.0], [0.0, 0.4, 0.3], [0.0, 0.0, 0.2]] + 0.5
Z = np.random.default_rng(1).standard_normal((4, 3))
GRID = jc.schedules.karras(0.05, 20.0)


def _samples(**options):
    grid = jc.schedules.grid(GRID, 6)
    return jc.generate(jc.theory.empirical.EmpiricalDenoiser(jnp.asarray(X)), jnp.asarray(Z), grid, **options)


def _densities():
    grid, denoiser = jc.schedules.grid(GRID, 6), jc.theory.linear.fit(jnp.asarray(X), "full")
    return jax.vmap(lambda z: jc.log_density(denoiser, z, grid)[1])(jnp.asarray(Z))


def _trained():
    module, grid = jc.networks.MLP(width=8, depth=1), jc.schedules.grid(GRID, 3)
    options = {"num_steps": 5, "batch_size": 4, "steps_per_dispatch": 5, "progress": False}
    network = jc.training.fit(module, jnp.asarray(X), grid, key=jax.random.key(0), **options)
    return jax.vmap(network, (0, None))(jnp.asarray(Z), 0.7)


COMPUTED = {
    "ddim": _samples,
    "ancestral": lambda: _samples(eta=1.0, key=jax.random.key(2)),
    "heun": lambda: _samples(method="heun"),
    "log density": _densities,
    "trained MLP": _trained,
    **{
        name: lambda schedule=schedule: jc.schedules.grid(schedule, 9)
        for name, schedule in {
            "cosine": jc.schedules.cosine(),
            "linear beta": jc.schedules.linear_beta(),
            "karras": GRID,
            "log linear": jc.schedules.log_linear(0.02, 80.0),
        }.items()
    },
}


@pytest.mark.parametrize("name", COMPUTED)
def test_numbers_are_those_on_file(name):
    parameters_are_float32 = name == "trained MLP"
    golden.check(name, COMPUTED[name](), rtol=1e-5 if parameters_are_float32 else 1e-8)
