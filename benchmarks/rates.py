"""Images per second of one device in stages, beside forward passes alone, and what bounds them."""

import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.busy import busy_seconds
from benchmarks.environment import processors
from benchmarks.figures import Measured
from benchmarks.made_images import CLASSES
from benchmarks.shared_card import shared_rate
from benchmarks.stage_cases import CASES, Case, prepared
from pipeline.base.phase_clock import IDLE
from pipeline.store.records import Done
from stages.vision.backbones.build import build
from stages.vision.inference import autocast
from stages.vision.inference_network import for_inference
from stages.vision.memory_format import channels_last

_FORWARDS = {"cpu": 1, "cuda": 20}


def rates(folder: Path, device: str) -> Iterator[Measured]:
    """For each case, forward passes alone over images that lie on the device, and the stage, decoding included."""
    for case in CASES:
        title = f"{device}_{case.name}_{case.backbone}_{case.precision}"
        said = f"{case.backbone} at {case.size}, batches of {case.batch[device]}"
        forward = _forward_rate(case, device)
        stage, busy, phases = _stage_rate(folder / title, case, device)
        yield Measured(f"{title}_forward_rate", forward, 1, reason=said, unit="images/s")
        yield Measured(f"{title}_rate", stage, 1, forward, f"{said}, decoding included; {phases}", "images/s")
        yield Measured(f"{title}_to_forward", stage / forward, 1, reason=said, unit="ratio")
        if busy is not None:
            yield Measured(f"{title}_busy", 100 * busy, 1, reason="time in kernels / time", unit="%")
        if device == "cuda":
            yield from _shared(folder / f"{title}_shared", case, device, forward)


def _shared(folder: Path, case: Case, device: str, forward: float) -> Iterator[Measured]:
    """Several actors on the card, because the GIL bounds how fast one process decodes."""
    title, actors = f"{device}_{case.name}_{case.backbone}_{case.precision}_shared", max(2, processors() // 2)
    said = f"{case.backbone} at {case.size}, batches of {case.batch[device]}, {actors} actors of two decoding threads"
    rate = shared_rate(folder, case, device, actors)
    yield Measured(f"{title}_rate", rate, 1, forward, said, "images/s")
    yield Measured(f"{title}_to_forward", rate / forward, 1, reason=said, unit="ratio")


def _forward_rate(case: Case, device: str) -> float:
    """Images per second of the features."""
    network = channels_last(for_inference(build(case.backbone, CLASSES).eval(), case.size), device)
    images = torch.randn(case.batch[device], 3, case.size, case.size, device=device)
    images = images.to(memory_format=torch.channels_last)
    with torch.inference_mode(), autocast(device, case.precision):
        network.features(images)
        wait(device)
        started = time.perf_counter()
        for _ in range(_FORWARDS[device]):
            network.features(images)
        wait(device)
    return _FORWARDS[device] * len(images) / (time.perf_counter() - started)


def _stage_rate(folder: Path, case: Case, device: str) -> tuple[float, float | None, str]:
    """Images per second of all shards but the first one, which warms up; the GPU's busy share of their time; phases."""
    chain = prepared(folder, case, device, case.images[device])
    commits: list[tuple[float, int]] = []
    kernels = profile(activities=[ProfilerActivity.CUDA]) if device == "cuda" else None

    phases: list[dict[str, float]] = []

    def on_done(done: Done) -> None:
        phases.append(dict(done.phases))
        commits.append((time.perf_counter(), done.ok))
        if kernels is not None and len(commits) == 1:
            kernels.start()

    chain.run(case.stage(device, max(1, processors() - 1)), on_done)
    seconds = commits[-1][0] - commits[0][0]
    images = sum(count for _, count in commits[1:])
    if kernels is not None:
        kernels.stop()
    busy = None if kernels is None else min(1.0, busy_seconds(kernels) / seconds)
    return images / seconds, busy, _shares(phases[1:])


def _shares(phases: list[dict[str, float]]) -> str:
    """The share of the computing thread's time that each phase took."""
    names = sorted({name for each in phases for name in each} - {IDLE})
    total = sum(each.get(name, 0.0) for each in phases for name in names)
    return ", ".join(f"{name} {sum(each.get(name, 0.0) for each in phases) / total:.0%}" for name in names)


def wait(device: str) -> None:
    """Wait until a GPU has finished its work."""
    if device == "cuda":
        torch.cuda.synchronize()
