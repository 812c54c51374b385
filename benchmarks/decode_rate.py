"""Our decoding of 63 ILSVRC photographs against the fastest plain loop: OpenCV, simplejpeg, Pillow or torchvision.

The files are in memory, one thread, CPU seconds: images/s a core. Every arm delivers whole 8-bit colour images as its
library does without options (OpenCV in the order BGR, torchvision channels first). Nothing is hashed in any arm.
"""

import io
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
import simplejpeg
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from benchmarks.figures import Measured
from benchmarks.outside_data import data_file
from benchmarks.pairs import REPEATS, interleaved
from pipeline.worker.device import set_threads
from stages.vision.images import decode

FIGURE = "decode_to_fastest_loop"
SAMPLES = "imagenet-samples.tar"

Decoder = Callable[[bytes], object]

BASELINES: Mapping[str, Decoder] = {
    "OpenCV": lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR),
    "simplejpeg": lambda data: simplejpeg.decode_jpeg(data),
    "Pillow": lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")),
    "torchvision": lambda data: decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB),
}


def decode_rate(repeats: int = REPEATS) -> Measured:
    """Images/s of `decode` over those of the fastest baseline, the median of interleaved pairs."""
    archive = data_file(SAMPLES)
    if archive is None:
        return Measured(FIGURE, None, 0, reason=f"{SAMPLES} is not there (WEAKBOX_DATA)", unit="ratio")
    with tarfile.open(archive) as tar:
        opened = [tar.extractfile(member) for member in tar if member.isfile()]
        files = [file.read() for file in opened if file is not None]
    set_threads(1)
    ours = _timed(decode, files)
    pairs = {name: interleaved(ours, _timed(loop, files), repeats) for name, loop in BASELINES.items()}
    fastest = max(pairs, key=lambda name: pairs[name].medians[1])
    candidate, baseline = pairs[fastest].medians
    others = ", ".join(f"{name} {found.ratio:.2f}" for name, found in pairs.items())
    note = f"{candidate:.0f} images/s a core, {fastest} {baseline:.0f}; ratio to {others}"
    return Measured(FIGURE, pairs[fastest].ratio, repeats, baseline, note, "ratio")


def _timed(decoder: Decoder, files: Sequence[bytes]) -> Callable[[], float]:
    """A pass over the files that returns images/s of CPU time; one pass is made now, to warm up."""

    def once() -> float:
        begun = time.process_time()
        for data in files:
            decoder(data)
        return len(files) / (time.process_time() - begun)

    once()
    return once
