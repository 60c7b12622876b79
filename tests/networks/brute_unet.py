"""The UNet as its fields read, layer by layer in float64 NumPy, from the parameters of the Flax module."""

from typing import Any

import numpy as np
import scipy.special

ACTIVATIONS = {
    "silu": lambda h: h * scipy.special.expit(h),
    "relu": lambda h: np.where(h > 0, h, 0),
    "quadratic": lambda h: h**2 / 2,
    "identity": lambda h: h,
}
PADDINGS = {"zero": "constant", "circular": "wrap", "reflect": "reflect"}


def dense(parameters, h):
    return h @ parameters["kernel"] + parameters.get("bias", 0)


def convolve(parameters, h, padding):
    kernel = parameters["kernel"]
    r = len(kernel) // 2
    padded = np.pad(h, ((r, r), (r, r), (0, 0)), mode=PADDINGS[padding])
    out = np.zeros((*h.shape[:2], kernel.shape[3]))
    for i in range(h.shape[0]):
        for j in range(h.shape[1]):
            out[i, j] = np.einsum("rsc,rscf->f", padded[i : i + 2 * r + 1, j : j + 2 * r + 1], kernel)
    return out + parameters.get("bias", 0)


def embed(parameters, sigma, label, features):
    phases = np.geomspace(1, 16, features // 2) * np.log(sigma) / 4
    waves = np.concatenate([np.sin(phases), np.cos(phases)])
    out = ACTIVATIONS["silu"](dense(parameters["NoiseEmbedding_0"]["Dense_0"], waves))
    return out if label is None else out + parameters["Embed_0"]["embedding"][label]


def normalise(parameters, h, module, number):
    """Of groups of neighbouring channels over all pixels, or of the channels of each pixel."""
    if module.normalisation == "none":
        return h
    kind, axes = {"group": ("GroupNorm", (0, 1, 3)), "layer": ("LayerNorm", (2, 3))}[module.normalisation]
    grouped = h.reshape(*h.shape[:2], module.groups if module.normalisation == "group" else 1, -1)
    deviation = grouped - grouped.mean(axis=axes, keepdims=True)
    whitened = deviation / np.sqrt((deviation**2).mean(axis=axes, keepdims=True) + 1e-6)
    own = parameters[f"{kind}_{number}"]
    return whitened.reshape(h.shape) * own["scale"] + own.get("bias", 0)


def residual_block(parameters, h, embedding, width, module):
    activate = ACTIVATIONS[module.activation]
    u = convolve(parameters["Conv_0"], activate(normalise(parameters, h, module, 0)), module.padding)
    u = normalise(parameters, u, module, 1)
    if embedding is not None:
        modulation = dense(parameters["Dense_0"], embedding)
        u = (1 + modulation[:width]) * u + (modulation[width:] if module.bias else 0)
    u = convolve(parameters["Conv_1"], activate(u), module.padding)
    shortcut = h
    if h.shape[2] != width:
        shortcut = dense(parameters["Dense_0" if embedding is None else "Dense_1"], h)
    return u + shortcut


def attend(parameters, h):
    own = parameters["MultiHeadDotProductAttention_0"]
    query, key, value = (
        np.einsum("hwc,cf->hwf", h, own[name]["kernel"][:, 0]) + own[name].get("bias", 0)
        for name in ("query", "key", "value")
    )
    weights = scipy.special.softmax(np.einsum("hwf,ijf->hwij", query, key) / np.sqrt(h.shape[2]), axis=(2, 3))
    mixed = np.einsum("hwij,ijf->hwf", weights, value)
    return h + mixed @ own["out"]["kernel"][0] + own["out"].get("bias", 0)


def unet(module, parameters: dict[str, Any], y, sigma, label=None) -> np.ndarray:
    """What a `jaxcreativity.networks.UNet` makes of one image."""
    numbers = {"ResidualBlock": 0, "SelfAttention": 0, "Conv": 0}

    def own(kind):
        numbers[kind] += 1
        return parameters[f"{kind}_{numbers[kind] - 1}"]

    def block(h, width, attends):
        h = residual_block(own("ResidualBlock"), h, embedding, width, module)
        return attend(own("SelfAttention"), h) if attends else h

    embedding = None
    if module.time_conditioning:
        embedding = embed(parameters["ConditionEmbedding_0"], sigma, label, module.embedding_features)
    everywhere = module.attention == "all"
    h = y
    if module.coordinates:
        rows, columns = np.meshgrid(*(np.linspace(-1, 1, side) for side in y.shape[:2]), indexing="ij")
        h = np.dstack([y, rows, columns])
    h = convolve(own("Conv"), h, module.padding)
    kept = {}
    for scale, width in enumerate(module.widths[:-1]):
        h = kept[scale] = block(h, width, everywhere)
        if module.downsampling == "strided":
            kernel = own("Conv")
            rows, columns = h.shape[0] // 2, h.shape[1] // 2
            cells = h.reshape(rows, 2, columns, 2, -1)
            h = np.einsum("irjsc,rscf->ijf", cells, kernel["kernel"]) + kernel.get("bias", 0)
        else:
            four = np.stack([h[i::2, j::2] for i in range(2) for j in range(2)])
            h = four.max(axis=0) if module.downsampling == "max" else four.mean(axis=0)
    h = block(h, module.widths[-1], module.attention != "none")
    if module.bottleneck is not None:
        h = dense(parameters["Dense_1"], dense(parameters["Dense_0"], h.ravel())).reshape(h.shape)
    h = block(h, module.widths[-1], everywhere)
    passed = {"all": kept, "none": {}}.get(module.skips, module.skips)
    for scale in reversed(range(len(module.widths) - 1)):
        h = h.repeat(2, axis=0).repeat(2, axis=1)
        h = block(np.dstack([h, kept[scale]]) if scale in passed else h, module.widths[scale], everywhere)
    return convolve(own("Conv"), ACTIVATIONS[module.activation](h), module.padding)
