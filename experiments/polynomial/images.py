"""Part `images`: samples of images from polynomials of a patch, beside the unconstrained denoiser's."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.polynomial.report import report_images
from experiments.polynomial.settings import Setup
from experiments.runner import Measured, Part, Run
from jaxcreativity import generate
from jaxcreativity.theory import linear, polynomial
from jaxcreativity.theory.empirical import EmpiricalDenoiser

SHOWN = 12
"""Samples of each denoiser."""


def measure(run: Run, setup: Setup) -> Measured:
    """Shares of diverged samples, and samples of every denoiser from the same noise."""
    config = run.settings
    images = jnp.asarray(next(iter(setup.images.values()))[: config.patch_images])
    count = min(SHOWN, len(images))
    z = jax.random.normal(jax.random.key(config.seed + 3), (count, *images.shape[1:]), images.dtype)
    with run.doing(f"fitting polynomials of {config.kernel_size} × {config.kernel_size} patches"):
        denoisers = {
            "linear k × k": linear.fit(images, "local", kernel_size=config.kernel_size),
            f"degree {config.patch_degree}, k × k": polynomial.fit(
                images, config.patch_degree, basis="patch", kernel_size=config.kernel_size, sigmas=setup.grid
            ),
            "empirical": EmpiricalDenoiser(images),
        }
    samples = {}
    for name, denoiser in denoisers.items():
        with run.doing(f"sampling images, {name}"):
            samples[name] = np.asarray(generate(denoiser, z, setup.grid))
    diverged = {name: float(np.isinf(x).any(axis=(1, 2, 3)).mean()) for name, x in samples.items()}
    return {"patch": diverged}, samples | {"training images": np.asarray(images[:count])}


PART = Part(measure, report_images)
