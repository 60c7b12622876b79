"""Numbers that must stay: a few of every denoiser, sampler and training on fixed inputs in float64.

A dependency's upgrade cannot change results unseen. `golden.json` holds them; after a change that is meant,

    python -m tests.golden

writes it anew, and its difference shows in the commit what moved and by how much.
"""

import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("golden.json")


def digest(array) -> list[float]:
    """Mean, root mean square, first and last entry: a few numbers in which a change anywhere is seen."""
    array = np.asarray(array, np.float64)
    return [float(array.mean()), float(np.sqrt(np.mean(np.square(array)))), float(array.flat[0]), float(array.flat[-1])]


def check(name: str, array, rtol: float = 1e-8) -> None:
    """Raise `AssertionError` if an array's numbers are not those on file.

    Rounding in another order of sums, which another version may choose, is allowed for.
    """
    np.testing.assert_allclose(digest(array), json.loads(FILE.read_text())[name], rtol=rtol, atol=1e-10)


if __name__ == "__main__":
    from tests import conftest  # noqa: F401  (float64)
    from tests.test_contract import CASES, apply_to_golden
    from tests.test_golden import COMPUTED

    arrays = {str(case): apply_to_golden(case) for case in CASES} | {name: f() for name, f in COMPUTED.items()}
    FILE.write_text(json.dumps({name: digest(array) for name, array in arrays.items()}, indent=1) + "\n")
