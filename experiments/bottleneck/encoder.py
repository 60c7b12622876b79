"""Part `encoder`: a linear encoder to r numbers with decoders of different size."""

from functools import partial

from matplotlib.figure import Figure

from experiments.bottleneck.measuring import (
    clipped_adam,
    describe,
    mean_loss,
    memorised,
    novelty_numbers,
    support,
    train,
)
from experiments.bottleneck.settings import Config, Setup, facts, log_grid
from experiments.runner import Arrays, Measured, Numbers, Part, Run, split_failed, table
from jaxcreativity import generate, networks, plotting
from jaxcreativity.theory import bottleneck


def measure(run: Run, setup: Setup) -> Measured:
    """A row for every r and every size of decoder."""
    config = run.settings
    rows = [
        {
            "code_size": r,
            "width": width,
            **run.attempt(f"encoder_{r}_{width}", partial(_measure_one, run, setup, r, width))[0],
        }
        for r in config.encoder_ranks
        for width in config.decoder_widths
    ]
    return {"encoder": rows}, {}


def _measure_one(run: Run, setup: Setup, r: int, width: int) -> Measured:
    config = run.settings
    x = setup.x[: config.encoder_images]
    grid = log_grid(config, config.sigma_min / 10)  # one code number tells images apart at low noise only
    module = networks.Autoencoder(r, width=width, encoder_depth=0, decoder_depth=1, activation="softmax")
    network = train(
        run, x, grid, module, f"encoder r = {r}, decoder of {width}", num_steps=config.capacity_steps,
        optimizer=clipped_adam(2e-2, config.capacity_steps),
    )  # fmt: skip
    with run.doing(f"sampling and measuring, encoder r = {r}, decoder of {width}"):
        projection = bottleneck.orthonormalise(network.params["encoder"]["kernel"].T)
        closed_form = bottleneck.ProjectedDenoiser(x, projection)
        predicted = generate(closed_form, setup.z, grid)
        row = describe(setup, generate(network, setup.z, grid), x, width, "encoder", 0.0)
        return row | {
            "memorised_closed_form": novelty_numbers(predicted, x)["memorised"],
            "loss_ratio": mean_loss(network, x, grid) / mean_loss(closed_form, x, grid),
        }, {}  # fmt: skip


def report(run: Run, numbers: Numbers, arrays: Arrays) -> str:
    """Memorised fraction against the size of the decoder, and the table."""
    config = run.settings
    rows, failures = split_failed(numbers["encoder"], "r = {code_size} with a decoder of {width} units")
    run.save(_curves(config, rows), "encoder.png")
    cells = table(
        ["r", "decoder units K", "memorised (95 %)", "any decoder", "different images (95 %)", "hull ratio",
         "loss / any decoder"],
        [
            [
                str(row["code_size"]), str(row["width"]), memorised(row), f"{row['memorised_closed_form']:.3f}",
                support(row), f"{row['hull_ratio']:.2f}", f"{row['loss_ratio']:.3f}",
            ]
            for row in rows
        ],
    )  # fmt: skip
    return f"""## A narrow linear encoder, {rows[0]["count"]} training images

{cells}{failures}

Any decoder: E[x | Wy] with the learned encoder W, sampled from the same noise: what the best of all decoders would
generate. So r numbers, even one, are enough to copy; what keeps the network from it is the size of its decoder (below
K = N units it cannot hold N images) and, above that, training that has not reached this optimum (loss / any decoder
above 1 after {config.capacity_steps} steps). Different images: birthday estimate of how many different images the
network generates at all, from how many pairs of samples are the same.

![encoder](encoder.png)
"""


PART = Part(measure, report)


def _curves(config: Config, rows) -> Figure:
    figure, [[axes]] = plotting.panels(1, 1, width=5.5, height=3.6)
    for colour, r in zip(plotting.COLOURS, config.encoder_ranks, strict=False):
        if not (own := [row for row in rows if row["code_size"] == r]):
            continue
        column = lambda key, own=own: [row[key] for row in own]  # noqa: E731
        plotting.curve(
            axes, column("width"), column("memorised"), low=column("memorised_low"), high=column("memorised_high"),
            color=colour, label=f"r = {r}, network",
        )  # fmt: skip
        plotting.curve(
            axes, column("width"), column("memorised_closed_form"), color=colour, marker="x", markersize=7,
            linestyle="--", label=f"r = {r}, best of all decoders (predicted)",
        )  # fmt: skip
    count = rows[0]["count"]
    plotting.plain_log(axes, "x", sorted({*config.decoder_widths, count}))
    axes.axvline(count, color="0.5", linestyle=":", label="K = N")
    axes.set(xlabel="decoder units K", ylabel="memorised fraction", ylim=(-0.05, 1.05))
    axes.set_title(
        f"N = {count} images of {facts(config)} through a linear encoder to r numbers;\n"
        f"{config.num_samples} samples each, 95 % intervals, one training seed, {config.capacity_steps} steps",
        fontsize=9,
    )
    plotting.legend(figure, panels=[axes], ncols=2)
    return figure
