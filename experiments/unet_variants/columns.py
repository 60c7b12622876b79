"""Where the numbers of the tables stand in those of one network."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

COLUMNS: Mapping[str, Callable[[Any], float]] = {
    "finite": lambda n: n["num_finite"],
    "loss": lambda n: n["loss_test"],
    "gap": lambda n: n["loss_test"] / n["loss_train"],
    "memorised": lambda n: n["novelty"]["memorised_fraction"],
    "novelty": lambda n: n["novelty"]["distance_median"] / n["novelty"]["held_out_distance_median"],
    "patch 3": lambda n: n["patches"]["patch3_nearer"],
    "patch 7": lambda n: n["patches"]["patch7_nearer"],
    "frechet": lambda n: n["realism"]["frechet"],
    "kid": lambda n: n["realism"]["kernel_distance"],
    "precision": lambda n: n["realism"]["precision"],
    "recall": lambda n: n["realism"]["recall"],
    "coverage": lambda n: n["realism"]["coverage"],
    "spectrum": lambda n: n["realism"]["spectrum_error"],
}

SWEEP_COLUMNS: Mapping[str, Callable[[Any], float]] = {
    "memorised": COLUMNS["memorised"],
    "novelty": COLUMNS["novelty"],
    "frechet": COLUMNS["frechet"],
    "loss": COLUMNS["loss"],
    "gap": COLUMNS["gap"],
    "r empirical": lambda n: n["agreement"]["empirical"]["pearson_median"],
}


def find_number(find: Callable[[Any], float], network: Mapping[str, Any]) -> float | None:
    """A number of one network, `None` where there is none: nothing finite was generated, or training failed."""
    try:
        value = find(network)
    except (KeyError, TypeError, ZeroDivisionError):
        return None
    return None if value is None or not np.isfinite(value) else float(value)
