"""Speed and memory, each against a yardstick measured in the same run; numbers of note stand in `results/README.md`.

| command                          | measures                                                    | yardstick                         |
|----------------------------------|-------------------------------------------------------------|-----------------------------------|
| `python -m benchmarks.local`     | a call of patch denoisers: time, memory, rounding           | matrix products                   |
| `python -m benchmarks.gradients` | gradients through the sampler: time, memory by steps        | the forward pass                  |
| `python -m benchmarks.training`  | a training step                                             | the same step by hand; PyTorch    |
"""
