"""Made photographs: JPEG files of ILSVRC's usual size and detail, cut from the sample photographs of scikit-learn."""

from pathlib import Path

import cv2
import numpy as np
from sklearn.datasets import load_sample_images

WIDTH, HEIGHT = 500, 375
CLASSES = 8
_SHARES = (0.4, 1.0)
_GAINS = (0.7, 1.2)
_QUALITY = 90


def write_photographs(root: Path, count: int, seed: int = 0, classes: int = CLASSES) -> list[Path]:
    """Write `count` JPEG files of 500x375 pixels into a folder for each class; returns their paths.

    Each is a random window of a photograph, 0.4 to 1 of its side, mirrored or not, with a random gain.
    """
    photographs = [np.ascontiguousarray(image[:, :, ::-1]) for image in load_sample_images().images]
    generator = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        path = root / f"class{number % classes}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = _window(photographs[generator.integers(len(photographs))], generator)
        path.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())
        paths.append(path)
    return paths


def _window(photograph: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    most = min(photograph.shape[1], photograph.shape[0] * WIDTH / HEIGHT)
    width = int(most * generator.uniform(*_SHARES))
    height = int(width * HEIGHT / WIDTH)
    left = generator.integers(photograph.shape[1] - width, endpoint=True)
    top = generator.integers(photograph.shape[0] - height, endpoint=True)
    window = photograph[top : top + height, left : left + width]
    window = cv2.resize(window, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    if generator.random() < 0.5:
        window = window[:, ::-1]
    return np.clip(window * generator.uniform(*_GAINS), 0, 255).astype(np.uint8)
