"""Questions, one package each, and the runner that they share; `python -m experiments.<name> --help`."""

import os
import sys

# XLA reports harmless differences of machine features as errors, kilobytes for each program that is read from the cache
# of compiled ones.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _in_one_line(kind, error, trace):
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted; nothing was written", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


# Ctrl-C in the seconds of importing, before the runner is there to say so; `python -m` names itself so until then.
if sys.argv[0] == "-m":
    sys.excepthook = _in_one_line
