"""What is measured: the network trained, patch sizes calibrated, images of the same noises compared and traced back."""

import time
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from experiments.local.prepare import Prepared
from experiments.runner import Arrays, Measured, Numbers, Run, slug
from jaxcreativity import Denoiser, generate, networks, training
from jaxcreativity.generation import trajectories
from jaxcreativity.metrics import agreement, nearest_neighbours
from jaxcreativity.theory.empirical import EmpiricalDenoiser
from jaxcreativity.theory.patches import by_level, calibrate, fit_lengths, predicted_patch_sizes, provenance

MAX_CANDIDATES = 100
"""Effective number of patches up to which a pixel is taken to come from the nearest."""
SHOWN = 10
"""Noises that the figure of samples shows."""
TRACED = 5
"""Images whose pixels are traced back."""
BATCH = 8
"""Images that a closed form makes at once."""


def measure(run: Run, prepared: Prepared) -> Measured:
    """Agreement of every closed form's images with the network's, of the same noises, and where pixels come from."""
    began = time.perf_counter()
    network = _train(run, prepared)
    found, _ = run.stage("patch-sizes", lambda: _patch_sizes(run, prepared, network))
    sizes = found["patch_sizes"]
    for name, ks in sizes.items():
        run.say(f"{name}: {' '.join(map(str, ks))}")

    def machine(name: str) -> Denoiser:
        return by_level(prepared.x, prepared.sigmas, sizes[name], equivariant=True, boundary=prepared.boundary)

    of_network = _sample(run, prepared, "network", lambda: network, batch_size=None)
    empirical = _sample(run, prepared, "empirical", lambda: EmpiricalDenoiser(prepared.x))
    calibrated, before = _calibrated(run, prepared, lambda: machine("calibrated"))
    samples = {"calibrated": calibrated}
    samples |= {
        name: _sample(run, prepared, name, lambda name=name: machine(name)) for name in sizes if name not in samples
    }
    if prepared.config.soft_window:
        numbers, arrays = run.stage("samples/soft-window", lambda: _soft_window(run, prepared, network))
        sizes, samples = sizes | numbers, samples | {"soft window": arrays["samples"]}
    _, traced = run.stage("provenance", lambda: _provenance(run, prepared, machine("calibrated"), before, calibrated))

    with run.doing("comparing images"):
        numbers = _compare(of_network, empirical, samples, sizes)
        nearest = nearest_neighbours(jnp.asarray(of_network[:SHOWN]), prepared.x).indices[:, 0]
    numbers |= {
        "calibration_errors": found["calibration_errors"],
        "sigma_of_last_step": float(prepared.sigmas[-2]),
        "seconds": time.perf_counter() - began,
    }
    shown = {
        "noise": np.asarray(prepared.z),
        "network": of_network,
        "ELS": samples["calibrated"],
        "empirical": empirical,
    }
    shown = {name: images[:SHOWN] for name, images in shown.items()}
    return numbers, shown | {"nearest": np.asarray(prepared.x[nearest])} | traced


def _train(run: Run, prepared: Prepared) -> networks.NetworkDenoiser:
    config = prepared.config
    with run.doing(f"compiling and training the {config.network}"):
        return training.fit(
            prepared.module, prepared.x, prepared.sigmas, key=prepared.training_key, num_steps=config.train_steps,
            batch_size=config.batch_size, learning_rate=config.learning_rate, prediction="v",
            checkpoint_folder=run.folder / "network", progress=config.progress,
        )  # fmt: skip


def _patch_sizes(run: Run, prepared: Prepared, network: Denoiser) -> Measured:
    """Patch sizes by level: calibrated on the network's trajectories, and those for which nothing is fitted."""
    config, x, sigmas, z = prepared.config, prepared.x, prepared.sigmas, prepared.z_calibration
    with run.doing(
        f"calibrating patch sizes {' '.join(map(str, config.patch_sizes))} at {len(sigmas) - 1} noise levels"
    ):
        options = {"equivariant": True, "boundary": prepared.boundary}
        calibration = calibrate(network, x, sigmas, config.patch_sizes, z, **options)
    sizes = {"calibrated": calibration.patch_sizes}
    if config.preset != "small":
        with run.doing("measuring the receptive fields of the network and of the Wiener filter"):
            sizes["receptive field"] = predicted_patch_sizes(network, sigmas, z)
            sizes["Wiener filter"] = predicted_patch_sizes(x, sigmas)
    largest = 2 * max(x.shape[1:3]) - 1
    sizes = {name: [int(min(k, largest)) for k in ks] for name, ks in sizes.items()}
    return {"patch_sizes": sizes, "calibration_errors": np.asarray(calibration.errors).tolist()}, {}


def _sample(
    run: Run, prepared: Prepared, name: str, build: Callable[[], Denoiser], batch_size: int | None = BATCH
) -> np.ndarray:
    def compute() -> Measured:
        with run.doing(f"{name}: compiling and sampling {len(prepared.z)} images"):
            return {}, {"samples": np.asarray(generate(build(), prepared.z, prepared.sigmas, batch_size=batch_size))}

    return run.stage(f"samples/{slug(name)}", compute)[1]["samples"]


def _calibrated(run: Run, prepared: Prepared, build: Callable[[], Denoiser]) -> tuple[np.ndarray, np.ndarray]:
    """Images of the calibrated patch machine, and, of the first, the states that its last step began with."""

    def compute() -> Measured:
        with run.doing(f"calibrated: compiling and sampling {len(prepared.z)} images"):
            states = trajectories(build(), prepared.z, prepared.sigmas, batch_size=BATCH)
            return {}, {"samples": np.asarray(states[:, -1]), "before": np.asarray(states[:TRACED, -2])}

    _, arrays = run.stage("samples/calibrated", compute)
    return arrays["samples"], arrays["before"]


def _soft_window(run: Run, prepared: Prepared, network: Denoiser) -> Measured:
    """The length at every noise level that a Gaussian window is fitted to have, and the images that it makes."""
    with run.doing("soft window: fitting its lengths to the network"):
        soft, _ = fit_lengths(network, prepared.x, prepared.sigmas, prepared.z_calibration)
    with run.doing(f"soft window: compiling and sampling {len(prepared.z)} images"):
        samples = np.asarray(generate(soft, prepared.z, prepared.sigmas, batch_size=BATCH))
    lengths = [float(f"{length:.3g}") for length in np.exp(np.asarray(soft.log_lengths))]
    return {"soft window": lengths}, {"samples": samples}


def _provenance(run: Run, prepared: Prepared, machine: Denoiser, before: np.ndarray, samples: np.ndarray) -> Measured:
    """Of the last step: the source of every pixel, the effective number of candidates, and the image used most."""
    sigma, found = prepared.sigmas[-2], []
    with run.doing(f"compiling, and tracing the pixels of {len(before)} images to training images"):
        for y, image in zip(before, samples[: len(before)], strict=True):
            traced = provenance(machine.denoisers[-1], y, sigma)
            candidates, sources = np.asarray(traced.candidates), np.asarray(traced.image)
            known = candidates < MAX_CANDIDATES  # elsewhere the nearest of many says nothing; NaN at the border
            main = int(np.bincount(sources[known]).argmax()) if known.any() else 0
            found.append({
                "traced": image, "source": np.where(known, sources, -1), "candidates": candidates,
                "main": np.asarray(prepared.x[main]), "used": (sources == main) & known,
                "row": np.asarray(traced.row), "column": np.asarray(traced.column),
            })  # fmt: skip
    return {}, {name: np.stack([one[name] for one in found]) for name in found[0]}


def _compare(of_network: np.ndarray, empirical: np.ndarray, samples: Arrays, sizes: Numbers) -> Numbers:
    floor = agreement(empirical, of_network)
    rows, pearson = {"empirical": floor.summary() | {"better_than_empirical": 0.0}}, {}
    for name, x in samples.items():
        pairs = agreement(x, of_network)
        better = float(jnp.mean((pairs.pearson > floor.pearson).astype(float)))
        rows[name] = pairs.summary() | {"better_than_empirical": better, "patch_sizes": list(sizes[name])}
        pearson[name] = pairs.pearson.tolist()
    return {
        "agreement": rows,
        "patch_sizes": {name: list(ks) for name, ks in sizes.items()},
        "pearson": pearson,
        "pearson_empirical": floor.pearson.tolist(),
    }
