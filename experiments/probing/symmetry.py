"""Part `symmetry`: how far denoisers are from commuting with shifts, flips and a quarter turn."""

from functools import partial
from typing import Any

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

    call = jax.jit(lambda denoiser, y, level: denoiser(y, level))
    rows = []
    for name, denoiser in setup.denoisers(run).items():
        # Only the denoiser is compiled, once for all transforms: a patch machine's program takes long.
        compiled = lambda y, level, d=denoiser: call(d, y, level)  # noqa: E731
        row: dict[str, Any] = {"denoiser": name, "sigma": sigma}
        with run.doing(f"symmetries of {name}"):
            for transform in transforms:
                error = partial(probing.equivariance_error, compiled, sigma=level, transform=transform)
                row[transform] = float(jnp.median(jax.vmap(error)(points)))
        rows.append(row)
    return {"symmetry": rows} | setup.left_out, {}


def report(run: Run, numbers: Numbers, arrays: Arrays) -> str:
    """The table."""
    rows = numbers["symmetry"]
    columns = {name: name for name in rows[0] if name != "sigma"}
    return f"""## Symmetry, σ = {rows[0]["sigma"]:g}

{rows_as_table(rows, columns)}

Median of |D(Ty) − TD(y)| / |TD(y) − mean|: 0 where the denoiser commutes with the transform T (shifts by one pixel,
around the border). Stationary linear denoisers commute with shifts by construction; a patch machine is the same at
every pixel too, but its patches show the border of the image, by which it knows where it is.
"""


PART = Part(measure, report)
