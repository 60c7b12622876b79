"""Polynomial denoisers of degree p, and what they generate: the public names of theory section 3.

A polynomial denoiser of degree p depends on the target only through its moments of order up to 2p. One dimension and
separable bases have closed forms for the generated law. The parts:

| file               | what                                                                            |
|--------------------|---------------------------------------------------------------------------------|
| `orthogonal.py`    | moments -> recurrence -> denoiser, stable from sigma = 1e-4 to 1e3              |
| `separable.py`     | the denoiser on numbers, pixels and principal coordinates                       |
| `volterra.py`      | all monomials of an image (`joint`) or of a patch (`patch`)                     |
| `pushforward.py`   | finite schedules: density, distribution function, moments, diverging seeds      |
| `polynomial_flow.py` | many steps: density, Moebius and Bernoulli maps                               |
| `blow_up.py`       | many steps: the seeds that reach infinity                                       |
| `langevin.py`      | the law that Langevin dynamics would end at                                     |

Source: Levine & Weiss (2026); theory section 3.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from jaxcreativity import checks
from jaxcreativity.theory import separable, volterra
from jaxcreativity.theory.blow_up import blow_up_probability, blow_up_seeds
from jaxcreativity.theory.langevin import langevin_density
from jaxcreativity.theory.polynomial_flow import bernoulli_map, limit_density, moebius_map
from jaxcreativity.theory.pushforward import (
    cdf,
    density,
    diverging_probability,
    expected_log_likelihood,
    generated_moments,
    log_density,
    marginal_density,
)
from jaxcreativity.theory.separable import PolynomialDenoiser
from jaxcreativity.theory.volterra import VolterraDenoiser

__all__ = [
    "BASES",
    "Basis",
    "PolynomialDenoiser",
    "VolterraDenoiser",
    "bernoulli_map",
    "blow_up_probability",
    "blow_up_seeds",
    "cdf",
    "density",
    "diverging_probability",
    "expected_log_likelihood",
    "fit",
    "from_moments",
    "generated_moments",
    "langevin_density",
    "limit_density",
    "log_density",
    "marginal_density",
    "moebius_map",
    "tabulate",
]

Basis = Literal["pixel", "pca", "joint", "patch"]
BASES: tuple[str, ...] = get_args(Basis)


def from_moments(moments: Float[ArrayLike, " orders"] | Sequence[float], degree: int) -> PolynomialDenoiser:
    """The best denoiser of degree p for a law on the line, from its moments; one example is a scalar.

    Args:
        moments: `moments[k] = E[x^k]` for k = 0 ... 2p at least; later ones are not used. Centre a law whose mean is
            many standard deviations first: raw moments lose that many digits to the p-th power.
        degree: p, at least 1.

    Returns:
        A denoiser on arrays of shape `()`, traceable and differentiable with respect to `moments`.

    Raises:
        ValueError: for a degree below 1, too few moments, or moments that no distribution has (looked at outside
            traced code): says which moment is the first that cannot be.

    """
    checks.positive_int("degree", degree)
    if not isinstance(moments, (jax.Array, np.ndarray)):
        moments = np.asarray(moments, dtype=float)
    return separable.from_moments(jnp.asarray(moments), degree)


def fit(
    x: Float[ArrayLike, "n *shape"],
    degree: int,
    *,
    basis: Basis,
    kernel_size: int | None = None,
    sigmas: Float[ArrayLike, " levels"] | None = None,
) -> PolynomialDenoiser | VolterraDenoiser:
    """The polynomial of degree p that the denoising loss on `x` selects, for every noise level.

    Args:
        x: training examples `(n, *shape)`; `(n, height, width, channels)` for `"patch"`. Moments are those of the set.
        degree: p, at least 1. At p = 1 these are the linear denoisers `"pixelwise"` (`pixel`), `"full"` (`pca`,
            `joint`) and `"local"` (`patch`).
        basis: `"pixel"`, each entry on its own; `"pca"`, each principal coordinate on its own; `"joint"`, all
            monomials of total degree up to p of all d entries, `C(d + p, p)` features; `"patch"`, all those of the
            k x k patch around a pixel, the same for every pixel, circular boundary.
        kernel_size: k, odd and at most the smaller image side; `"patch"` only.
        sigmas: a noise grid: the coefficients of its levels are computed now, and each call uses those of the level
            nearest to its `sigma`. Without it (and without `tabulate`) every call solves for its own level.

    Returns:
        A `PolynomialDenoiser` (`pixel`, `pca`) or `VolterraDenoiser`; traceable, and differentiable with respect to
        `x` (`pca`, `joint` and `patch` where the principal variances are distinct). Constant entries are allowed.

    Raises:
        ValueError: for bad data, a degree below 1, an unknown basis, a missing, even or oversized kernel, or more
            than `volterra.MAX_FEATURES` features.

    """
    checks.choice("basis", basis, BASES)
    checks.positive_int("degree", degree)
    x = checks.examples("x", x, min_count=2, ndim=4 if basis == "patch" else None)
    if (kernel_size is not None) != (basis == "patch"):
        raise ValueError(f"kernel_size goes with basis 'patch' only, got basis {basis!r} and kernel_size {kernel_size}")
    if basis == "patch":
        checks.odd_size("kernel_size", kernel_size, min(x.shape[1:3]), "the smaller image side ")
    if basis == "pixel":
        denoiser = separable.fit_pixel(x, degree)
    elif basis == "pca":
        denoiser = separable.fit_pca(x, degree)
    else:
        denoiser = volterra.fit(x, degree, kernel_size)
    return denoiser if sigmas is None else tabulate(denoiser, sigmas)


def tabulate(
    denoiser: PolynomialDenoiser | VolterraDenoiser, sigmas: Float[ArrayLike, " levels"]
) -> PolynomialDenoiser | VolterraDenoiser:
    """The same denoiser with the coefficients of every level of a noise grid computed once and stored.

    A call uses the stored level nearest to its `sigma` in ratio.

    Raises:
        ValueError: for a bad grid, or a joint or patch denoiser that was tabulated before.

    """
    sigmas = checks.noise_grid(sigmas)
    if isinstance(denoiser, VolterraDenoiser):
        return volterra.tabulate(denoiser, sigmas)
    return separable.tabulate(denoiser, sigmas.astype(denoiser.target.scale.dtype))
