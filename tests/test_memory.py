"""Temporary memory of what compares with a training set, by the compiled programs' own account: nothing is computed."""

import jax
import jax.numpy as jnp
import pytest

import jaxcreativity as jc
from jaxcreativity.distributions import Atoms
from jaxcreativity.theory import bottleneck, patches
from jaxcreativity.theory.empirical import EmpiricalDenoiser, smooth

GIB = 2**30
BOUND = 2 * GIB
SHAPE = (32, 32, 3)
SIGMAS = (3.0, 1.0, 0.3, 0.0)


def abstract(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def masked(data, values, vectors):
    return patches.MaskedDenoiser(data, values, vectors, jnp.float32(0.02))


def soft(data, *, equivariant):
    return patches.SoftWindowDenoiser(data, jnp.zeros(1), jnp.ones(1), equivariant)


def local(data, boundary, *, equivariant):
    return patches.LocalDenoiser(data, 7, equivariant=equivariant, boundary=boundary)


CIFAR = abstract(50_000, *SHAPE)
FEW = abstract(5_000, *SHAPE)  # of position by position, more are compared; of all positions, compiling takes as long
LONG = pytest.mark.slow
CASES = [
    pytest.param(lambda: jax.eval_shape(EmpiricalDenoiser, CIFAR), id="empirical"),
    pytest.param(lambda: jax.eval_shape(lambda x: smooth(x, 0.1, key=jax.random.key(0)), CIFAR), id="smoothed"),
    pytest.param(lambda: jax.eval_shape(lambda x: Atoms(x).denoiser(), CIFAR), id="atoms", marks=LONG),
    pytest.param(lambda: jax.eval_shape(bottleneck.PrototypeDenoiser, CIFAR), id="prototypes", marks=LONG),
    pytest.param(
        lambda: jax.eval_shape(bottleneck.ProjectedDenoiser, CIFAR, abstract(16, 3072)), id="projected", marks=LONG
    ),
    pytest.param(lambda: jax.eval_shape(masked, CIFAR, abstract(3072), abstract(3072, 3072)), id="masked"),
    pytest.param(lambda: jax.eval_shape(lambda x: local(x, "zero", equivariant=False), CIFAR), id="LS"),
    pytest.param(lambda: jax.eval_shape(lambda x: local(x, "broken", equivariant=True), FEW), id="ELS", marks=LONG),
    pytest.param(lambda: jax.eval_shape(lambda x: soft(x, equivariant=False), CIFAR), id="soft-LS", marks=LONG),
    pytest.param(lambda: jax.eval_shape(lambda x: soft(x, equivariant=True), FEW), id="soft-ELS", marks=LONG),
    pytest.param(lambda: jax.eval_shape(lambda x: patches.CompositeDenoiser(x, 7), CIFAR), id="composite", marks=LONG),
]


def temporary(function, *arguments):
    """Bytes."""
    return jax.jit(function).lower(*arguments).compile().memory_analysis().temp_size_in_bytes


def estimates(denoiser, y):
    return jax.vmap(denoiser, (0, None))(y, 1.0)


def loss_gradient(denoiser, y):
    return jax.grad(lambda y: jnp.sum(jnp.square(estimates(denoiser, y))))(y)


def gradients_one_by_one(denoiser, y):
    return jax.vmap(jax.grad(lambda y: jnp.sum(jnp.square(denoiser(y, 1.0)))))(y)


@pytest.mark.parametrize("make", CASES)
def test_memory_is_bounded_at_any_batch(make):
    denoiser, y = make(), abstract(1024, *SHAPE)
    assert temporary(estimates, denoiser, y) < BOUND
    assert temporary(gradients_one_by_one, denoiser, y) < BOUND


def through_steps(denoiser, z):
    """Gradient of a loss of samples, by `generate` and by `sample`."""
    sigmas = jnp.asarray(SIGMAS, z.dtype)
    of_sample = lambda z: jnp.sum(jnp.square(jc.sample(denoiser, z, sigmas, remat=True)))  # noqa: E731
    of_all = lambda z: jnp.sum(jnp.square(jc.generate(denoiser, z, sigmas)))  # noqa: E731
    return jax.vmap(jax.grad(of_sample))(z), jax.grad(of_all)(z)


@pytest.mark.slow
@pytest.mark.parametrize("make", CASES)
def test_memory_is_bounded_through_sampling(make):
    denoiser = make()
    assert temporary(loss_gradient, denoiser, abstract(1024, *SHAPE)) < BOUND
    assert temporary(through_steps, denoiser, abstract(256, *SHAPE)) < BOUND
    generated = lambda d, z: jc.generate(d, z, jnp.asarray(SIGMAS, z.dtype), batch_size=1024)  # noqa: E731
    assert temporary(generated, denoiser, abstract(1024, *SHAPE)) < BOUND
