"""The experiment on patch machines, end to end at a tiny size."""

import dataclasses
import json

import numpy as np
import pytest

from experiments import local, runner


def test_presets_fill_what_is_not_given():
    config = local.resolve(local.Config(small=True, train_steps=7))
    assert (config.preset, config.train_steps, config.num_images) == ("small", 7, 1000)
    assert local.EXPERIMENT.folder_name(config) == "local-mnist-resnet-small"
    published = local.resolve(local.Config(preset="published", dataset="cifar10", network="unet"))
    assert (published.depth, published.width, published.image_size) == (8, 128, 32)
    assert local.EXPERIMENT.folder_name(published) == "local-cifar10-unet"


TINY = {
    "preset": "published", "dataset": "digits", "attention": True, "image_size": 8, "num_images": 40, "depth": 1,
    "width": 8, "unet_widths": (8, 8), "train_steps": 3, "batch_size": 1, "num_pairs": 3, "num_calibration": 1,
    "patch_sizes": (3, 5), "sampler_steps": 3, "progress": False,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet", "unet"])
def test_published_form_at_a_tiny_size(tmp_path, monkeypatch, network):
    config = local.Config(**TINY, network=network, output=str(tmp_path))
    metrics = runner.run(local.EXPERIMENT, config)
    folder = tmp_path / f"local-digits-{network}"
    assert {"samples.png", "scatter.png", "provenance.png", "summary.md"} <= {path.name for path in folder.iterdir()}
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert all(len(ks) == 3 for ks in metrics["patch_sizes"].values())
    assert all(-1 <= row["pearson_median"] <= 1 for row in metrics["agreement"].values())
    assert np.shape(metrics["calibration_errors"]) == (3, 2)

    # The report alone, anew: the same, and nothing is measured.
    before = {name: (folder / name).read_bytes() for name in ("summary.md", "metrics.json", "environment.json")}
    for name in ("summary.md", "samples.png", "scatter.png", "provenance.png"):
        (folder / name).unlink()
    monkeypatch.setattr("experiments.local.measure.generate", None)
    again = local.Config(dataset="digits", network=network, output=str(tmp_path), report_only=True, progress=False)
    assert runner.run(local.EXPERIMENT, again) == metrics
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert {"samples.png", "scatter.png", "provenance.png"} <= {path.name for path in folder.iterdir()}


def test_without_mnist_the_folder_is_named_after_what_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nothing"))
    config = local.Config(**(TINY | {"preset": "small", "dataset": "mnist"}), output=str(tmp_path / "runs"))
    resolved, prepared = local.EXPERIMENT.prepare(config)
    assert (resolved.dataset, resolved.image_size, resolved.num_images) == ("digits", 8, 40)
    assert prepared.x.shape == (40, 8, 8, 1)
    assert local.EXPERIMENT.folder_name(resolved) == "local-digits-resnet-small"
    # To report again, the same command finds what is there.
    again = dataclasses.replace(config, report_only=True)
    assert local.EXPERIMENT.folder_name(again) == "local-digits-resnet-small"
    (tmp_path / "runs" / "local-mnist-resnet-small").mkdir(parents=True)
    assert local.EXPERIMENT.folder_name(again) == "local-mnist-resnet-small"
    with pytest.raises(ValueError, match="mnist"):
        local.EXPERIMENT.prepare(dataclasses.replace(config, preset="cpu"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"soft_window": True}, "--soft-window goes with --padding circular"),
        ({"patch_sizes": (3, 4)}, "--patch-sizes must be odd and at most 15 for these images, got 4"),
        ({"patch_sizes": (3, 17)}, "--patch-sizes must be odd and at most 15"),
        ({"num_calibration": 0}, "--num-calibration must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "--learning-rate must be positive"),
        ({"network": "unet", "unet_widths": (4, 4), "image_size": 9}, "multiples of 2"),
    ],
)
def test_bad_settings_write_nothing(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        runner.run(local.EXPERIMENT, local.Config(**(TINY | changes), output=str(tmp_path)))
    assert not list(tmp_path.iterdir())
