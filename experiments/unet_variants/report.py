"""Tables of the variants, and the head of the summary."""

from experiments.runner import Arrays, Numbers, Run, number, table, without_empty_columns
from experiments.unet_variants import figures
from experiments.unet_variants.columns import COLUMNS

FORMS = {
    "empirical": "the exact optimum on the training images, which it reproduces",
    "linear": "the best linear denoiser of a structure: any matrix (full), a convolution (stationary), one of 3 x 3 "
    "pixels (local), a weight per pixel (pixelwise)",
    "polynomial": "the best quadratic function of each of the data's principal components",
    "prototypes": "an exact optimum on cluster centres in place of images",
    "ELS": "a patch machine (equivariant, local score): every pixel is a mean of the middle pixels of training patches "
    "that fit around it, from any place; border: it knows where the image ends",
}


def head(run: Run, metrics: Numbers) -> str:
    """What the run is of."""
    config, data = run.settings, metrics["data"]
    return f"""# {config.dataset}: one change of the UNet at a time

{data["train"]} training images of {"×".join(map(str, data["shape"]))}, {data["test"]} held out; {config.train_steps}
steps of {config.batch_size} images per noise level; {config.sampler_steps} DDIM steps; {config.num_samples} samples,
the first {config.num_pairs} compared with closed forms; realism in the features of {metrics["features"]};
{run.origin}.
"""


def report_variants(run: Run, numbers: Numbers, arrays: Arrays) -> str:
    """Draw the figures of the variants and write their section."""
    rows, config = numbers["variants"], run.settings
    held_out = _held_out(numbers["cells"]["variants"])
    has_samples = figures.draw_samples(run, rows, arrays)
    has_trade_off = figures.draw_trade_off(run, numbers, held_out)
    figures.draw_agreement(run, numbers)
    shown = [column for column in COLUMNS if column != "gap"]
    measures = table(
        ["variant", *shown],
        [[row["name"], *(_cell(row[column], config.training_seeds) for column in shown)] for row in rows]
        + [["held-out images", *(number(held_out.get(column)) for column in shown)]],
    )
    best = table(
        *without_empty_columns(
            ["variant", "best closed form", "r", "another seed"],
            [
                [row["name"], row["best"] or "–", number(row["agreement"].get(row["best"])),
                 number(row["agreement"]["another seed"])]
                for row in rows
            ],
        )
    )  # fmt: skip
    has_pairs = any(row["agreement"]["another seed"] is not None for row in rows)
    another = (
        " *Another seed*: the same between networks that differ in their training seed alone." if has_pairs else ""
    )
    forms = [form for form in rows[0]["agreement"] if form != "another seed"]
    meanings = [f"- *{key}*: {text}" for key, text in FORMS.items() if any(key in form for form in forms)]
    failures = [f"{row['name']}: training failed ({row['failed'][0]})." for row in rows if row["failed"]]
    many = f"Mean (standard deviation) over {config.training_seeds} training seeds."
    blocks = [
        "## Variants",
        measures,
        f"""\
{many if config.training_seeds > 1 else "One training seed."} *Finite*: samples that did not diverge; *loss*: denoising
loss per entry on held-out images, mean over the noise levels; *memorised*: nearest training image less than a third as
far as the next different one; *novelty*: median distance to the nearest training image, over that of held-out images;
*patch k*: probability that a k x k patch is nearer to a training patch than one of a held-out image is (0.5: as new as
those). *Frechet*: distance of the Gaussians fitted to the features of samples and of images; *kid*: their kernel
distance; *precision*: share of samples that lie among images; *recall*: share of images that lie among samples;
*coverage*: share of images with a sample nearby; *spectrum*: error of the radial power spectrum.""",
        *failures,
        best,
        f"*r*: correlation of the images that closed form and network make of the same noise, median over\n"
        f"{config.num_pairs} noises.{another} The closed forms:",
        "\n".join(meanings),
        "\n".join([
            *["![samples: a column starts from one noise](samples.png)"] * has_samples,
            *["![novelty and realism](novelty_realism.png)"] * has_trade_off,
            "![agreement of closed forms and networks](agreement.png)",
        ]),
    ]  # fmt: skip
    return "\n\n".join(blocks) + "\n"


def _held_out(cells: list[Numbers]) -> Numbers:
    """The row of held-out images, as far as a network's measures came with it."""
    reference = next((cell for cell in cells if cell.get("realism")), None)
    if reference is None:
        return {}
    names = {
        "frechet": "frechet", "kid": "kernel_distance", "precision": "precision", "recall": "recall",
        "coverage": "coverage", "spectrum": "spectrum_error",
    }  # fmt: skip
    found = {column: reference["realism"][f"held_out_{name}"] for column, name in names.items()}
    memorised = reference["novelty"]["held_out_memorised_fraction"]
    patches = {f"patch {k}": 0.5 for k in (3, 7) if f"patch{k}_nearer" in reference["patches"]}
    return found | {"memorised": memorised, "novelty": 1.0} | patches


def _cell(value: Numbers | None, seeds: int) -> str:
    if value is None:
        return "–"
    if value["mean"] >= 100:
        return f"{value['mean']:.0f}"
    return f"{value['mean']:.3f}" + (f" ({value['sd']:.3f})" if seeds > 1 else "")
