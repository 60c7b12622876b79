"""Part `symmetry`: how far denoisers are from commuting with shifts, flips and a quarter turn."""

import jax
import jax.numpy as jnp

from experiments.probing.settings import Setup, rows_as_table
from experiments.runner import Arrays, Measured, Numbers, Part, Run
from jaxcreativity import probing


def measure(run: Run, setup: Setup) -> Measured:
    """A row for every denoiser, a median error for every transform."""
    config, x = run.settings, setup.x
    transforms = [name for name in probing.TRANSFORMS if name != "rotate" or x.shape[1] == x.shape[2]]
    sigma = config.sigmas[len(config.sigmas) // 2]
    points, level = setup.noisy(sigma, config.num_points), jnp.asarray(sigma, x.dtype)

    @jax.jit
    def errors(denoiser, points, level):  # all transforms at once: one program for each make of denoiser
        one = lambda y: {t: probing.equivariance_error(denoiser, y, level, t) for t in transforms}  # noqa: E731
        return jax.tree.map(jnp.median, jax.vmap(one)(points))

    rows = []
    for name, denoiser in setup.denoisers(run).items():
        with run.doing(f"symmetries of {name}"):
            found = {transform: float(error) for transform, error in errors(denoiser, points, level).items()}
        rows.append({"denoiser": name, "sigma": sigma} | {transform: found[transform] for transform in transforms})
    return {"symmetry": rows}, {}


def report(run: Run, numbers: Numbers, arrays: Arrays) -> str:
    """The table."""
    rows = numbers["symmetry"]
    columns = {name: name for name in rows[0] if name != "sigma"}
    return f"""## Symmetry, σ = {rows[0]["sigma"]:g}

{rows_as_table(rows, columns)}

Median of |D(Ty) − TD(y)| / |TD(y) − mean|: 0 where the denoiser commutes with the transform T (shifts by one pixel,
around the border). Stationary linear denoisers commute with shifts by construction; a patch machine would, but for the
border, which its patches show.
"""


PART = Part(measure, report)
