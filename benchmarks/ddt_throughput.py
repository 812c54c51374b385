"""Images per second of stage `ddt` on Ray, beside a bare loop of decoding and forward passes of the same images.

A shard is a class; the bare loop is handed the same images in the same batches, one class at a time. Both arms have as
many processes of one thread as there are processors. A rate counts from when every process has finished a class until
the last class is done.
"""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.bare_loop import BareLoop
from benchmarks.environment import processors
from benchmarks.figures import Measured
from benchmarks.pairs import interleaved
from benchmarks.photographs import write_photographs
from benchmarks.repeated_stages import RepeatedStages, rate
from benchmarks.scratch_model import scratch_model
from jobs.ray_session import RaySession
from stages.vision.images import decode, resize
from stages.vision.inference import images_at_once
from stages.vision.precision import InferencePrecision

CLASSES, BATCH, SIZE = 10, 30, 224
CASES: dict[str, tuple[int, InferencePrecision]] = {"vgg16_gap": (60, "bfloat16"), "mobilenet_v2": (150, "float32")}
"""Images a class, and the precision of both arms: VGG16 in float32 takes two minutes a pass on two cores, and in
bfloat16 the cost beside its forward pass shows twice as much."""


def ddt_throughput(folder: Path) -> Iterator[Measured]:
    """The ratio of the stage's images per second to the bare loop's, for both networks."""
    for backbone, (images, precision) in CASES.items():
        yield _ratio(folder / backbone, backbone, images * CLASSES, precision)


def _ratio(folder: Path, backbone: str, images: int, precision: InferencePrecision) -> Measured:
    paths = write_photographs(folder / "images", images, classes=CLASSES)
    lists = [[path for path in paths if path.parent.name == f"class{label}"] for label in range(CLASSES)]
    threads = processors()
    sample = [resize(decode(path.read_bytes()), SIZE) for path in paths[:BATCH]]
    model = scratch_model(backbone, [f"class{label}" for label in range(CLASSES)], sample)
    bench = RepeatedStages(folder, backbone, {"ddt": {"batch_size": BATCH, "precision": precision}}, images, threads)
    bench.prepare(model)
    session = RaySession(None, threads)
    try:
        with BareLoop(threads, model, SIZE, images_at_once(BATCH, "cpu"), precision) as bare:
            bare(lists[:threads])
            bench.rate(session)
            pairs = interleaved(lambda: bench.rate(session), lambda: rate(bare(lists), threads))
    finally:
        session.close()
    stage, loop = pairs.medians
    note = f"{precision}, ddt {stage:.1f} images/s, bare loop {loop:.1f}; {threads} processes of one thread"
    return Measured(f"ddt_stage_{backbone}", pairs.ratio, len(pairs.candidate), loop, note)
