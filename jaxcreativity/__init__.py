"""What does a diffusion model generate, given its denoiser architecture and its target distribution?

A *denoiser* is anything called as `denoiser(y, sigma) -> x_hat` on one example, with `y = x + sigma * noise`: a closed
form of `theory`, a trained network, your own function. All go through one sampler, so they can be compared from the
same noise, and differentiated.

    import jax, jax.numpy as jnp
    import jaxcreativity as jc

    x = jnp.asarray(jc.data.load("digits").train)              # images (n, height, width, channels) in [-1, 1]
    sigmas = jc.schedules.grid(jc.schedules.cosine(), 20)      # noise levels, the last one 0
    theory = jc.theory.linear.fit(x, "full")                   # a closed form; it is a denoiser
    network = jc.training.fit(jc.networks.MLP(), x, sigmas, key=jax.random.key(0))
    z = jax.random.normal(jax.random.key(1), (64, *x.shape[1:]))
    a, b = (jc.generate(denoiser, z, sigmas) for denoiser in (theory, network))
    print(jc.metrics.agreement(a, b).summary())                # do they agree, image by image?

On one example (pure: `jax.jit`, `jax.vmap`, `jax.grad` apply)

    sample(denoiser, z, sigmas)            the example that the noise z becomes
    trajectory(denoiser, z, sigmas)        every state on the way
    log_density(denoiser, z, sigmas)       the same example and the log-density of the generated law there
    score(denoiser, y, sigma)              (D(y, sigma) - y) / sigma^2
    predicted_noise(denoiser, y, sigma)    (y - D(y, sigma)) / sigma

On many: `generate(denoiser, zs, sigmas)`. `Piecewise` joins denoisers by noise level; `Denoiser` is the contract as a
type.

Loaded when first used

    schedules       noise levels                     theory      closed forms, one room per class of architectures
    distributions   laws known exactly               networks    Flax modules, and `bind`
    data            images by name, folder, file     training    the denoising loss, `fit`
    metrics         agreement, novelty, realism      probing     Jacobians, receptive fields, influence
    plotting        figures
"""

import importlib as _importlib

from jaxcreativity.denoiser import Denoiser as Denoiser
from jaxcreativity.denoiser import Piecewise as Piecewise
from jaxcreativity.denoiser import predicted_noise as predicted_noise
from jaxcreativity.denoiser import score as score
from jaxcreativity.generation import generate as generate
from jaxcreativity.sampling import log_density as log_density
from jaxcreativity.sampling import sample as sample
from jaxcreativity.sampling import trajectory as trajectory

# No `__all__`: with it `help(jaxcreativity)` would print every docstring of the names above after this page.
_LOADED_WHEN_USED = (
    "data", "distributions", "metrics", "networks", "plotting", "probing", "schedules", "theory", "training",
)  # fmt: skip


def __getattr__(name: str) -> object:
    if name in _LOADED_WHEN_USED:
        return _importlib.import_module(f"jaxcreativity.{name}")
    raise AttributeError(f"module 'jaxcreativity' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LOADED_WHEN_USED})
