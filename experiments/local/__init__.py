"""Do patch machines predict what a trained convolutional network generates, image by image?

    python -m experiments.local --small              # about two minutes on two cores: part of `make demo`
    python -m experiments.local                      # MNIST at 14x14, under an hour on two cores
    python -m experiments.local --preset published   # 32x32, 8 layers of 128 channels: for a GPU
    python -m experiments.local --preset published --dataset cifar10 --network unet
    python -m experiments.local --small --report-only    # tables and figures anew from what was measured

Trains a network, finds the patch size per noise level that agrees with it best on its own trajectories (`calibrate`),
samples network, patch machine and empirical denoiser from the same noise, and compares. Beside the calibrated sizes
stand two that are not fitted: from the network's receptive field and from the Wiener filter of the data. Writes
`runs/<name>/`: config.json, environment.json, metrics.json, summary.md, samples.png, scatter.png, provenance.png and
the network's checkpoints. A killed run goes on when started again.
"""

from experiments.local import measure, prepare, report
from experiments.local.settings import PRESETS, Config, folder_name, resolve
from experiments.runner import Experiment, Part

EXPERIMENT = Experiment(
    name="local",
    settings=Config,
    prepare=prepare.prepare,
    parts={"agreement": Part(measure.measure, report.report)},
    head=report.head,
    folder_name=folder_name,
    data=lambda prepared: prepared.x,
)

__all__ = ["EXPERIMENT", "PRESETS", "Config", "resolve"]
