"""What a bottleneck generates, and when capacity turns into memory.

    python -m experiments.bottleneck                      # all four parts on the embedded digits
    python -m experiments.bottleneck --dataset mnist --image-size 14 --num-images 4096
    python -m experiments.bottleneck --parts capacity --counts 16 32 64 128 256 512 1024 2048 \
        --widths 16 32 64 128 256 512 1024 2048 --dataset mnist --image-size 8    # the full capacity sweep
    python -m experiments.bottleneck --small              # few sizes, short training: part of `make demo`
    python -m experiments.bottleneck --report-only        # tables and figures again, from the stored numbers
    python -m experiments.bottleneck --help

Four parts, each closed form against trained network:

- `codes`: r code numbers. Linear decoder against the PCA Gaussian; nonlinear decoder against the regression manifold
  behind the encoder that was learned, which for a finite training set is that set.
- `capacity`: N training images, one hidden layer of K units. Which samples are copies, and where is the boundary?
  Softmax units can be the K-atom denoiser, which memorises from K = N on; silu units have no such closed form.
- `encoder`: memorisation through r = 1, 2, 4 code numbers, and its end when the decoder shrinks.
- `rank`: rank of dD/dy along a trajectory.

Writes `runs/<name>/`: config.json, environment.json, metrics.json, summary.md, figures and `stages/`, the results of
finished networks, from which a killed run resumes.
"""

from experiments.bottleneck import capacity, codes, encoder, rank
from experiments.bottleneck.settings import SMALL, Config, head, prepare
from experiments.runner import Experiment

PARTS = {"codes": codes.PART, "capacity": capacity.PART, "encoder": encoder.PART, "rank": rank.PART}
EXPERIMENT = Experiment(
    "bottleneck", Config, prepare, PARTS, head,
    chosen=lambda config: config.parts, data=lambda setup: (setup.x, setup.test),
)  # fmt: skip

__all__ = ["EXPERIMENT", "SMALL", "Config"]
