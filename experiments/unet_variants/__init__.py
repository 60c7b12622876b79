"""Which small change of a UNet makes its samples novel, realistic, or neither, and which closed form explains them?

    python -m experiments.unet_variants --small          # three variants on digits: part of `make demo`
    python -m experiments.unet_variants                  # all variants that fit 8x8 digits
    python -m experiments.unet_variants --dataset mnist --image-size 32 --widths 32 64 128 --train-steps 20000 \
        --batch-size 16 --num-samples 4096               # the full set, for a GPU
    python -m experiments.unet_variants --network my_package.my_module:factory    # your own network
    python -m experiments.unet_variants --help
    python -m experiments.unet_variants --report-only    # tables and figures anew from what was measured

One change per network, all else equal: images, their order, noise, noise levels, steps and seeds. Three parts:

- `variants`: every variant with several training seeds; novelty (distance to the training set, copies, patches),
  realism (Frechet and kernel distance, precision, recall, coverage in a stated feature space), and the agreement, image
  by image from the same noise, with every closed form.
- `sweep`: the baseline and one variant on N = 2^4 ... 2^14 images: from memorising to generalising.
- `controls`: the baseline on images whose pixels were shuffled by one permutation, and pairs of networks trained on
  disjoint parts of the data.

Writes `runs/<name>/`: config.json, environment.json, metrics.json, summary.md, figures, and for each network its
checkpoints, samples and numbers, from which a killed run goes on; at most a tenth of one training is lost.
"""

from experiments.runner import Experiment, Part
from experiments.unet_variants import measure, prepare, report, report_data
from experiments.unet_variants.settings import PARTS, Config

EXPERIMENT = Experiment(
    name="unet-variants",
    settings=Config,
    prepare=prepare.prepare,
    parts={
        "variants": Part(measure.measure_variants, report.report_variants),
        "sweep": Part(measure.measure_sweep, report_data.report_sweep),
        "controls": Part(measure.measure_controls, report_data.report_controls),
    },
    head=report.head,
    chosen=lambda config: tuple(part for part in PARTS if part in config.parts),
    data=lambda setup: (setup.x, setup.test, setup.labels),
)

__all__ = ["EXPERIMENT", "Config"]
