"""Images per second of one device, and the share of the time that a GPU computes: MobileNetV2 at 224 pixels."""

import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.environment import processors
from benchmarks.figures import Measured
from benchmarks.in_process import Chain
from benchmarks.made_images import CLASSES, MadeImages, MadeImagesParams
from pipeline.stage import Done
from stages.cam.stage import Cam, CamParams
from stages.classify.stage import Classify, ClassifyParams
from stages.vision.backbones import build

BACKBONE, SIZE = "mobilenet_v2", 224
_BATCH = {"cpu": 32, "cuda": 256}
_IMAGES = {"cpu": 32, "cuda": 4096}
_FORWARDS = {"cpu": 1, "cuda": 20}


def rates(folder: Path, device: str) -> Iterator[Measured]:
    """Forward passes alone, in both precisions; then the cam stage as it is run, decoding included."""
    for precision in ("float32", "bfloat16"):
        yield _figure(f"{device}_forward_{precision}", _forward_rate(device, precision), f"batches of {_BATCH[device]}")
    images_per_second, busy = _cam_rate(folder, device)
    decoders = max(1, processors() - 1)
    yield _figure(f"{device}_cam", images_per_second, f"decoding included, by {decoders} threads")
    if busy is not None:
        yield Measured(f"{device}_busy_in_cam", 100 * busy, 1, reason="time in kernels / time", unit="%")


def _figure(name: str, value: float, reason: str) -> Measured:
    return Measured(f"{name}_rate", value, 1, reason=f"{BACKBONE} at {SIZE}, {reason}", unit="images/s")


def _forward_rate(device: str, precision: str) -> float:
    """Images per second of forward passes over images that lie on the device."""
    network = build(BACKBONE, CLASSES).eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(_BATCH[device], 3, SIZE, SIZE, device=device).to(memory_format=torch.channels_last)
    enabled = precision == "bfloat16"
    with torch.inference_mode(), torch.autocast(device, dtype=torch.bfloat16, enabled=enabled):
        network(images)
        _wait(device)
        started = time.perf_counter()
        for _ in range(_FORWARDS[device]):
            network(images)
        _wait(device)
    return _FORWARDS[device] * len(images) / (time.perf_counter() - started)


def _cam_rate(folder: Path, device: str) -> tuple[float, float | None]:
    """Images per second of the second of two shards (the first one warms up), and the GPU's busy share of its time."""
    (folder / "images").mkdir(parents=True)
    chain = Chain(folder / "run", device)
    rows = _IMAGES[device]
    chain.run(MadeImages("ingest", MadeImagesParams(root=str(folder / "images"), shards=2, rows=rows)))
    chain.run(Classify("classify", ClassifyParams(backbone=BACKBONE, epochs=0)))
    moments = []
    kernels = profile(activities=[ProfilerActivity.CUDA]) if device == "cuda" else None

    def on_done(done: Done) -> None:
        moments.append(time.perf_counter())
        if kernels is not None and len(moments) == 1:
            kernels.start()

    decoders = max(1, processors() - 1)
    chain.run(Cam("cam", CamParams(batch_size=_BATCH[device], decode_ahead=decoders)), on_done)
    seconds = moments[1] - moments[0]
    if kernels is None:
        return rows / seconds, None
    kernels.stop()
    return rows / seconds, min(1.0, _busy_seconds(kernels) / seconds)


def _busy_seconds(kernels: profile) -> float:
    """Time that at least one kernel or copy took, in seconds."""
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in kernels.events() or ()
        if event.device_type.name == "CUDA"
    )
    busy, reached = 0.0, float("-inf")
    for start, end in spans:
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return busy / 1e6


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
