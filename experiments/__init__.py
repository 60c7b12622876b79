"""Questions, one package each, and the runner that they share; `python -m experiments.<name> --help`."""

import os

# XLA reports harmless differences of machine features as errors, kilobytes for each program that is read from the cache
# of compiled ones.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
