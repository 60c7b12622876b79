"""Networks trained side by side are those that a plain loop over each of them trains, each on its own images."""

import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcreativity import networks, training

SIGMAS = jnp.array([8.0, 1.0, 0.2, 0.0])
MODULE = networks.ShallowMLP(5, "softmax")
COUNTS = [2, 7]
OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))
KEYS = {"key": jax.random.key(3), "init_key": jax.random.key(2)}
# The same for all, so that most tests run one compiled program.
together = partial(
    training.fit_together, MODULE, sigmas=SIGMAS, num_steps=12, batch_size=4, optimizer=OPTIMIZER, ema_decay=0.9,
    sigma_data=0.5, steps_per_dispatch=5, progress=False, **KEYS,
)  # fmt: skip


@pytest.fixture(scope="module")
def x():
    return 0.5 * jax.random.normal(jax.random.key(7), (9, 3))


def plain(x, i, num_steps):
    """The averaged parameters of network i after so many steps, trained alone; written out."""
    params = MODULE.init(jax.random.split(KEYS["init_key"], len(COUNTS))[i], x[0], jnp.ones(()))["params"]
    opt_state, average = OPTIMIZER.init(params), params

    @jax.jit
    def update(params, opt_state, step):
        key = jax.random.split(jax.random.fold_in(KEYS["key"], step), len(COUNTS))[i]
        index_key, noise_key = jax.random.split(key)  # the first two of any number
        images = x[jax.random.randint(index_key, (3, 4), 0, COUNTS[i])]
        y = images + SIGMAS[:-1].reshape(3, 1, 1) * jax.random.normal(noise_key, (3, 4, 3))

        def loss(params):
            denoiser = networks.bind(MODULE, params, sigma_data=0.5)
            denoised = jax.vmap(jax.vmap(denoiser, (0, None)))(y, SIGMAS[:-1])
            return jnp.mean(jnp.square(denoised - images))

        updates, opt_state = OPTIMIZER.update(jax.grad(loss)(params), opt_state)
        return optax.apply_updates(params, updates), opt_state

    for step in range(num_steps):
        params, opt_state = update(params, opt_state, step)
        decay = min(0.9, (1 + step) / (10 + step))
        average = jax.tree.map(lambda old, new, decay=decay: decay * old + (1 - decay) * new, average, params)
    return average


def close(a, b):
    # Flax's parameters are float32, and Adam divides by gradients, some of which are small.
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), a, b)


def test_each_is_what_a_plain_loop_trains(x):
    for i, network in enumerate(together(x=x, counts=COUNTS)):
        close(network.params, plain(x, i, 12))


def test_others_change_nothing(x):
    """A group of which some are trained already: those before the missing ones are as they were."""
    alone, together_ = together(x=x, counts=COUNTS[:1]), together(x=x, counts=COUNTS)
    close(alone[0].params, together_[0].params)
    # Only its own images matter, where the scale is given.
    other = together(x=x.at[COUNTS[0] :].set(7.0), counts=COUNTS)
    close(together_[0].params, other[0].params)
    assert np.abs(together_[1](x[0], 0.2) - other[1](x[0], 0.2)).max() > 1e-2


def test_resumes_to_the_same_parameters_and_keeps_to_its_counts(x, tmp_path):
    fit = partial(together, x=x, checkpoint_folder=tmp_path, checkpoint_every=4)
    whole = fit(counts=COUNTS)
    shutil.rmtree(tmp_path / "steps" / "12")  # what a kill leaves
    for a, b in zip(whole, fit(counts=COUNTS), strict=True):
        jax.tree.map(np.testing.assert_array_equal, a.params, b.params)
    with pytest.raises(ValueError, match=r"another configuration \(counts: \[2, 7\] there, \[2, 8\] here"):
        fit(counts=[2, 8])


def test_divergence_names_the_network():
    x = jnp.concatenate([jnp.zeros((1, 3)), jnp.ones((3, 3))])  # zero weights are the solution for the first alone
    module = networks.DenseLinear((8.0, 1.0, 0.2))
    with pytest.raises(FloatingPointError, match=r"^the loss of network 1 \(4 examples\) became"):
        training.fit_together(
            module, x, [1, 4], SIGMAS, key=jax.random.key(0), optimizer=optax.sgd(1e4), num_steps=200, progress=False
        )


@pytest.mark.parametrize("counts", [[], [0], [2, 10]])
def test_bad_counts(x, counts):
    with pytest.raises(ValueError, match="counts must"):
        together(x=x, counts=counts)
