"""Part `sample`: singular values of the derivative of a sample with respect to its noise."""

import jax
import numpy as np

from experiments.probing.settings import COLOURS, Setup, rows_as_table
from experiments.runner import Arrays, Measured, Numbers, Part, Run
from jaxcreativity import plotting, probing

SMALLEST_DRAWN = 1e-4


def measure(run: Run, setup: Setup) -> Measured:
    """Local dimension and largest singular value; median singular values."""
    config, x = run.settings, setup.x
    z = jax.random.normal(setup.key, (config.num_points, *x.shape[1:]), x.dtype)
    probe = jax.jit(lambda d, z: jax.lax.map(lambda z: probing.sample_jacobian(d, z, setup.grid).singular_values, z))
    rows, curves = [], {}
    for name, denoiser in setup.denoisers(run).items():
        with run.doing(f"derivatives of samples of {name}"):
            values = np.asarray(probe(denoiser, z))
        dimension = [int((v > 0.01 * v[0]).sum()) for v in values]
        rows.append({"denoiser": name, "dimension": float(np.mean(dimension)), "largest": float(values[:, 0].mean())})
        curves[name] = np.median(values, axis=0)
    return {"sample": rows} | setup.left_out, curves


def report(run: Run, numbers: Numbers, arrays: Arrays) -> str:
    """Spectra and the table."""
    config = run.settings
    figure, [[axes]] = plotting.panels(1, 1, width=5.5, height=3.2)
    for name, values in arrays.items():
        if values[0] < SMALLEST_DRAWN:
            label = f"{name}: all below"
            axes.plot(1, SMALLEST_DRAWN, "v", markersize=8, color=COLOURS[name], label=label, clip_on=False)
        else:
            axes.plot(np.arange(1, len(values) + 1), values, color=COLOURS[name], label=name)
    axes.set(yscale="log", ylim=(SMALLEST_DRAWN, None), xlabel="index", ylabel="singular value of ∂x/∂z")
    plotting.plain_log(axes, "x")
    axes.set_title(f"{config.dataset}: median over {config.num_points} seeds", fontsize=9)
    plotting.legend(axes, loc="lower center")
    run.save(figure, "sample_jacobians.png")
    columns = {"denoiser": "denoiser", "dimension": "local dimension", "largest": "largest singular value"}
    return f"""## Sample by noise, ∂x/∂z

{rows_as_table(numbers["sample"], columns)}

x is the sample that the sampler makes of the noise z. Local dimension: singular values above 1 % of the largest, in how
many directions the sample moves with its noise. A sample of the empirical denoiser is a copy of one training image and
does not move at all (a patch machine's is a mosaic of training patches, and moves in few directions, by much where it
passes from one mosaic to another).

![sample Jacobians](sample_jacobians.png)
"""


PART = Part(measure, report)
