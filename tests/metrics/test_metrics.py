"""The package as a whole: what importing it loads, and that its names are there."""

import subprocess
import sys

import pytest

from jaxcreativity import metrics


def test_importing_metrics_loads_nothing_that_only_the_classifier_needs():
    code = (
        "import sys, jaxcreativity.metrics as metrics\n"
        "loaded = [name for name in ('flax', 'optax', 'matplotlib', 'scipy.stats', 'sklearn') if name in sys.modules]\n"
        "sys.exit(', '.join(loaded) or 0)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.stderr, found.returncode) == ("", 0)


@pytest.mark.parametrize("package", [metrics, metrics.features, metrics.fidelity, metrics.memorisation])
def test_every_name_is_there_and_in_the_table(package):
    for name in package.__all__:
        found = getattr(package, name)
        assert not callable(found) or name[0].isupper() or f"`{name}" in package.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_functions_stay_functions_beside_modules():
    for name in ("agreement", "novelty", "realism", "nearest_neighbours"):
        assert callable(getattr(metrics, name))
