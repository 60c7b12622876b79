"""Part `codes`: linear and nonlinear decoders behind r code numbers, trained and predicted."""

from functools import partial

import numpy as np
from matplotlib.figure import Figure

from experiments.bottleneck.measuring import mean_loss, novelty_numbers, train
from experiments.bottleneck.settings import Config, Setup, facts, log_grid
from experiments.runner import Arrays, Measured, Numbers, Part, Run, split_failed, table
from jaxcreativity import generate, networks, plotting
from jaxcreativity.metrics import agreement
from jaxcreativity.theory import bottleneck, linear

SHOWN = 12


def measure(run: Run, setup: Setup) -> Measured:
    """A row for every code size and decoder, and the first samples of each."""
    rows, shown = [], {}
    for r in run.settings.code_sizes:
        if r >= setup.x[0].size:
            continue
        for decoder, pair in (("linear", _linear), ("nonlinear", _nonlinear)):
            row, images = run.attempt(f"codes_{decoder}_{r}", partial(_measure_one, run, setup, r, decoder, pair))
            rows.append({"code_size": r, "decoder": decoder, **row})
            shown |= {f"{decoder} {r} {name}": x for name, x in images.items()}
    return {"codes": rows}, shown | {"held-out images": np.asarray(setup.test[:SHOWN])}


def _linear(run, x, grid, levels, r):
    """Network and closed form of a linear decoder."""
    module = networks.LowRankLinear(levels, rank=r)
    network = train(run, x, grid, module, f"linear decoder, r = {r}", learning_rate=3e-2)
    return network, linear.fit(x, "low_rank", rank=r)


def _nonlinear(run, x, grid, levels, r):
    """Network of a nonlinear decoder, and the best one behind the encoder that it learned."""
    module = networks.Autoencoder(r, encoder_depth=0)
    network = train(run, x, grid, module, f"nonlinear decoder, r = {r}", learning_rate=3e-3)
    projection = bottleneck.orthonormalise(network.params["encoder"]["kernel"].T)
    return network, bottleneck.ProjectedDenoiser(x, projection)


def _measure_one(run: Run, setup: Setup, r: int, decoder: str, pair) -> Measured:
    x, grid = setup.x, log_grid(run.settings, run.settings.sigma_min)
    network, closed_form = pair(run, x, grid, tuple(np.asarray(grid[:-1]).tolist()), r)
    with run.doing(f"sampling and measuring, {decoder} decoder, r = {r}"):
        of_network, predicted = (generate(d, setup.z, grid) for d in (network, closed_form))
        found = {
            **agreement(predicted, of_network).summary(),
            "loss": mean_loss(network, x, grid), "loss_closed_form": mean_loss(closed_form, x, grid),
            **novelty_numbers(of_network, x, setup.test),
            "memorised_closed_form": novelty_numbers(predicted, x)["memorised"],
        }  # fmt: skip
    images = {"network": np.asarray(of_network[:SHOWN]), "closed form": np.asarray(predicted[:SHOWN])}
    return found, images


def report(run: Run, numbers: Numbers, arrays: Arrays) -> str:
    """Samples, curves against r, and the table."""
    config, (rows, failures) = run.settings, split_failed(numbers["codes"], "The {decoder} decoder of r = {code_size}")
    rows_of_images = {} if len(arrays["held-out images"]) < SHOWN else {"held-out images": arrays["held-out images"]}
    for row in rows:
        decoder, r = row["decoder"], row["code_size"]
        label = "PCA Gaussian" if decoder == "linear" else "manifold"
        rows_of_images[f"{decoder}, r = {r}"] = {
            label: arrays[f"{decoder} {r} closed form"], "network": arrays[f"{decoder} {r} network"]
        }  # fmt: skip
    notes = {f"{row['decoder']}, r = {row['code_size']}": f"corr. {row['pearson_median']:.2f}" for row in rows}
    title = f"{facts(config)}: linear and nonlinear decoders behind r code numbers"
    run.save(plotting.sample_grid(rows_of_images, title=title, notes=notes), "codes.png")
    run.save(_curves(config, rows), "code_sizes.png")
    cells = table(
        ["decoder", "r", "correlation", "loss / closed form", "memorised: network", "closed form", "held out",
         "hull ratio", "held out "],
        [
            [
                row["decoder"], str(row["code_size"]), f"{row['pearson_median']:.3f} ({row['pearson_q25']:.3f}–"
                f"{row['pearson_q75']:.3f})", f"{row['loss'] / row['loss_closed_form']:.3f}", f"{row['memorised']:.3f}",
                f"{row['memorised_closed_form']:.3f}", f"{row['held_out_memorised']:.3f}", f"{row['hull_ratio']:.2f}",
                f"{row['held_out_hull_ratio']:.2f}",
            ]
            for row in rows
        ],
    )  # fmt: skip
    return f"""## Code size

{cells}{failures}

The encoder passes r code numbers of the noisy image, the decoder makes an image of them, so that dD/dy has rank r at
most. Closed form: of a linear decoder the PCA Gaussian (that of the r leading principal components), of a nonlinear one
E[x | Wy] over the training set with the learned encoder W, the best that any decoder can do. Correlation of the samples
from the same noise: median (quartiles). The best decoder can tell all training images apart from few numbers, and
copies them; a network of finite size, trained for {config.train_steps} steps, follows it (correlation) with a larger
loss, and blends where it would copy.

![code sizes](code_sizes.png)
![samples](codes.png)
"""


PART = Part(measure, report)


def _curves(config: Config, rows) -> Figure:
    figure, [[left, right]] = plotting.panels(1, 2, height=2.8)
    sizes = sorted({row["code_size"] for row in rows})
    low, high = sizes[0] / 1.5, sizes[-1] * 1.5
    for colour, name in zip(plotting.COLOURS, ("linear", "nonlinear"), strict=False):
        if not (own := [row for row in rows if row["decoder"] == name]):
            continue
        r = [row["code_size"] for row in own]
        of = lambda key, own=own: [row[key] for row in own]  # noqa: E731
        # Points with the same value stand beside each other; curves can be told apart as they are.
        shift = 0.0 if len(sizes) > 2 else 0.015 if name == "linear" else 0.045
        beside = lambda r, sign, shift=shift: np.multiply(r, (high / low) ** (sign * shift))  # noqa: E731
        plotting.curve(
            left, r, of("pearson_median"), low=of("pearson_q25"), high=of("pearson_q75"), color=colour,
            label=f"{name} decoder",
        )  # fmt: skip
        law = "PCA Gaussian" if name == "linear" else "the best decoder"
        plotting.curve(
            right, beside(r, -1), of("memorised_closed_form"), color=colour, marker="x", markersize=7, linestyle="--",
            label=f"{name}, predicted: {law}",
        )  # fmt: skip
        plotting.curve(right, beside(r, 1), of("memorised"), color=colour, label=f"{name}, trained network")
    right.axhline(rows[0]["held_out_memorised"], color="0.5", linestyle=":", label="held-out images")
    left.set(ylabel="correlation with the closed form\n(median, quartiles)", ylim=(None, 1.02))
    right.set(ylabel="memorised fraction", ylim=(-0.05, 1.05))
    for axes in (left, right):
        plotting.plain_log(axes, "x", sizes)
        axes.set(xlabel="code numbers r", xlim=(low, high))
    plotting.legend(left)
    plotting.legend(figure, panels=[right], ncols=2)
    figure.suptitle(
        f"{facts(config)}, {config.num_images} images; {config.num_samples} samples each, one training seed", fontsize=9
    )
    return figure
