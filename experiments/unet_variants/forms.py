"""The closed forms that networks are compared with."""

from collections.abc import Callable

import jax
import numpy as np

from experiments.runner import Arrays, Measured, Run, slug
from experiments.unet_variants.prepare import Setup
from experiments.unet_variants.settings import SMALL_FORMS
from jaxcreativity import Denoiser, generate
from jaxcreativity.theory import bottleneck, linear, polynomial
from jaxcreativity.theory.empirical import EmpiricalDenoiser
from jaxcreativity.theory.patches import Boundary, by_level, predicted_patch_sizes


def closed_forms(run: Run, setup: Setup) -> Arrays:
    """Samples of every closed form from the first noises, computed once per run."""
    samples = {}
    for name, build in _builders(setup).items():
        if not setup.config.small or name in SMALL_FORMS:

            def compute(name=name, build=build) -> Measured:
                with run.doing(f"{name}: fitting and sampling {setup.config.num_pairs} images"):
                    images = generate(build(), setup.z[: setup.config.num_pairs], setup.sigmas, batch_size=8)
                # A polynomial may diverge: such a sample is held at the edge of what is compared.
                return {"name": name}, {"samples": np.clip(np.nan_to_num(np.asarray(images)), -10, 10)}

            samples[name] = run.stage(f"closed-forms/{slug(name)}", compute)[1]["samples"]
    return samples


def _builders(setup: Setup) -> dict[str, Callable[[], Denoiser]]:
    config, x, sigmas = setup.config, setup.x, setup.sigmas
    largest = 2 * max(x.shape[1:3]) - 1
    candidates = sorted({min(k, largest) for k in config.els_sizes})
    count = min(config.num_prototypes, len(np.unique(np.asarray(x), axis=0)))

    def machine(boundary: Boundary) -> Denoiser:
        sizes = predicted_patch_sizes(x, sigmas, candidates=candidates)
        return by_level(x, sigmas, sizes, equivariant=True, boundary=boundary)

    return {
        "empirical": lambda: EmpiricalDenoiser(x),
        "linear, full": lambda: linear.fit(x, "full"),
        "linear, stationary": lambda: linear.fit(x, "stationary"),
        "linear, local": lambda: linear.fit(x, "local", kernel_size=3),
        "linear, pixelwise": lambda: linear.fit(x, "pixelwise"),
        "polynomial (PCA, 2)": lambda: polynomial.fit(x, 2, basis="pca", sigmas=sigmas),
        f"{count} prototypes": lambda: bottleneck.fit_prototypes(x, count, jax.random.key(config.seed + 3)),
        "ELS, border": lambda: machine("broken"),
        "ELS, circular": lambda: machine("circular"),
    }
