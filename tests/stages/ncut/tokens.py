"""Made features of images whose foreground is known."""

import numpy as np


def two_parts(height=14, width=14, *, noise=0.6, channels=48, seed=0):
    """Features ``(channels, height, width)`` float64 of a rectangle on a ground, and the rectangle's bool mask."""
    generator = np.random.default_rng(seed)
    mask = np.zeros((height, width), dtype=bool)
    mask[2 : height // 2, 3 : width // 2 + 2] = True
    parts = np.linalg.qr(generator.standard_normal((channels, 2)))[0].T * np.sqrt(channels)
    features = parts[mask.astype(int)] + noise * generator.standard_normal((height, width, channels))
    return np.ascontiguousarray(features.transpose(2, 0, 1)), mask


def blocks(*sizes):
    """Tokens ``(d, 1, n)`` in blocks of these sizes: equal inside, orthogonal between."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.eye(len(sizes))[:, labels][:, None]
