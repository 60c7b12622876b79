"""What is measured of each entry: its network trained, sampled beside its closed forms, and compared with them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.compare.entries import ENTRIES, Entry, empirical
from experiments.compare.setup import Setup
from experiments.runner import Measured, Numbers, Run, slug, why
from jaxcreativity import distributions, generate, networks, training
from jaxcreativity.denoiser import Denoiser
from jaxcreativity.distributions import Gaussian
from jaxcreativity.metrics import agreement, covariance_error, novelty, sampling_error
from jaxcreativity.theory import linear
from jaxcreativity.theory.empirical import EmpiricalDenoiser

MAX_EXACT_LAW_ENTRIES = 1024
SHOWN = 12
"""Samples of each that the figures show."""


def measure(part: str) -> Callable[[Run, Setup], Measured]:
    """What measures all entries of one part of the report."""

    def measure(run: Run, setup: Setup) -> Measured:
        references, samples = run.stage("references", lambda: _references(run, setup))
        numbers = {
            "data": {"train": len(setup.x), "test": len(setup.test), "shape": list(setup.x.shape[1:])},
            "comparisons": [],
            "novelty": dict(references),
        }
        arrays = {
            "held-out images": setup.test[:SHOWN],
            "empirical": samples["empirical"][:SHOWN],
            "variances": setup.principal_axes[0],
        }
        for name in setup.config.entries:
            if ENTRIES[name].part == part:
                found, shown = run.attempt(
                    f"entries/{slug(name)}", lambda name=name: _entry(run, setup, name, samples["empirical"])
                )
                if "failed" in found:
                    numbers["comparisons"].append({"network": name, "closed_form": "–", **found})
                    continue
                numbers["comparisons"] += found["comparisons"]
                numbers["novelty"] |= found["novelty"]
                arrays |= {f"{name}/{key}": array for key, array in shown.items()}
        return numbers, arrays

    return measure


def _references(run: Run, setup: Setup) -> Measured:
    """Novelty of images that no network made, and the empirical denoiser's samples, which all are compared with."""
    count = setup.config.num_pairs
    with run.doing(f"sampling {count} images of the empirical closed form"):
        samples = generate(empirical(setup), setup.z[:count], setup.sigmas)
    shown = {"held-out images": setup.test[:count], "empirical closed form": samples}
    with run.doing("measuring the novelty of held-out images and of the empirical closed form"):
        found = {name: novelty(jnp.asarray(images), setup.x).summary() for name, images in shown.items()}
    return found, {"empirical": np.asarray(samples)}


def _entry(run: Run, setup: Setup, name: str, empirical_samples: np.ndarray) -> Measured:
    """Rows of one network against its closed forms, its novelty, and what the figures show of it."""
    entry, count = ENTRIES[name], setup.config.num_pairs
    with run.doing(f"{name}: fitting closed forms"):
        forms = [make(setup) for make in (entry.theory, entry.without) if make]
        theories = {label(theory): theory for theory in forms}
    failed = lambda why: [{"network": name, "closed_form": form, "failed": why} for form in theories]  # noqa: E731
    try:
        with run.doing(f"{name}: compiling and training"):
            network = _train(run, setup, name, entry)
    except FloatingPointError as error:
        return {"comparisons": failed(f"training failed: {why(error, setup.config)}"), "novelty": {}}, {}

    with run.doing(f"{name}: compiling and sampling {setup.config.num_samples} images of network and closed forms"):
        samples = np.asarray(generate(network, setup.z, setup.sigmas))
        of_theory = {
            form: empirical_samples
            if isinstance(theory, EmpiricalDenoiser)
            else np.asarray(generate(theory, setup.z[:count], setup.sigmas))
            for form, theory in theories.items()
        }
    diverged = int((~np.isfinite(samples)).reshape(len(samples), -1).any(axis=1).sum())
    if diverged:
        return {"comparisons": failed(f"{diverged} of {len(samples)} samples diverged"), "novelty": {}}, {}

    rows, arrays = [], {"network": samples[:SHOWN], "variances/network": _variances(setup, _law(samples))}
    with run.doing(f"{name}: comparing"):
        for form, theory in theories.items():
            row, predicted = _compare(setup, entry, theory, of_theory[form], network, samples, empirical_samples)
            rows.append({"network": name, "closed_form": form, **row})
            arrays[f"closed form/{form}"] = of_theory[form][:SHOWN]
            if predicted is not None:
                arrays[f"variances/{form}"] = _variances(setup, predicted)
        found = {f"{name}, network": novelty(jnp.asarray(samples[:count]), setup.x).summary()}
    return {"comparisons": rows, "novelty": found}, arrays


def _train(run: Run, setup: Setup, name: str, entry: Entry) -> networks.NetworkDenoiser:
    config = setup.config
    key = jax.random.fold_in(setup.key("training"), list(ENTRIES).index(name))
    options = {"num_steps": config.train_steps, "batch_size": config.batch_size} | entry.training(setup)
    return training.fit(
        entry.network(setup), setup.x, setup.sigmas, key=key, sigma_data=setup.sigma_data,
        checkpoint_folder=run.folder / "networks" / name.replace(" ", "_"), progress=config.progress, label=name,
        **options,
    )  # fmt: skip


def _compare(
    setup: Setup, entry: Entry, theory: Denoiser, of_theory: np.ndarray, network: Any, samples: np.ndarray,
    empirical_samples: np.ndarray,
) -> tuple[Numbers, Gaussian | None]:  # fmt: skip
    """Numbers of a network against a closed form, and the law that it predicts if that is a Gaussian."""
    pairs, count = len(of_theory), len(samples)
    if not np.isfinite(of_theory).all():
        return {"failed": "the closed form's samples diverged"}, None
    row = dict(agreement(of_theory, samples[:pairs]).summary())
    with_empirical = agreement(empirical_samples, samples[:pairs]).summary()
    row["pearson_with_empirical_median"] = with_empirical["pearson_median"]
    if isinstance(theory, EmpiricalDenoiser):
        return row, None
    distance = lambda p, q: float(distributions.wasserstein2(p, q, precise=True))  # noqa: E731
    predicted = linear.generated(theory, setup.sigmas)
    ideal = predicted.sample(setup.key("floor"), count)
    row |= {
        "covariance_error": float(covariance_error(samples, predicted.covariance)),
        "covariance_error_floor": float(sampling_error(predicted.covariance, count)),
        "wasserstein2": distance(predicted, _law(samples)),
        "wasserstein2_floor": distance(predicted, _law(ideal)),
        "total_standard_deviation": float(jnp.sqrt(jnp.trace(predicted.covariance))),
    }
    if entry.part != "nonlinear" and setup.x[0].size <= MAX_EXACT_LAW_ENTRIES:
        law = linear.generated(linear.from_denoiser(network, setup.sigmas, setup.x.shape[1:]), setup.sigmas)
        row["wasserstein2_exact"] = distance(predicted, law)
    return row, predicted


def _law(samples) -> Gaussian:
    return distributions.fit_gaussian(samples)


def _variances(setup: Setup, law: Gaussian) -> np.ndarray:
    """Variances of a law along the data's principal axes."""
    axes = setup.principal_axes[1]
    return np.einsum("im,ij,jm->m", axes, np.asarray(law.covariance, np.float64), axes, optimize=True)


def label(theory: Denoiser) -> str:
    """What a closed form is called in a table."""
    if isinstance(theory, EmpiricalDenoiser):
        return "empirical"
    effects = []
    if float(theory.weight_decay):
        effects.append("weight decay")
    if np.isfinite(theory.training_time):
        effects.append("stopped early")
    return ", ".join([theory.structure.replace("_", " "), *effects])
