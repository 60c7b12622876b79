"""Lines that say what a run is doing: nobody waits for more than a few seconds without one."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

_EVERY = 8.0  # seconds


def write(text: str) -> None:
    """Print a line above any bar that is shown, at once."""
    tqdm.write(text)
    sys.stdout.flush()


def _last_drawn() -> float:
    """When a progress bar was last drawn, in seconds of `time.time()`."""
    bars = list(getattr(tqdm, "_instances", ()))
    return max((getattr(bar, "last_print_t", 0.0) for bar in bars), default=0.0)


@contextmanager
def doing(what: str, *, show: bool = True) -> Iterator[None]:
    """Print `what` when it begins, again every few seconds while it lasts and no bar moves, and how long it took.

    Args:
        what: for example `"compiling and sampling 8 networks"`.
        show: whether to print at all.
    """
    if not show:
        yield
        return
    began, done = time.perf_counter(), threading.Event()
    write(f"{what} ...")

    def remind():
        last = time.time()
        while not done.wait(0.5):
            last = max(last, _last_drawn())
            if time.time() - last >= _EVERY:
                write(f"  ... still {what}, {time.perf_counter() - began:.0f} s")
                last = time.time()

    thread = threading.Thread(target=remind, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    seconds = time.perf_counter() - began
    if seconds > _EVERY:
        write(f"  {what}: {seconds:.0f} s")
