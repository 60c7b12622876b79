"""Local and equivariant denoisers of a training set (LS, ES, ELS)."""

import dataclasses
import functools
from typing import get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Integer

from jaxcreativity import _checks, _pytree
from jaxcreativity._numerics import batching, streaming, windows
from jaxcreativity._numerics.changes import change
from jaxcreativity._numerics.windows import Windows
from jaxcreativity.denoiser import NoiseLevel
from jaxcreativity.theory.patches._border import border_means
from jaxcreativity.theory.patches._changes import Moves, posterior_change
from jaxcreativity.theory.patches._energies import MANTISSA_BITS, Precision, examples_at_once
from jaxcreativity.theory.patches._geometry import Boundary, check_window, queries_and_keys
from jaxcreativity.theory.patches._keys import KeyImages, checked_choice
from jaxcreativity.theory.patches._pixels import Extents, in_small_groups, local_means
from jaxcreativity.theory.patches._posterior import posterior


@_pytree.dataclass
class LocalDenoiser:
    """The local (and equivariant) denoiser of a training set; the table of `theory.patches` has its formula.

    Source: Kamb & Ganguli (2025), sections 3 and 4 (docs/theory/patches.md, with the details of their code).

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
    equivariant denoisers is worked off one example after another, or in groups as large, of local ones in groups of
    eight; so are gradients.

    Where rounding of the expanded squares could show, at small sigma, the nearest patches' distances are recomputed
    from differences.

    Raises:
        ValueError: for an even or too large k, a boundary that does not go with `equivariant`, `chunk_size < 1`, labels
            of the wrong length or type, a label without an image, labels without label or the reverse, `excluded` out
            of range or the only image that counts, weights of the wrong length or below 0, an unknown precision, and
            for bad data.

    Example:
        Almost without noise, the inside of a training image comes back (windows of its border wrap):

        >>> import jax, jax.numpy as jnp, jaxcreativity as jc
        >>> x = jnp.sign(jax.random.normal(jax.random.key(0), (20, 8, 8, 1)))
        >>> machine = jc.theory.patches.LocalDenoiser(x, 3, equivariant=True, boundary="interior")
        >>> y = x[0] + 0.1 * jax.random.normal(jax.random.key(1), x[0].shape)
        >>> bool((abs(jax.jit(machine)(y, 0.1) - x[0])[1:-1, 1:-1] < 1e-3).all())
        True
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
        check_window(self.patch_size, data.shape[1:3], self.equivariant, self.boundary)
        if self.precision is not None:
            _checks.choice("precision", self.precision, get_args(Precision))
        if self.chunk_size is not None:
            _checks.positive_int("chunk_size", self.chunk_size)
        choice = checked_choice(data.shape[0], self.labels, self.label, self.excluded)
        for name, value in zip(("labels", "label", "excluded"), choice, strict=True):
            object.__setattr__(self, name, value)
        if self.weights is not None:
            object.__setattr__(self, "weights", _checks.weights(self.weights, data.shape[0], "images"))

    def for_label(self, label: Integer[ArrayLike, ""] | int) -> "LocalDenoiser":
        """This denoiser, conditioned on another class.

        Raises:
            ValueError: if the denoiser has no labels, or none of its images this one.
        """
        return dataclasses.replace(self, label=label)

    def without(self, index: Integer[ArrayLike, ""] | int) -> "LocalDenoiser":
        """This denoiser, leaving out one image.

        Raises:
            ValueError: if `index` is out of range, or the only image that counts.
        """
        return dataclasses.replace(self, excluded=index)

    def __call__(
        self, y: Float[ArrayLike, "height width channels"], sigma: NoiseLevel
    ) -> Float[Array, "height width channels"]:
        """Estimate `x` from `y`.

        Raises:
            ValueError: if `y` is not a floating-point image of the data's shape, or `sigma` is negative or NaN.
        """
        y = _checks.example("y", y, self.data.shape[1:])
        sigma = _checks.noise_level(sigma)
        sigma = jnp.asarray(sigma, y.dtype)
        if not self.equivariant:
            return in_small_groups(LocalDenoiser._by_position)(self, y, sigma)
        estimate = batching.in_groups(
            functools.partial(LocalDenoiser._equivariant, alone=True),
            functools.partial(LocalDenoiser._equivariant, alone=False),
            examples_at_once(*self.queries_and_keys(), len(self.data)),
            LocalDenoiser._equivariant_change,
        )
        return estimate(self, y, sigma)[0]

    def _by_position(self, y, sigma, at_once):
        source = self.source(y.dtype)
        bands = (windows.band(n, self.patch_size, wraps=self.boundary == "circular") for n in y.shape[:2])
        extents = Extents(*(jnp.asarray(band, y.dtype) for band in bands))
        temperature = streaming.as_temperature(sigma, y.dtype)
        mean = local_means(source.centred(y), source, temperature, extents, at_once=at_once)
        return mean + source.mean.reshape(1, 1, -1)

    def _equivariant(self, y, sigma, alone):
        """The estimate, and the posterior over windows that the border does not break, if there are any."""
        source = self.source(y.dtype)
        u, temperature = source.centred(y), streaming.as_temperature(sigma, y.dtype)
        is_broken = self.boundary == "broken"
        mean = border_means(u, source, temperature, self.patch_size) if is_broken else jnp.zeros_like(u)
        queries, keys = self.queries_and_keys()
        found = None
        if all(queries.shape):
            # Refined from where the rounding of expanded squares, about eps |patch|^2, is 1e-5 of the temperature in
            # float32 and 1e-11 in float64 (of patches rounded to TF32 it is 1e-2, to bfloat16 3e-2).
            eps = jnp.finfo(y.dtype).eps if self.precision is None else 2.0 ** -MANTISSA_BITS[self.precision]
            is_cold = temperature < eps**0.3 * self._spread(y.dtype) if alone else None
            found = posterior(u, queries, keys, source, temperature, is_cold=is_cold, precision=self.precision)
            mean = mean.at[queries.region].set(found.mean)
        return mean + source.mean.reshape(1, 1, -1), found

    @staticmethod
    def _equivariant_change(args, out, tangents):
        """The change of `_equivariant`, linear in the tangents; `None` is no change."""
        (self, y, sigma), (self_moves, y_moves, sigma_moves) = args, tangents
        in_runs = self_moves.data is not None

        def source_of(data, weights):
            source = dataclasses.replace(self, data=data, weights=weights).source(y.dtype)
            return dataclasses.replace(source, in_runs=in_runs)

        as_temperature = functools.partial(streaming.as_temperature, dtype=y.dtype)
        source, temperature = source_of(self.data, self.weights), as_temperature(sigma)
        temperature_moves = change(as_temperature, (sigma,), (sigma_moves,))
        u, mean, found = source.centred(y), jnp.zeros_like(y), None
        if self.boundary == "broken":
            border = lambda data, weights, u, t: border_means(u, source_of(data, weights), t, self.patch_size)  # noqa: E731
            moves = self_moves.data, self_moves.weights, y_moves, temperature_moves
            mean = change(border, (self.data, self.weights, u, temperature), moves)
        queries, keys = self.queries_and_keys()
        if all(queries.shape):
            penalty = None
            if self.weights is not None:
                penalty = change(
                    lambda weights, temperature: source_of(self.data, weights).penalty(temperature),
                    (self.weights, temperature),
                    (self_moves.weights, temperature_moves),
                )
            moves = Moves(y_moves, self_moves.data, penalty, temperature_moves)
            found = posterior_change(moves, out[1], u, queries, keys, source, temperature, precision=self.precision)
            mean = mean.at[queries.region].set(found.mean)
        return mean, found

    def source(self, dtype) -> KeyImages:
        """The images that count, centred and compared in this type."""
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
        return queries_and_keys(self.data.shape[1:3], self.patch_size, self.boundary)

    def _spread(self, dtype) -> Array:
        """Scale of the energies: `|v|^2` of an average patch v, less the mean of all pixels."""
        data = jax.lax.stop_gradient(self.data)
        mean = jnp.mean(data, axis=(0, 1, 2), keepdims=True)

        def add(total, first, is_new):  # some at a time: all differences would be as large as the data
            squares = jnp.sum(jnp.square(data[first + jnp.arange(is_new.size)] - mean), axis=(1, 2, 3))
            return total + jnp.sum(squares * is_new)

        chunk_size = streaming.default_chunk_size(data[0].size)
        variance = streaming.fold_chunks(add, len(data), chunk_size, jnp.zeros((), data.dtype)) / data.size
        return (variance * self.patch_size**2 * self.data.shape[3]).astype(dtype)
