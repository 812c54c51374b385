"""Images per second of stage `cam` on Ray, beside an eager float32 loop of the network as it was trained.

The loop decodes as the stage does and runs the unfolded network's features, no more. Both arms have one process of one
thread. A rate counts from when the first shard is done until the last shard is done.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import get_args

from benchmarks.bare_loop import BareLoop
from benchmarks.figures import Measured
from benchmarks.pairs import interleaved
from benchmarks.photographs import CLASSES, write_photographs
from benchmarks.repeated_stages import RepeatedStages, rate
from benchmarks.scratch_model import scratch_model
from jobs.ray_session import RaySession
from stages.vision.images import decode, resize
from stages.vision.inference import images_at_once
from stages.vision.precision import Precision

IMAGES, SHARD, BATCH, SIZE = 512, 128, 32, 224
BACKBONE = "efficientnet_lite0"


def forward_rate(folder: Path, images: int = IMAGES, shard: int = SHARD) -> Iterator[Measured]:
    """The ratio of the stage's images per second to the loop's, by precision; `baseline_value` is the loop's rate.

    The figures with bars compare with a loop over as many images at once as the stage takes on a CPU, the others with a
    loop over `batch_size` images at once.
    """
    paths = write_photographs(folder / "images", images)
    lists = [paths[start : start + shard] for start in range(0, len(paths), shard)]
    sample = [resize(decode(path.read_bytes()), SIZE) for path in paths[:BATCH]]
    model = scratch_model(BACKBONE, [f"class{label}" for label in range(CLASSES)], sample)
    benches: dict[Precision, RepeatedStages] = {
        precision: RepeatedStages(folder, BACKBONE, {"cam": {"batch_size": BATCH, "precision": precision}}, shard, 1)
        for precision in get_args(Precision)
    }
    benches["float32"].prepare(model)
    session = RaySession(None, 1)
    try:
        for together, end in ((images_at_once(BATCH, "cpu"), ""), (BATCH, f"_of_{BATCH}")):
            with BareLoop(1, model, SIZE, together) as eager:
                eager(lists[:1])
                for precision, bench in benches.items():
                    bench.rate(session)
                    pairs = interleaved(partial(bench.rate, session), lambda: rate(eager(lists), 1))
                    cam, loop = pairs.medians
                    note = f"cam {cam:.1f} images/s, loop over {together} images at once {loop:.1f}; one thread each"
                    name = f"cam_{precision}_to_eager_loop{end}"
                    yield Measured(name, pairs.ratio, len(pairs.candidate), loop, note, "ratio")
    finally:
        session.close()
