"""Every denoiser of the package, for the battery in `test_contract.py`. A new one joins by one line of `CASES`."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxcreativity import Piecewise, networks, schedules
from jaxcreativity.theory import bottleneck, empirical, linear, polynomial
from jaxcreativity.theory.empirical import EmpiricalDenoiser, smoothed
from jaxcreativity.theory.linear import affine
from jaxcreativity.theory.patches import (
    IndexedLocalDenoiser,
    LocalDenoiser,
    SoftWindowDenoiser,
    build_index,
    composite,
    masked,
)


def make_images(seed: int, n: int, height: int, width: int, channels: int) -> np.ndarray:
    """Images with neighbouring pixels and channels correlated and a mean that differs by pixel, float64 in [-1, 1]."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, height, width, channels))
    x = x + 0.7 * np.roll(x, 1, axis=1) + 0.5 * np.roll(x, 1, axis=2)
    x = x + 0.4 * x[..., ::-1] + rng.standard_normal((height, width, channels))
    return x / np.abs(x).max()


# Neither square nor of one channel, and fewer images than entries: the covariance is singular.
IMAGES = make_images(0, 24, 4, 5, 2)
IMAGES[:, 1, 2, 0] = 0.25  # a constant pixel
SHAPE = IMAGES.shape[1:]
PIXEL_MEAN = IMAGES.mean(axis=0)
CHANNEL_MEAN = np.broadcast_to(IMAGES.mean(axis=(0, 1, 2)), SHAPE)


@dataclasses.dataclass(frozen=True)
class Case:
    """One denoiser and what is known of it.

    Args:
        name: id of the test.
        build: dtype -> denoiser.
        shape: of one example.
        data: examples of that shape that the denoiser was made for, float64.
        sigma_to_zero: what `D(x + sigma * noise, sigma)` tends to for `x` in `data`: `"identity"` (`x` itself, and
            nearby points too), `"nearest"` (the datum nearest to any `y`), or `None` (neither holds).
        sigma_to_infinity: what `D(x + sigma * noise, sigma)` tends to, an array of `shape`; `None` if nothing.
    """

    name: str
    build: Callable[[Any], Any]
    shape: tuple[int, ...] = SHAPE
    data: np.ndarray = dataclasses.field(default_factory=lambda: IMAGES, repr=False)
    sigma_to_zero: Literal["identity", "nearest"] | None = None
    sigma_to_infinity: np.ndarray | None = dataclasses.field(default=None, repr=False)

    def __str__(self):
        return self.name

    def denoiser(self, dtype) -> Any:
        """The denoiser in `dtype`, built once."""
        return _built(self.name, jnp.dtype(dtype))


@functools.cache
def _built(name, dtype):
    return next(case for case in CASES if case.name == name).build(dtype)


def _linear(structure, prediction="x", **options):
    return lambda dtype: linear.fit(jnp.asarray(IMAGES, dtype), structure, prediction=prediction, **options)


def _polynomial(basis, degree, **options):
    return lambda dtype: polynomial.fit(jnp.asarray(IMAGES, dtype), degree, basis=basis, **options)


def _empirical(chunk_size=None):
    return lambda dtype: EmpiricalDenoiser(jnp.asarray(IMAGES, dtype), chunk_size)


def _projected(dtype):
    return bottleneck.ProjectedDenoiser(jnp.asarray(IMAGES, dtype), _rows(dtype))


def _projected_mixture(dtype):
    means, root = jnp.asarray(IMAGES[:3], dtype), jnp.asarray(IMAGES[:20].reshape(20, -1)[:, :20], dtype)
    covariance = jax.scipy.linalg.block_diag(*(2 * [root.T @ root / 20]))
    covariances = jnp.broadcast_to(0.5 * (covariance + covariance.T)[None], (3, 40, 40))
    return bottleneck.MixtureProjectedDenoiser(jnp.asarray([0.5, 0.25, 0.25], dtype), means, covariances, _rows(dtype))


def _rows(dtype):
    return bottleneck.orthonormalise(jnp.asarray(np.random.default_rng(2).standard_normal((3, 40)), dtype))


def _prototypes(dtype):
    return bottleneck.PrototypeDenoiser(jnp.asarray(IMAGES, dtype), jnp.zeros(len(IMAGES), dtype))


def _local(patch_size, boundary, *, equivariant, **options):
    return lambda dtype: LocalDenoiser(
        jnp.asarray(IMAGES, dtype), patch_size, equivariant=equivariant, boundary=boundary, **options
    )


def _indexed(dtype):
    index = build_index(jnp.asarray(IMAGES, dtype), 3, boundary="interior", num_cells=8, key=jax.random.key(0))
    num_head = int(index.cells[0].num_keys.sum()) // 2
    return IndexedLocalDenoiser(index, num_head=num_head, num_tail=64, key=jax.random.key(1))


def _indexed_empirical(dtype):
    index = empirical.build_index(jnp.asarray(IMAGES, dtype), num_cells=4, key=jax.random.key(0))
    return empirical.IndexedEmpiricalDenoiser(index, num_head=len(IMAGES) // 2, num_tail=16, key=jax.random.key(1))


def _soft_window(equivariant):
    return lambda dtype: SoftWindowDenoiser(
        jnp.asarray(IMAGES, dtype), jnp.log(jnp.asarray([2.0, 1.0], dtype)), jnp.asarray([5.0, 0.1], dtype), equivariant
    )


def _masked(dtype):
    return masked.fit(jnp.asarray(IMAGES, dtype), 0.05, chunk_size=7)


def _composite(dtype):
    return composite.CompositeDenoiser(jnp.asarray(IMAGES, dtype), 3, chunk_size=7)


def _smoothed(dtype):
    return smoothed.fit(jnp.asarray(IMAGES, dtype), 0.1, key=jax.random.key(0), num_pairs=2)


def _class_means(radius):
    """Mean over the pixels of one border signature, e.g. the same corner, an edge, or the interior."""
    out = np.zeros(SHAPE)
    for rows in (*np.split(np.arange(SHAPE[0]), [radius, SHAPE[0] - radius]),):
        for columns in (*np.split(np.arange(SHAPE[1]), [radius, SHAPE[1] - radius]),):
            out[np.ix_(rows, columns)] = IMAGES[:, rows][:, :, columns].mean(axis=(0, 1, 2))
    return out


def _affine(dtype):
    levels = schedules.grid(schedules.karras(0.05, 20.0), 6).astype(dtype)
    return jax.jit(lambda: affine.from_denoiser(_linear("full")(dtype), levels, SHAPE))()


def _piecewise(dtype):
    return Piecewise([3.0, 0.5], [_linear("pixelwise")(dtype), _linear("full")(dtype), _empirical(7)(dtype)])


def random_network(module, shape, *, scale, dtype=jnp.float64, **options):
    """A network of random parameters, also where `module.init` starts at zeros, which say nothing."""
    label = () if options.get("label") is None else (jnp.asarray(options["label"]),)
    params = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(shape), jnp.ones(()), *label)["params"]
    leaves, structure = jax.tree.flatten(params)
    # In NumPy: a draw of rank 4 takes XLA seconds to compile on CPUs.
    rng = np.random.default_rng(1)
    drawn = [jnp.asarray(scale * rng.standard_normal(leaf.shape), dtype) for leaf in leaves]
    return networks.bind(module, structure.unflatten(drawn), **options)


def _network(module, prediction="x"):
    return lambda dtype: random_network(module, SHAPE, scale=0.1, dtype=dtype, prediction=prediction, sigma_data=0.4)


_IDENTITY = {"sigma_to_zero": "identity"}
_LEVELS = (10.0, 1.0, 0.1)
_TRAINED = {"weight_decay": 0.2, "training_time": 3.0, "sigma_data": 0.4}

CASES = [
    Case("empirical", _empirical(), sigma_to_zero="nearest", sigma_to_infinity=PIXEL_MEAN),
    Case("empirical-chunked", _empirical(7), sigma_to_zero="nearest", sigma_to_infinity=PIXEL_MEAN),
    *[
        Case(
            f"{structure}-{prediction}",
            _linear(structure, prediction, **options),
            sigma_to_zero="identity" if (structure, prediction) != ("low_rank", "x") else None,
            sigma_to_infinity=mean if (structure, prediction) != ("low_rank", "noise") else None,
        )
        for structure, options, mean in [
            ("full", {}, PIXEL_MEAN),
            ("pixelwise", {}, PIXEL_MEAN),
            ("stationary", {}, CHANNEL_MEAN),
            ("local", {"kernel_size": 3}, CHANNEL_MEAN),
            ("low_rank", {"rank": 20}, PIXEL_MEAN),
        ]
        for prediction in ("x", "noise")
    ],
    # A penalty or an early stop shrinks what predicts x at every noise level; what predicts noise returns y at none.
    Case("full-decayed-x", _linear("full", weight_decay=0.1), sigma_to_infinity=PIXEL_MEAN),
    Case("full-decayed-noise", _linear("full", "noise", weight_decay=0.1), sigma_to_zero="identity"),
    Case("full-early-x", _linear("full", training_time=2.0), sigma_to_infinity=PIXEL_MEAN),
    Case("full-early-noise", _linear("full", "noise", training_time=2.0), sigma_to_zero="identity"),
    Case("full-scaled-x", _linear("full", sigma_data=0.4), sigma_to_zero="identity", sigma_to_infinity=PIXEL_MEAN),
    Case("local-trained-noise", _linear("local", "noise", kernel_size=3, **_TRAINED), sigma_to_zero="identity"),
    Case("full-no-bias-x", _linear("full", bias=False), sigma_to_infinity=np.zeros(SHAPE)),
    Case("affine", _affine),
    Case("network-dense", _network(networks.DenseLinear(_LEVELS))),
    Case("network-low-rank", _network(networks.LowRankLinear(_LEVELS, rank=3), "noise"), sigma_to_zero="identity"),
    Case("network-pixelwise", _network(networks.PixelwiseLinear(_LEVELS), "v"), sigma_to_zero="identity"),
    Case("network-convolution", _network(networks.ConvLinear(_LEVELS, kernel_size=3))),
    Case("network-full-convolution", _network(networks.ConvLinear(_LEVELS))),
    Case("network-mlp", _network(networks.MLP(width=16, depth=2), "v"), sigma_to_zero="identity"),
    *[
        Case(
            f"polynomial-{basis}",
            _polynomial(basis, degree, **options),
            sigma_to_zero="identity",
            sigma_to_infinity=mean,
        )
        for basis, degree, options, mean in [
            ("pixel", 3, {}, PIXEL_MEAN),
            ("pca", 2, {}, PIXEL_MEAN),
            ("joint", 1, {}, PIXEL_MEAN),
            ("patch", 2, {"kernel_size": 3}, CHANNEL_MEAN),
        ]
    ],
    Case("network-quadratic-mlp", _network(networks.MLP(width=16, depth=1, activation="quadratic"))),
    Case("network-polynomial-pixel", _network(networks.PolynomialReadout(_LEVELS, 3))),
    Case("network-polynomial-patch", _network(networks.PolynomialReadout(_LEVELS, 2, "patch", 3))),
    Case("network-autoencoder", _network(networks.Autoencoder(3, width=16))),
    Case("network-prototypes", _network(networks.Prototypes(6, sigma_data=0.4))),
    Case("network-softmax-mlp", _network(networks.ShallowMLP(16, "softmax"))),
    Case("projected", _projected, sigma_to_infinity=PIXEL_MEAN),
    Case("projected-mixture", _projected_mixture, sigma_to_infinity=np.average(IMAGES[:3], axis=0, weights=[2, 1, 1])),
    Case("prototypes", _prototypes, sigma_to_zero="nearest", sigma_to_infinity=PIXEL_MEAN),
    Case("network-resnet", _network(networks.MinimalResNet(depth=1, width=8))),
    Case("network-unet", _network(networks.UNet((4,), attention="lowest"), "v"), sigma_to_zero="identity"),
    Case(
        "network-unet-bottleneck",
        _network(networks.UNet((4,), normalisation="group", bottleneck=3, coordinates=True, padding="reflect")),
    ),
    Case("LS-zero", _local(3, "zero", equivariant=False), **_IDENTITY, sigma_to_infinity=PIXEL_MEAN),
    Case("LS-circular", _local(3, "circular", equivariant=False), **_IDENTITY, sigma_to_infinity=PIXEL_MEAN),
    Case("LS-whole", _local(9, "zero", equivariant=False, chunk_size=7), sigma_to_zero="nearest"),
    Case("ELS-circular", _local(3, "circular", equivariant=True), **_IDENTITY, sigma_to_infinity=CHANNEL_MEAN),
    Case("ELS-interior", _local(3, "interior", equivariant=True, chunk_size=7)),
    Case("ELS-broken", _local(3, "broken", equivariant=True), **_IDENTITY, sigma_to_infinity=_class_means(1)),
    Case("ELS-indexed", _indexed),
    Case("empirical-indexed", _indexed_empirical),
    Case("soft-window-ELS", _soft_window(True), **_IDENTITY, sigma_to_infinity=CHANNEL_MEAN),
    Case("soft-window-LS", _soft_window(False), **_IDENTITY, sigma_to_infinity=PIXEL_MEAN),
    Case("masked", _masked, **_IDENTITY, sigma_to_infinity=PIXEL_MEAN),
    Case("composite", _composite, **_IDENTITY, sigma_to_infinity=PIXEL_MEAN),
    Case("smoothed", _smoothed, sigma_to_infinity=PIXEL_MEAN),
    Case("piecewise", _piecewise, sigma_to_zero="nearest", sigma_to_infinity=PIXEL_MEAN),
]
