"""Local and equivariant denoisers: what a convolutional network can do, in closed form (patch machines).

With P_q y the k x k patch of y around pixel q, the best denoiser under each constraint is a softmax-mean over the
training images x_i with energies |P_q y - P_q' x_i|^2 and temperature 2 sigma^2:

| constraint                  | boundary     | output at q                                                            |
|-----------------------------|--------------|------------------------------------------------------------------------|
| local (LS)                  | `"zero"`     | mean of x_i[q] over images; windows are cut at the border              |
|                             | `"circular"` | the same; windows wrap                                                 |
| local and equivariant (ELS) | `"circular"` | mean of x_i[q'] over images and positions; all windows wrap            |
|                             | `"interior"` | the same; windows of y wrap, those of x_i lie inside the image         |
|                             | `"broken"`   | the same; windows are cut, and q' has the border signature of q        |

The border signature of a pixel is its distance to each of the four edges, cut off at (k - 1) / 2: what a network with
zero padding can see of the border. A window that covers the image gives the empirical denoiser (LS), or its average
over shifts (ES).

Source: Kamb & Ganguli (2025), sections 3 and 4; theory section 5, with the details of their code.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Integer

from jaxcreativity import _checks, _pytree, trajectory
from jaxcreativity._numerics import batching, streaming, windows
from jaxcreativity._numerics.windows import Windows
from jaxcreativity.denoiser import Denoiser, NoiseLevel, Piecewise
from jaxcreativity.theory.patches._energies import MANTISSA_BITS, Precision, examples_at_once
from jaxcreativity.theory.patches._keys import KeyImages
from jaxcreativity.theory.patches._pixels import border_means, local_means
from jaxcreativity.theory.patches._posterior import patch_means, quick_patch_means, refined_patch_means
from jaxcreativity.theory.patches.patch_sizes import check_patch_sizes, predicted_patch_sizes

__all__ = ["Calibration", "LocalDenoiser", "by_level", "calibrate", "predicted_patch_sizes"]

Boundary = Literal["zero", "circular", "interior", "broken"]


@_pytree.dataclass
class LocalDenoiser:
    """The local (and equivariant) denoiser of a training set; formula and source in this module's table.

    Args:
        data: `(n, height, width, channels)`, floating point; need not be square.
        patch_size: k, odd, in pixels: at most `2 max(height, width) - 1`, for `"interior"` `min(height, width)`. A
            window that wraps holds every pixel once, so that from k = height (width) on it is the whole axis.
        equivariant: whether patches of all positions are compared (ELS), or those of the same position (LS).
        boundary: `"zero"` or `"circular"` if not equivariant; `"circular"`, `"interior"` or `"broken"` if equivariant.
        chunk_size: images compared at once; need not divide n. By default few enough to stay in the cache.
        labels: `(n,)` class of each image, if only those of one class are to be used.
        label: that class. It is a leaf of the pytree, so it can be mapped over.
        excluded: index of an image that is left out (the one being denoised); -1 for none.
        weights: `(n,)` how often each image counts, at least 0; once each by default.
        precision: `"tensorfloat32"` or `"bfloat16"` rounds patches before they are multiplied (equivariant, away from
            a broken border), for speed on accelerators; by default they are not rounded. `benchmarks.local` prints the
            largest errors.

    Time, for q pixels and p patches an image: about `2 n q p k c` operations in matrix products and `n q p (k + 20)`
    others (equivariant; `2 n q p k^2 c` in products where it is differentiated), `n q` times a few tens (local).
    Memory: products of a chunk's patches with some of the pixels, a few MiB on a CPU. A batch, by `jax.vmap`, of
    equivariant denoisers is worked off one example after another, or in groups as large, but all at once where it is
    differentiated.

    Where rounding of the expanded squares could show, at small sigma, the nearest patches' distances are recomputed
    from differences (`patch_posterior`).

    Raises:
        ValueError: for an even or too large k, a boundary that does not go with `equivariant`, `chunk_size < 1`, labels
            of the wrong length or type, a label without an image, labels without label or the reverse, `excluded` out
            of range or the only image that counts, weights of the wrong length or below 0, an unknown precision, and
            for bad data.
    """

    data: Float[ArrayLike, "n height width channels"]
    patch_size: int = _pytree.static()
    equivariant: bool = _pytree.static(kw_only=True)
    boundary: Boundary = _pytree.static(kw_only=True)
    chunk_size: int | None = _pytree.static(default=None, kw_only=True)
    labels: Integer[ArrayLike, " n"] | None = dataclasses.field(default=None, kw_only=True)
    label: Integer[ArrayLike, ""] | int | None = dataclasses.field(default=None, kw_only=True)
    excluded: Integer[ArrayLike, ""] | int | None = dataclasses.field(default=None, kw_only=True)
    weights: Float[ArrayLike, " n"] | None = dataclasses.field(default=None, kw_only=True)
    precision: Precision | None = _pytree.static(default=None, kw_only=True)

    def __post_init__(self):
        data = _checks.examples("data", self.data, ndim=4)
        object.__setattr__(self, "data", data)
        _check_window(self.patch_size, data.shape[1:3], self.equivariant, self.boundary)
        if self.precision is not None:
            _checks.choice("precision", self.precision, get_args(Precision))
        if self.chunk_size is not None:
            _checks.positive_int("chunk_size", self.chunk_size)
        for name in ("labels", "label", "excluded"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _integers(name, getattr(self, name)))
        _check_choice_of_images(data.shape[0], self.labels, self.label, self.excluded)
        if self.weights is not None:
            object.__setattr__(self, "weights", _checks.weights(self.weights, data.shape[0], "images"))

    def for_label(self, label: Integer[ArrayLike, ""] | int) -> "LocalDenoiser":
        """This denoiser, conditioned on another class."""
        return dataclasses.replace(self, label=label)

    def without(self, index: Integer[ArrayLike, ""] | int) -> "LocalDenoiser":
        """This denoiser, leaving out one image."""
        return dataclasses.replace(self, excluded=index)

    def __call__(
        self, y: Float[ArrayLike, "height width channels"], sigma: NoiseLevel
    ) -> Float[Array, "height width channels"]:
        """Estimate `x` from `y`."""
        y = _checks.example("y", y, self.data.shape[1:])
        if not self.equivariant:
            return self._by_position(y, sigma)
        one = functools.partial(LocalDenoiser._equivariant, alone=True)
        together = functools.partial(LocalDenoiser._equivariant, alone=False)
        group_size = examples_at_once(*self.queries_and_keys(), self.data.shape[0])
        return batching.in_groups(one, together, group_size)(self, y, jnp.asarray(sigma, y.dtype))

    def _by_position(self, y, sigma):
        source = self.source(y.dtype)
        mean = self._local_means(source.centred(y), source, streaming.as_temperature(sigma, y.dtype))
        return mean + source.mean.reshape(1, 1, -1)

    def _equivariant(self, y, sigma, alone):
        source = self.source(y.dtype)
        u, temperature = source.centred(y), streaming.as_temperature(sigma, y.dtype)
        mean = self._border(u, source, temperature) if self.boundary == "broken" else jnp.zeros_like(u)
        queries, keys = self.queries_and_keys()
        if all(queries.shape):
            options = {"queries": queries, "keys": keys, "source": source, "precision": self.precision}
            coarse_means = quick_patch_means if alone else patch_means
            coarse = lambda u, t: coarse_means(u, temperature=t, **options)  # noqa: E731
            fine = lambda u, t: refined_patch_means(u, temperature=t, in_strips=alone, **options)[0].mean  # noqa: E731
            # Refined from where the rounding of expanded squares, about eps |patch|^2, is 1e-5 of the temperature in
            # float32 and 1e-11 in float64 (of patches rounded to TF32 it is 1e-2, to bfloat16 3e-2).
            eps = jnp.finfo(y.dtype).eps if self.precision is None else 2.0 ** -MANTISSA_BITS[self.precision]
            patch_mean = jax.lax.cond(temperature < eps**0.3 * self._spread(y.dtype), fine, coarse, u, temperature)
            mean = mean.at[queries.region].set(patch_mean)
        return mean + source.mean.reshape(1, 1, -1)

    def source(self, dtype) -> KeyImages:
        """The images that count."""
        n = self.data.shape[0]
        valid = jnp.ones(n, bool)
        if self.labels is not None:
            valid = self.labels == self.label
        if self.excluded is not None:
            valid = valid & (jnp.arange(n) != self.excluded)
        # Distances do not depend on the mean; their rounding does.
        mean = jax.lax.stop_gradient(jnp.mean(self.data, axis=(0, 1, 2))).astype(dtype)
        log_weights = None
        if self.weights is not None:
            weights = self.weights.astype(dtype)
            valid = valid & (weights > 0)
            log_weights = jnp.log(jnp.where(weights > 0, weights, 1.0))
        return KeyImages(self.data, mean, valid, log_weights, self.chunk_size)

    def queries_and_keys(self) -> tuple[Windows, Windows]:
        """Windows of `y` and of the images, which are compared with each other; without the border if `"broken"`."""
        shape, k = self.data.shape[1:3], self.patch_size
        whole, none = tuple((0, n) for n in shape), ((0, 0), (0, 0))
        reaches = tuple(windows.reach(k, n, wraps=self.boundary != "broken") for n in shape)
        window = functools.partial(
            Windows, size=tuple(before + 1 + after for before, after in reaches), centre=tuple(r[0] for r in reaches)
        )
        inside = tuple((0, max(0, n - k + 1)) for n in shape)
        if self.boundary == "broken":
            return (window(none, rows=inside[0], columns=inside[1]),) * 2
        queries = window(reaches, rows=whole[0], columns=whole[1])
        if self.boundary == "circular":
            return queries, queries
        return queries, window(none, rows=inside[0], columns=inside[1])

    def _local_means(self, u, source, temperature):
        wraps = self.boundary == "circular"
        bands = (jnp.asarray(windows.band(n, self.patch_size, wraps=wraps), u.dtype) for n in u.shape[:2])
        return local_means(u, source, temperature, *bands).mean

    def _border(self, u, source, temperature):
        """The image of the means of all pixels whose window is cut by the border; 0 elsewhere."""
        radius = self.patch_size // 2
        (rows, row_edges), (columns, column_edges) = (windows.interior_and_edges(n, radius) for n in u.shape[:2])
        out = jnp.zeros_like(u)
        if row_edges and column_edges:
            corners = np.ix_(row_edges, column_edges)
            out = out.at[corners].set(self._local_means(u, source, temperature)[corners])
        if column_edges and rows[1]:
            out = out.at[rows[0] : rows[1], column_edges].set(
                _along_edges(u, source, temperature, column_edges, radius)
            )
        if row_edges and columns[1]:
            turned = source.transposed()
            means = _along_edges(jnp.swapaxes(u, 0, 1), turned, temperature, row_edges, radius)
            out = out.at[row_edges, columns[0] : columns[1]].set(jnp.swapaxes(means, 0, 1))
        return out

    def _spread(self, dtype) -> Array:
        """Scale of the energies: `|v|^2` of an average patch v, less the mean of all pixels."""
        data = jax.lax.stop_gradient(self.data)
        variance = jnp.mean(jnp.square(data - jnp.mean(data, axis=(0, 1, 2), keepdims=True)))
        return (variance * self.patch_size**2 * self.data.shape[3]).astype(dtype)


def _along_edges(u, source, temperature, edges, radius):
    """Means `(rows, edges, c)` of the pixels in the given columns, rows near the ends left out."""
    weights = jnp.asarray(windows.band(u.shape[1], 2 * radius + 1, wraps=False)[list(edges)], u.dtype)
    return jnp.swapaxes(border_means(u, source, temperature, weights, edges, radius).mean, 0, 1)


# --- one patch size per noise level ---------------------------------------------------------------------------


def by_level(
    data: Float[ArrayLike, "n height width channels"],
    sigmas: Float[ArrayLike, " levels"],
    patch_sizes: Sequence[int],
    **options: Any,
) -> Piecewise:
    """A `LocalDenoiser` of its own patch size at every positive level of a grid; neighbours of equal size share one.

    Between levels the size changes at their geometric mean.

    Args:
        data: training images.
        sigmas: noise grid.
        patch_sizes: one per positive level, highest noise first.
        **options: those of `LocalDenoiser`.

    Raises:
        ValueError: for a bad grid, as many sizes as there are not levels, or what `LocalDenoiser` rejects.
    """
    levels = np.asarray(_checks.noise_grid(sigmas))[:-1]
    sizes = check_patch_sizes(patch_sizes, len(levels))
    changes = [i for i in range(1, len(sizes)) if sizes[i] != sizes[i - 1]]
    edges = [float(np.sqrt(levels[i - 1] * levels[i])) for i in changes]
    return Piecewise(edges, [LocalDenoiser(data, sizes[i], **options) for i in (0, *changes)])


@_pytree.dataclass
class Calibration:
    """Patch sizes that agree best with a network; made by `calibrate`.

    Args:
        patch_sizes: the best size at every positive level, highest noise first.
        candidates: the sizes that were tried.
        errors: mean squared difference of outputs, by level and candidate.
    """

    errors: Float[Array, "levels candidates"]
    patch_sizes: tuple[int, ...] = _pytree.static()
    candidates: tuple[int, ...] = _pytree.static()


def calibrate(
    network: Denoiser,
    data: Float[ArrayLike, "n height width channels"],
    sigmas: Float[ArrayLike, " levels"],
    patch_sizes: Sequence[int],
    zs: Float[ArrayLike, "m height width channels"],
    *,
    batch_size: int = 4,
    **options: Any,
) -> Calibration:
    """Find k(sigma): at every level, the patch size whose output is nearest to the network's, on the network's states.

    At level i both denoisers see the network's own state at `sigmas[i]`, the level at which the sampler will use the
    result; `by_level(data, sigmas, calibration.patch_sizes)` is then the calibrated denoiser.

    Args:
        network: any denoiser.
        data: training images.
        sigmas: noise grid.
        patch_sizes: candidates, odd.
        zs: noises that the network's trajectories start from.
        batch_size: states compared at once.
        **options: those of `LocalDenoiser`.

    Raises:
        ValueError: for a bad grid, no or even candidates, or what `LocalDenoiser` rejects.
    """
    sigmas = _checks.noise_grid(sigmas)
    candidates = check_patch_sizes(patch_sizes)
    zs = _checks.examples("zs", zs, ndim=4)

    @jax.jit
    def states_and_outputs(network, zs):
        states = jax.vmap(trajectory, (None, 0, None))(network, zs, sigmas)[:, :-1]
        levels = sigmas[:-1].astype(zs.dtype)
        return states, jax.vmap(jax.vmap(network), (0, None))(states, levels), levels

    @jax.jit
    def error(denoiser, states, outputs, levels):
        def at_level(inputs):
            of_one = lambda pair: jnp.mean(jnp.square(denoiser(pair[0], inputs[2]) - pair[1]))  # noqa: E731
            return jnp.mean(jax.lax.map(of_one, inputs[:2], batch_size=min(batch_size, zs.shape[0])))

        return jax.lax.map(at_level, (jnp.swapaxes(states, 0, 1), jnp.swapaxes(outputs, 0, 1), levels))

    states, outputs, levels = states_and_outputs(network, zs)
    errors = jnp.stack([error(LocalDenoiser(data, k, **options), states, outputs, levels) for k in candidates], axis=1)
    best = np.argmin(np.asarray(errors), axis=1)
    return Calibration(errors, tuple(candidates[i] for i in best), candidates)


# --- input -----------------------------------------------------------------------------------------------------


def _check_window(patch_size, shape, equivariant, boundary):
    _checks.odd_size("patch_size", patch_size)
    _checks.choice("boundary", boundary, get_args(Boundary))
    allowed = ("circular", "interior", "broken") if equivariant else ("zero", "circular")
    if boundary not in allowed:
        kind = "an equivariant" if equivariant else "a non-equivariant"
        raise ValueError(
            f"boundary of {kind} denoiser must be one of {', '.join(map(repr, allowed))}, got {boundary!r}"
        )
    largest = min(shape) if boundary == "interior" else 2 * max(shape) - 1
    if patch_size > largest:
        raise ValueError(
            f"patch_size must be at most {largest} for {shape} images and boundary {boundary!r}, got {patch_size}"
        )


def _integers(name, value):
    value = jnp.asarray(value)
    if not jnp.issubdtype(value.dtype, jnp.integer):
        raise ValueError(f"{name} must be integer, got {value.dtype}")
    return value


def _check_choice_of_images(n, labels, label, excluded):
    if (labels is None) != (label is None):
        raise ValueError("labels (of the images) and label (the class to use) go together: pass both or neither")
    if labels is not None and labels.shape != (n,):
        raise ValueError(f"labels must have one entry per image, shape {(n,)}, got {labels.shape}")
    for name, value in (("label", label), ("excluded", excluded)):
        if value is not None and value.ndim:
            raise ValueError(f"{name} must be one integer, got shape {value.shape}; map over it with jax.vmap")
    labels, label, excluded = (None if x is None else _checks.known(x) for x in (labels, label, excluded))
    counts = np.ones(n, bool)
    if labels is not None and label is not None:
        counts = labels == label
        if not counts.any():
            raise ValueError(f"label {label} has no image; labels are {np.unique(labels).tolist()}")
    if excluded is not None:
        if not -1 <= excluded < n:
            raise ValueError(f"excluded must be the index of one of {n} images, or -1 for none, got {excluded}")
        if excluded >= 0 and counts[excluded] and counts.sum() == 1:
            raise ValueError(f"image {excluded} is the only one that counts; nothing is left if it is excluded")
