"""The experiment on patch machines, end to end at a tiny size."""

import json

import numpy as np
import pytest

from experiments import local


def test_presets_fill_what_is_not_given():
    config = local.resolve(local.Config(small=True, train_steps=7))
    assert (config.preset, config.train_steps, config.num_images) == ("small", 7, 1000)
    assert config.name == "local-mnist-resnet-small"
    published = local.resolve(local.Config(preset="published", dataset="cifar10", network="unet"))
    assert (published.depth, published.width, published.image_size) == (8, 128, 32)
    assert published.name == "local-cifar10-unet"


@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet", "unet"])
def test_published_form_at_a_tiny_size(tmp_path, network):
    config = local.Config(
        preset="published", dataset="digits", network=network, attention=True, image_size=8, num_images=40, depth=1,
        width=8, unet_widths=(8, 8), train_steps=3, batch_size=1, num_pairs=3, num_calibration=1, patch_sizes=(3, 5),
        sampler_steps=3, output=str(tmp_path), progress=False,
    )  # fmt: skip
    metrics = local.main(config)
    folder = tmp_path / f"local-digits-{network}"
    assert {"samples.png", "scatter.png", "provenance.png", "summary.md"} <= {path.name for path in folder.iterdir()}
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert all(len(ks) == 3 for ks in metrics["patch_sizes"].values())
    assert all(-1 <= row["pearson_median"] <= 1 for row in metrics["agreement"].values())
    assert np.shape(metrics["calibration_errors"]) == (3, 2)
