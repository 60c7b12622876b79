"""Part `jacobian`: singular values and asymmetry of the derivative of every denoiser."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.probing.settings import COLOURS, Setup, rows_as_table
from experiments.runner import Arrays, Measured, Numbers, Part, Run
from jaxcreativity import plotting, probing
from jaxcreativity.denoiser import Denoiser

SMALLEST_DRAWN = 1e-4


@jax.jit
def _probe(denoiser: Denoiser, points: jax.Array, sigma: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Singular values, and asymmetry, of the Jacobian at every point."""

    def one(y):
        operator = probing.jacobian(denoiser, y, sigma)
        return jnp.linalg.svd(operator.dense(), compute_uv=False), probing.asymmetry(operator)

    return jax.lax.map(one, points)


def measure(run: Run, setup: Setup) -> Measured:
    """A row for every noise level and denoiser; median singular values."""
    config = run.settings
    rows, curves = [], {}
    denoisers = setup.denoisers(run)
    for sigma in config.sigmas:
        points = setup.noisy(sigma, config.num_points)
        for name, denoiser in denoisers.items():
            with run.doing(f"Jacobians of {name}, σ = {sigma:g}"):
                values, asymmetry = _probe(denoiser, points, jnp.asarray(sigma, points.dtype))
                rank = jax.vmap(probing.effective_rank)(values)
            # Where the posterior is one image, J is 0 up to rounding and has no symmetry to speak of.
            moves = bool((values[:, 0] > 1e-3).all())
            rows.append({"denoiser": name, "sigma": sigma, "asymmetry": float(asymmetry.mean()) if moves else None,
                         "effective_rank": float(rank.mean()), "sum": float(values.sum(1).mean())})  # fmt: skip
            curves[f"{name} {sigma!r}"] = np.median(np.asarray(values), axis=0)
    return {"jacobian": rows} | setup.left_out, curves


def report(run: Run, numbers: Numbers, arrays: Arrays) -> str:
    """Spectra beside each other, a panel for every noise level, and the table."""
    config, rows = run.settings, numbers["jacobian"]
    names = list(dict.fromkeys(row["denoiser"] for row in rows))
    columns = min(len(config.sigmas), 4)
    lines = -(-len(config.sigmas) // columns)
    figure, panels = plotting.panels(lines, columns, sharey=True)
    for axes in panels.ravel()[len(config.sigmas) :]:
        axes.remove()
    for axes, sigma in zip(panels.ravel(), config.sigmas, strict=False):
        flat = []
        for name in names:
            values = arrays[f"{name} {sigma!r}"]
            if values[0] < SMALLEST_DRAWN:
                flat.append(name)
            axes.plot(np.arange(1, len(values) + 1), values, color=COLOURS[name], label=name)
        if flat:
            axes.text(0.04, 0.04, f"below: {', '.join(flat)}", transform=axes.transAxes, fontsize=8)
        axes.set(yscale="log", ylim=(SMALLEST_DRAWN, 3), xlabel="index")
        plotting.plain_log(axes, "x")
        axes.set_title(f"σ = {sigma:g}", fontsize=8)
    for axes in panels[:, 0]:
        axes.set_ylabel("singular value of ∂D/∂y")
    plotting.legend(figure)
    figure.suptitle(f"{config.dataset}: median over {config.num_points} noisy images", fontsize=9)
    run.save(figure, "jacobians.png")
    columns = {
        "denoiser": "denoiser", "sigma": "σ", "asymmetry": "asymmetry", "effective_rank": "effective rank",
        "sum": "sum of singular values",
    }  # fmt: skip
    return f"""## Jacobian ∂D/∂y

{rows_as_table(rows, columns)}

Asymmetry: |J − Jᵀ|/|J|. The best denoiser of any law has a symmetric J (its score is a gradient), so asymmetry says
that a denoiser is none: a patch machine, a network. "–": J is 0 up to rounding, because the posterior is one training
image whatever the noise. Effective rank: exp of the entropy of the singular values' shares, a count of the directions
in which the estimate moves. Sum: how many numbers of y are believed (for a symmetric J, its trace).

![jacobians](jacobians.png)
"""


PART = Part(measure, report)
