"""Part `receptive_field`: which pixels the estimate of the middle one depends on, against noise level."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.probing.settings import COLOURS, Setup
from experiments.runner import Arrays, Measured, Numbers, Part, Run, table
from jaxcreativity import plotting, probing
from jaxcreativity.denoiser import Denoiser

NUM_LEVELS = 12
"""Noise levels of the curve."""
NOTHING = 1e-6
"""A field that is nowhere above it is rounding."""


@jax.jit
def _probe(denoiser: Denoiser, points: jax.Array, sigma: jax.Array) -> jax.Array:
    """Receptive field of the middle pixel, root mean square over points."""
    pixel = points.shape[1] // 2, points.shape[2] // 2
    fields = jax.lax.map(lambda y: probing.receptive_field(denoiser, y, sigma, pixel), points)
    return jnp.sqrt(jnp.mean(jnp.square(fields), axis=0))


def measure(run: Run, setup: Setup) -> Measured:
    """Radii at 12 noise levels, and the fields at the levels that were asked for."""
    config, x = run.settings, setup.x
    sigmas = np.geomspace(config.sigma_min, config.sigma_max, NUM_LEVELS)
    pixel = x.shape[1] // 2, x.shape[2] // 2
    rows, fields = [], {}
    for name, denoiser in setup.denoisers(run).items():
        at = lambda sigma, d=denoiser: _probe(  # noqa: E731
            d, setup.noisy(sigma, config.num_points), jnp.asarray(sigma, x.dtype)
        )
        with run.doing(f"receptive fields of {name}"):
            radii = [float(probing.radius(at(sigma), pixel)) for sigma in sigmas]
            fields[name] = np.stack([np.asarray(at(sigma)) for sigma in config.sigmas])
        rows += [{"denoiser": name, "sigma": float(s), "radius": r} for s, r in zip(sigmas, radii, strict=True)]
    return {"receptive_field": rows} | setup.left_out, fields


def report(run: Run, numbers: Numbers, arrays: Arrays) -> str:
    """Radius against noise level above, fields below: a column for every denoiser, a row for every noise level."""
    config, rows = run.settings, numbers["receptive_field"]
    names = list(arrays)
    figure, grid = plotting.panels(1 + len(config.sigmas), len(names), height=1.0)
    figure.set_figheight(3.0 + 1.05 * len(config.sigmas))
    space = grid[0, 0].get_gridspec()
    space.set_height_ratios([2.4] + [1.0] * len(config.sigmas))
    for axes in grid[0]:
        axes.remove()
    curves = figure.add_subplot(space[0, :])
    for name in names:
        own = [row for row in rows if row["denoiser"] == name]
        radii = [r["radius"] if r["radius"] > NOTHING else None for r in own]  # of no field there is none
        plotting.curve(curves, [r["sigma"] for r in own], radii, color=COLOURS[name], label=name)
    plotting.plain_log(curves, "x")
    curves.set_xlabel("noise level σ", fontsize=8)
    curves.set_ylabel("radius of the receptive\nfield (pixels)", fontsize=8)
    curves.tick_params(labelsize=8)
    for (i, sigma), (j, name) in ((a, b) for a in enumerate(config.sigmas) for b in enumerate(names)):
        panel, field = grid[1 + i, j], arrays[name][i]
        panel.imshow(field / max(field.max(), NOTHING), cmap="magma", vmin=0, vmax=1)
        panel.set(xticks=[], yticks=[])
        if field.max() < NOTHING:
            panel.text(0.5, 0.5, "0", color="white", fontsize=10, ha="center", va="center", transform=panel.transAxes)
        if i == 0:
            panel.set_title(name, fontsize=8)
        if j == 0:
            panel.set_ylabel(f"σ = {sigma:g}", fontsize=8)
    plotting.legend(curves, ncols=2)
    figure.suptitle(
        f"{config.dataset}: middle pixel, root mean square over {config.num_points} noisy images; "
        "fields scaled to their largest entry",
        fontsize=9,
    )
    run.save(figure, "receptive_fields.png")
    at = {(row["denoiser"], row["sigma"]): row["radius"] for row in rows}
    levels = sorted({row["sigma"] for row in rows})
    chosen = [levels[i] for i in np.linspace(0, len(levels) - 1, 4).round().astype(int)]
    radii = table(
        ["denoiser", *(f"σ = {sigma:.2g}" for sigma in chosen)],
        [[name, *(_radius(at[name, sigma]) for sigma in chosen)] for name in names],
    )
    return f"""## Receptive field of the middle pixel

{radii}

How strongly each pixel of y enters the estimate of the middle pixel; its radius is the root mean square distance in
pixels, weighted by the squares ({np.sqrt(8 / 6):.2f} for a constant 3 × 3 window). At low noise the pixel itself
says enough. "–", and 0 in the figure: the estimate does not depend on y at all, because the posterior is one training
image or patch.

![receptive fields](receptive_fields.png)
"""


PART = Part(measure, report)


def _radius(value: float) -> str:
    return f"{value:.2f}" if value > NOTHING else "–"
