"""Part `discrepancy`: seeds on which theory and network disagree most, by gradient ascent through both samplers."""

import functools

import jax
import numpy as np

from experiments.probing.settings import Setup
from experiments.runner import Arrays, Measured, Numbers, Part, Run
from jaxcreativity import generate, plotting, probing
from jaxcreativity.theory import linear


def measure(run: Run, setup: Setup) -> Measured:
    """Mean squared distance along the ascent; samples of random and of found seeds."""
    config, x, grid = run.settings, setup.x, setup.grid
    theory, network = linear.fit(x, "full"), setup.network(run, "MLP")
    z = jax.random.normal(jax.random.fold_in(setup.key, 2), (config.num_points, *x.shape[1:]), x.dtype)
    step = jax.jit(functools.partial(probing.ascent_step, theory, network, sigmas=grid))
    values, found = [], z
    with run.doing("gradient ascent on the noise"):
        for _ in range(config.ascent_steps):
            value, found = step(found)
            values.append(float(value))
        values.append(float(step(found)[0]))
    with run.doing("sampling found seeds"):
        samples = {
            f"{when}: {name}": np.asarray(generate(denoiser, noise, grid))
            for when, noise in (("random seeds", z), ("found seeds", found))
            for name, denoiser in (("theory", theory), ("network", network))
        }
    return {"discrepancy": {"mean_square": values}}, samples


def report(run: Run, numbers: Numbers, arrays: Arrays) -> str:
    """Samples before and after."""
    config, ascent = run.settings, numbers["discrepancy"]["mean_square"]
    rows: dict[str, dict[str, np.ndarray]] = {}
    for name, x in arrays.items():
        when, who = name.split(": ")
        rows.setdefault(when, {})[who] = x
    figure = plotting.sample_grid(
        rows,
        title=f"{config.dataset}: linear theory and MLP, before and after ascent on their distance",
        notes={"random seeds": f"distance {ascent[0]:.3g}", "found seeds": f"distance {ascent[-1]:.3g}"},
        caption="Theory and network start from the same noise; distance: mean square per entry.",
    )
    run.save(figure, "disagreement.png")
    return f"""## Where theory and network disagree

Gradient ascent on the noise, its norm fixed: mean squared distance of theory (linear, full) and MLP from
{ascent[0]:.3g} to {ascent[-1]:.3g} in {config.ascent_steps} steps.

![disagreement](disagreement.png)
"""


PART = Part(measure, report)
