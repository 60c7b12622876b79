"""Patch denoisers as their definitions read: every window written out, every pair compared by differences, float64."""

import numpy as np
import scipy.special


def windows(x, k, mode):
    """`(n, h, w, k * k * c)` windows of images; 0 outside the image, or wrapped."""
    r = k // 2
    padded = np.pad(x, ((0, 0), (r, r), (r, r), (0, 0)), mode="wrap" if mode == "wrap" else "constant")
    view = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(1, 2))
    return view.reshape(*x.shape[:3], -1)


def signature(position, shape, r):
    return [(min(i, r), min(n - 1 - i, r)) for i, n in zip(position, shape, strict=True)]


def sources(shape, pixel, k, *, equivariant, boundary):
    """The positions whose pixels may stand at `pixel`."""
    height, width = shape
    r = k // 2
    everywhere = [(i, j) for i in range(height) for j in range(width)]
    if not equivariant:
        return [tuple(pixel)]
    if boundary == "circular":
        return everywhere
    if boundary == "interior":
        return [(i, j) for i, j in everywhere if r <= i < height - r and r <= j < width - r]
    own = signature(pixel, shape, r)
    return [position for position in everywhere if signature(position, shape, r) == own]


def posterior_means(data, y, k, sigma, pixels, *, equivariant, boundary):
    """The denoiser's output at some pixels, `(len(pixels), c)`."""
    data, y = np.asarray(data, np.float64), np.asarray(y, np.float64)
    mode = "wrap" if boundary in ("circular", "interior") else "zero"
    of_data, of_y = windows(data, k, mode), windows(y[None], k, mode)[0]
    means = []
    for pixel in pixels:
        rows, columns = np.transpose(sources(y.shape[:2], pixel, k, equivariant=equivariant, boundary=boundary))
        energies = np.square(of_data[:, rows, columns] - of_y[tuple(pixel)]).sum(axis=2).ravel()
        weights = scipy.special.softmax(-energies / (2 * sigma**2))
        means.append(weights @ data[:, rows, columns].reshape(-1, y.shape[2]))
    return np.array(means)
