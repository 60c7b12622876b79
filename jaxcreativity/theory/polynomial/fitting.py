"""Fitting of polynomial denoisers: from the moments of a law or of a data set, in four bases."""

from collections.abc import Sequence
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from jaxcreativity import _checks
from jaxcreativity.theory.polynomial import separable, volterra
from jaxcreativity.theory.polynomial.separable import PolynomialDenoiser
from jaxcreativity.theory.polynomial.volterra import VolterraDenoiser

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

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcreativity.theory import polynomial
        >>> gaussian = polynomial.from_moments([1.0, 0.0, 1.0, 0.0, 3.0], 2)
        >>> x_hat = gaussian(jnp.array(1.0), 1.0)  # that of a Gaussian is linear: y / (1 + sigma^2)
        >>> bool(abs(x_hat - 0.5) < 1e-5)
        True
    """
    _checks.positive_int("degree", degree)
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

    Example:
        >>> import jax
        >>> from jaxcreativity.theory import polynomial
        >>> x = jax.random.bernoulli(jax.random.key(0), 0.5, (100, 2)).astype(float)  # two values each
        >>> denoiser = polynomial.fit(x, 3, basis="pixel")
        >>> print(denoiser(x[0], 0.01).round(2) == x[0])
        [ True  True]
    """
    _checks.choice("basis", basis, BASES)
    _checks.positive_int("degree", degree)
    x = _checks.examples("x", x, min_count=2, ndim=4 if basis == "patch" else None)
    if (kernel_size is not None) != (basis == "patch"):
        raise ValueError(f"kernel_size goes with basis 'patch' only, got basis {basis!r} and kernel_size {kernel_size}")
    if basis == "patch":
        _checks.odd_size("kernel_size", kernel_size, min(x.shape[1:3]), "the smaller image side ")
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
    sigmas = _checks.noise_grid(sigmas)
    if isinstance(denoiser, VolterraDenoiser):
        return volterra.tabulate(denoiser, sigmas)
    return separable.tabulate(denoiser, sigmas.astype(denoiser.target.scale.dtype))
