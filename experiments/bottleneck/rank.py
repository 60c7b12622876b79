"""Part `rank`: singular values of dD/dy along trajectories, in float64."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments.bottleneck.measuring import train
from experiments.bottleneck.settings import Config, Setup, facts, log_grid
from experiments.runner import Arrays, Measured, Numbers, Part, Run, split_failed, table
from jaxcreativity import networks, plotting
from jaxcreativity.generation import trajectories

NUM_TRAJECTORIES = 8


def measure(run: Run, setup: Setup) -> Measured:
    """A row for every network; all singular values are kept with their stages."""
    config = run.settings
    modules: dict[str, nn.Module] = {f"r = {r}": networks.Autoencoder(r) for r in config.rank_codes}
    if not config.small:
        modules["no bottleneck"] = networks.MLP(depth=2)
    rows = [
        {"network": name, **run.attempt(f"rank_{i}", partial(_measure_one, run, setup, name, module))[0]}
        for i, (name, module) in enumerate(modules.items())
    ]
    levels = np.asarray(log_grid(config, config.sigma_min)[:-1])
    return {"rank": rows}, {"levels": levels, "pixels": np.asarray(setup.x[0].size)}


@jax.jit
def _jacobians(network, states: jax.Array, levels: jax.Array) -> jax.Array:
    """dD/dy at every state and its level, `(n, levels, d, d)`."""
    shape = states.shape[2:]
    flat = lambda y, sigma: network(y.reshape(shape), sigma).ravel()  # noqa: E731
    states = states.reshape(*states.shape[:2], -1)
    return jax.vmap(jax.vmap(jax.jacrev(flat)), (0, None))(states, levels)


def _measure_one(run: Run, setup: Setup, name: str, module: nn.Module) -> Measured:
    grid = log_grid(run.settings, run.settings.sigma_min)
    network = train(run, setup.x, grid, module, f"rank, {name}", learning_rate=3e-3)
    with run.doing(f"derivatives along trajectories, {name}"), jax.enable_x64(True):
        wide = lambda leaf: jnp.asarray(np.asarray(leaf, np.float64))  # noqa: E731
        network, levels = jax.tree.map(wide, network), wide(grid)
        states = trajectories(network, wide(setup.z[:NUM_TRAJECTORIES]), levels)[:, :-1]
        values = np.linalg.svd(np.asarray(_jacobians(network, states, levels[:-1])), compute_uv=False)
    relative = values / values[..., :1]
    numbers = {
        "largest_rank": int((relative > 1e-10).sum(axis=-1).max()),
        "rank_above_1_percent": (relative > 1e-2).sum(axis=-1).mean(axis=0).tolist(),
    }
    return numbers, {"values": values}


def report(run: Run, numbers: Numbers, arrays: Arrays) -> str:
    """Effective rank against noise level, and the table."""
    rows, failures = split_failed(numbers["rank"], "The network of {network}")
    run.save(_curves(run.settings, rows, arrays), "rank.png")
    cells = table(
        ["network", "largest rank", "above 1 % of the largest: first level", "largest", "last level"],
        [
            [
                row["network"], str(row["largest_rank"]), *(f"{v:.1f}" for v in (
                    row["rank_above_1_percent"][0], max(row["rank_above_1_percent"]), row["rank_above_1_percent"][-1])),
            ]
            for row in rows
        ],
    )  # fmt: skip
    return f"""## Rank of dD/dy along {NUM_TRAJECTORIES} trajectories

{cells}{failures}

Rank: in how many directions the estimate of the image moves with the noisy image; r code numbers allow r. Largest rank:
singular values above 1e-10 of the largest, float64, over all levels and trajectories; the other columns count those
that matter.

![rank](rank.png)
"""


PART = Part(measure, report)


def _curves(config: Config, rows, arrays: Arrays) -> Figure:
    figure, [[axes]] = plotting.panels(1, 1, width=5.5, height=3.2)
    for colour, row in zip((*plotting.COLOURS, "black"), rows, strict=False):
        label = f"{row['network']}: rank {row['largest_rank']} at most"
        plotting.curve(axes, arrays["levels"], row["rank_above_1_percent"], color=colour, label=label)
    pixels = int(arrays["pixels"])
    axes.axhline(pixels, color="0.5", linestyle=":", label=f"{pixels} pixels: the most that there can be")
    ticks = [2**i for i in range(int(np.log2(pixels)) + 1)]
    plotting.plain_log(axes, "x")
    plotting.plain_log(axes, "y", ticks)
    axes.set(
        xlabel="noise level along the trajectory", ylabel="singular values above 1 % of the largest",
        ylim=(0.8, 1.3 * pixels),
    )  # fmt: skip
    axes.set_title(
        f"{facts(config)}: rank of dD/dy,\nmean over {NUM_TRAJECTORIES} trajectories of one network each", fontsize=9
    )
    plotting.legend(figure, panels=[axes], ncols=2)
    return figure
