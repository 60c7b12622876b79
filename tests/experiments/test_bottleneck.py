"""The bottleneck experiment: its contour, its resume, and a whole small run."""

import json

import jax
import numpy as np
import pytest

from experiments import bottleneck, bottleneck_capacity
from jaxcreativity import networks


def test_contour_is_where_half_is_memorised_in_log_k():
    cells = {16: (0.0, 0.5, 1.0), 64: (0.1, 0.2, 0.8), 256: (0.0, 0.1, 0.2)}
    rows = [
        {"kind": "softmax", "count": n, "width": k, "memorised": f}
        for n, fractions in cells.items()
        for k, f in zip((8, 32, 128), fractions, strict=True)
    ]
    contour = bottleneck_capacity._contour([*rows[::-1], {**rows[0], "kind": "silu"}], "softmax", [16, 64, 256])
    np.testing.assert_allclose(contour[:2], [32, 64])
    assert contour[2] is None


def test_each_network_of_a_group_sees_its_own_images(tmp_path):
    """Two sets trained side by side: the one of a single image learns to return it at all noise levels."""
    x = jax.random.normal(jax.random.key(0), (4, 2, 2, 1), "float32")
    config = bottleneck.Config(capacity_steps=300, sampler_steps=3, progress=False)
    setup = bottleneck.Setup(config, tmp_path, x, x, x)
    trained = bottleneck_capacity._train_together(
        setup, networks.ShallowMLP(8, "softmax"), [1, 3], bottleneck.log_grid(config, 0.1)
    )
    y = x[1] + 0.1
    errors = {n: float(np.abs(network(y, 0.1) - x[0]).max()) for n, network in trained.items()}
    assert errors[1] < 0.05
    assert errors[3] > 0.3


def test_finished_cells_are_read_not_computed(tmp_path):
    setup = bottleneck.Setup(bottleneck.Config(), tmp_path, None, None, None)
    first = setup.cell("a", lambda: ({"value": 0.5}, {"images": np.arange(3.0)}))
    second = setup.cell("a", lambda: pytest.fail("computed again"))
    assert first[0] == second[0] == {"value": 0.5}
    np.testing.assert_array_equal(second[1]["images"], np.arange(3.0))


def test_unknown_part(tmp_path):
    with pytest.raises(ValueError, match=r"unknown parts .'code'.; there are codes, capacity, encoder, rank"):
        bottleneck.main(bottleneck.Config(parts=("code",), output=str(tmp_path)))


@pytest.mark.slow
def test_small_run(tmp_path):
    config = bottleneck.Config(small=True, output=str(tmp_path), progress=False)
    metrics = bottleneck.main(config)
    folder = tmp_path / "bottleneck-digits"
    assert {path.name for path in folder.glob("*.png")} == {
        "codes.png", "code_sizes.png", "capacity.png", "encoder.png", "rank.png",
    }  # fmt: skip
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    linear, nonlinear = metrics["codes"]
    # Measured after 500 steps: 0.993 and 0.88.
    assert linear["pearson_median"] > 0.95
    assert nonlinear["memorised"] < 0.1 < nonlinear["memorised_closed_form"]
    memorised = {(row["kind"], row["count"], row["width"]): row["memorised"] for row in metrics["capacity"]["cells"]}
    assert memorised["softmax", 16, 8] < 0.2 < 0.6 < memorised["softmax", 16, 32]
    supports = {row["kind"]: row["support_size"] for row in metrics["capacity"]["cells"] if row["width"] == 8}
    assert supports["prototypes"] < 10
    few, many = metrics["encoder"]
    assert few["memorised"] < 0.2 < many["memorised"]
    assert metrics["rank"][0]["largest_rank"] == 4
    again = bottleneck.main(config)  # from the cells
    assert again == metrics
