"""Part `laws`: what polynomials of each degree generate from one-dimensional targets, predicted and trained."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from experiments.polynomial.report import BINS, POINTS, report_laws
from experiments.polynomial.settings import Setup
from experiments.polynomial.targets import make_targets
from experiments.runner import Measured, Part, Run
from jaxcreativity import generate, networks, training
from jaxcreativity.theory import polynomial


def measure(run: Run, setup: Setup) -> Measured:
    """A row for every target and degree, distances for moment matching, and the curves of the figure."""
    config = run.settings
    with run.doing("drawing the targets"):
        targets = make_targets(config, setup.images)
    found, failed = {}, []
    for degree in config.degrees:
        measured = run.attempt(f"degree_{degree}", lambda degree=degree: _one_degree(run, setup, targets, degree))
        if "failed" in measured[0]:
            failed.append({"degree": degree, **measured[0]})
        else:
            found[degree] = measured
    if not found:
        raise FloatingPointError(f"no degree was measured; {failed[0]['degree']}: {failed[0]['failed']}")
    numbers = {
        "marginals": [row for of_degree, _ in found.values() for row in of_degree["marginals"]],
        "moment_matching": {str(degree): of_degree["moment_matching"] for degree, (of_degree, _) in found.items()},
    }
    if failed:
        numbers["failed_degrees"] = failed
    arrays = {name: np.stack([curves[name] for _, curves in found.values()]) for name in next(iter(found.values()))[1]}
    return numbers, arrays | {"target": np.stack([_histogram(x) for x in targets.values()])}


PART = Part(measure, report_laws)


def _one_degree(run: Run, setup: Setup, targets: dict[str, np.ndarray], degree: int) -> Measured:
    config, grid = run.settings, setup.grid
    x = jnp.asarray(np.stack(list(targets.values()), axis=1), jnp.float32)
    z = jax.random.normal(jax.random.key(config.seed + 1), (config.num_samples, x.shape[1]), x.dtype)
    with run.doing(f"closed form of degree {degree}"):
        theory = polynomial.fit(x, degree, basis="pixel", sigmas=grid)
        law = _law(targets, degree, grid)
    network = training.fit(
        networks.PolynomialReadout(tuple(np.asarray(grid[:-1]).tolist()), degree), x, grid,
        key=jax.random.key(config.seed + 2), num_steps=config.train_steps, batch_size=config.batch_size,
        learning_rate=0.02, sigma_data=1.0, prediction="v", progress=config.progress, label=f"degree {degree}",
        checkpoint_folder=run.folder / "networks" / f"degree_{degree}",
    )  # fmt: skip
    with run.doing(f"sampling {config.num_samples} examples of degree {degree}, closed form and network"):
        of_theory, of_network = (np.asarray(generate(d, z, grid)) for d in (theory, network))
    numbers = {
        "marginals": [
            {"target": name, "degree": degree, **_compare(law, i, of_theory[:, i], of_network[:, i])}
            for i, name in enumerate(targets)
        ],
        "moment_matching": {
            "predicted": float(np.abs(law["cdf"][:, 0] - law["cdf"][:, 1]).max()),
            "networks": float(scipy.stats.ks_2samp(of_network[:, 0], of_network[:, 1]).statistic),
        },
    }
    return numbers, {"density": law["density"].T, "network": np.stack([_histogram(x) for x in of_network.T])}


def _law(targets, degree, grid) -> dict[str, np.ndarray]:
    """Predicted law of every target, in float64."""
    with jax.enable_x64(True):
        levels = jnp.asarray(np.asarray(grid, np.float64))
        denoiser = polynomial.fit(jnp.asarray(np.stack(list(targets.values()), axis=1)), degree, basis="pixel")
        queries = jnp.asarray(np.repeat(POINTS[:, None], len(targets), axis=1))
        return {
            "cdf": np.asarray(polynomial.cdf(denoiser, queries, levels)),
            "density": np.asarray(polynomial.marginal_density(denoiser, queries, levels)),
            "moments": np.asarray(polynomial.generated_moments(denoiser, levels, 4)),
            "diverging": np.asarray(polynomial.diverging_probability(denoiser, levels)),
            "blow_up": np.asarray(polynomial.blow_up_probability(denoiser, float(levels[0]), float(levels[-2]))),
        }


def _compare(law, i, of_theory, of_network) -> dict[str, Any]:
    """Distances, moments and shares of diverged samples of target i."""
    row: dict[str, Any] = {}
    for name, samples in (("theory", of_theory), ("network", of_network)):
        finite = samples[np.isfinite(samples)]
        counted = np.searchsorted(np.sort(samples), POINTS, side="right") / len(samples)
        row[f"ks_{name}"] = float(np.abs(counted - law["cdf"][:, i]).max())
        row[f"diverged_{name}"] = float(1 - len(finite) / len(samples))
        row[f"moments_{name}"] = [_number((finite.astype(np.float64) ** k).mean()) for k in range(1, 5)]
    row["moments_predicted"] = [_number(m) for m in law["moments"][1:, i]]
    row["diverging_predicted"] = float(law["diverging"][i])
    row["blow_up_limit"] = float(law["blow_up"][i])
    return row


def _number(value) -> float | None:
    return float(value) if np.isfinite(value) else None


def _histogram(x: np.ndarray) -> np.ndarray:
    """Density in every one of BINS."""
    return np.histogram(x, BINS)[0] / (len(x) * (BINS[1] - BINS[0]))
