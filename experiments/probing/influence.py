"""Part `influence`: the training images that a sample owes most to, and what leaving them out does."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.probing.settings import PATCH_MACHINE, Config, Setup, patch_machine, rows_as_table
from experiments.runner import Arrays, Measured, Numbers, Part, Run, split_failed
from jaxcreativity import generate, plotting, probing, sample
from jaxcreativity.theory import linear
from jaxcreativity.theory.bottleneck import PrototypeDenoiser

THEORIES = ("linear, full", "empirical", PATCH_MACHINE)
"""Denoisers whose samples can be differentiated by the weights of the training images."""


def measure(run: Run, setup: Setup) -> Measured:
    """The change of one sample without its most influential images: predicted, recomputed, retrained."""
    config, x, grid = run.settings, setup.x, setup.grid
    n = len(x)
    z = jax.random.normal(jax.random.fold_in(setup.key, 1), x.shape[1:], x.dtype)
    theories = {
        "linear, full": lambda w: linear.fit(x, "full", weights=w),
        "empirical": lambda w: PrototypeDenoiser(x, jnp.log(w)),
        PATCH_MACHINE: lambda w: patch_machine(x, w),
    }
    theories = {name: theory for name, theory in theories.items() if name in config.denoisers}
    rows, shown = [], {}
    rng = np.random.default_rng(config.seed)
    for name, theory in theories.items():
        with run.doing(f"influences, {name}"):
            effects = np.asarray(jax.jit(lambda z, theory=theory: probing.influence(theory, z, grid, n))(z))
        flat = effects.reshape(n, -1)
        order = _by_influence(flat)
        # One traced program from weights to sample; `generate` takes one denoiser for many noises.
        of_weights = jax.jit(lambda w, theory=theory: sample(theory(w), z, grid))
        everything = of_weights(jnp.ones(n))

        def change(indices, of_weights=of_weights, everything=everything):
            # Weights of 1e-6: the logarithm of 0 would be no weight.
            return np.asarray(of_weights(jnp.ones(n).at[jnp.asarray(indices)].set(1e-6)) - everything)

        chosen = order[: config.removed]
        with run.doing(f"samples without the images of most influence, {name}"):
            actual, predicted = change(chosen).ravel(), -flat[chosen].sum(0)
            at_random = [np.linalg.norm(change(rng.choice(n, config.removed, replace=False))) for _ in range(10)]
        moves = actual.std() > 0 and predicted.std() > 0
        rows.append({
            "denoiser": name, "correlation": float(np.corrcoef(actual, predicted)[0, 1]) if moves else None,
            "change": float(np.linalg.norm(actual)), "predicted_change": float(np.linalg.norm(predicted)),
            "random_change": float(np.median(at_random)),
        })  # fmt: skip
        if name == "linear, full":
            rows += [_attempt(run, setup, network, chosen, predicted, z) for network in config.retrained]
        if moves:  # else a copy of one image, which no weight changes
            shown[name] = np.concatenate([everything[None], np.asarray(x)[order[:5]], np.asarray(x)[order[-5:]]])
    return {"influence": rows}, shown


def _by_influence(effects: np.ndarray) -> np.ndarray:
    """Images by their effect along the direction in which images move the sample most; the strongest is first."""
    along = effects @ np.linalg.svd(effects, full_matrices=False)[2][0]
    return np.argsort(-along * np.sign(along[np.abs(along).argmax()]))


def _attempt(run: Run, setup: Setup, name: str, *given) -> dict[str, Any]:
    """The row of a network, or why it has none."""
    try:
        return _retrained(run, setup, name, *given)
    except FloatingPointError as error:
        return {"denoiser": f"network: {name}", "failed": str(error)}


def _retrained(run: Run, setup: Setup, name: str, left_out, predicted, z) -> dict[str, Any]:
    """Change of a network's sample when it is trained without some images, against the linear theory's prediction.

    `random_change` is what training on all images with other random numbers does.
    """
    kept = setup.x[jnp.asarray(np.setdiff1d(np.arange(len(setup.x)), left_out))]
    trained = (
        setup.network(run, name),
        setup.network(run, name, "without", kept),
        setup.network(run, name, "other seed", seed=1),
    )
    with run.doing(f"samples of {name} trained with and without"):
        before, without, other = (np.asarray(generate(network, z[None], setup.grid)).ravel() for network in trained)
    return {
        "denoiser": f"network: {name}", "correlation": float(np.corrcoef(without - before, predicted)[0, 1]),
        "change": float(np.linalg.norm(without - before)), "predicted_change": float(np.linalg.norm(predicted)),
        "random_change": float(np.linalg.norm(other - before)),
    }  # fmt: skip


def report(run: Run, numbers: Numbers, arrays: Arrays) -> str:
    """The sample beside the images, and the table."""
    config, (rows, failures) = run.settings, split_failed(numbers["influence"], "{denoiser}")
    picture = ""
    if arrays:
        side = (next(iter(arrays.values())).shape[0] - 1) // 2
        figure = plotting.sample_grid(
            arrays,
            title=f"{config.dataset}: a sample, and the training images of strongest influence on it",
            seeds=["sample", *["+"] * side, *["−"] * side],
            columns="influence",
            caption="More weight of a + image moves the sample one way, of a − image the other.",
        )
        run.save(figure, "influence.png")
        picture = "\n![influence](influence.png)\n"
    columns = {
        "denoiser": "denoiser", "correlation": "correlation", "change": "change", "predicted_change": "predicted",
        "random_change": "random images, or other seed",
    }  # fmt: skip
    return f"""## Influence

{rows_as_table(rows, columns)}{failures}

The influence of a training image is the derivative of one sample with respect to the weight of that image; minus the
sum over {config.removed} images is the change that is predicted when these are left out (those that move the sample
most). Correlation of the change with the prediction, size of both, and last the median size for as many random images.
The derivative describes a linear theory well. A sample of the empirical denoiser is a copy of one image and changes
only when that image goes ("–").{_of_patches(config)}

Networks are trained with and without these images: their change against the prediction of the linear theory, and last
the change by training with other random numbers. Where that is as large, training was too short to tell the two apart.
{picture}"""


def _of_patches(config: Config) -> str:
    """Why a patch machine's row looks as it does."""
    if PATCH_MACHINE not in config.denoisers:
        return ""
    return """ A patch machine decides between patches as the noise falls: its sample jumps when the
patches of an image go, which no derivative foresees, so there its correlation may be anything."""


PART = Part(measure, report)
