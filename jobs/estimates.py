"""About how long a run will take: from what its stages took in this root, else from rates shipped with weakbox.

The shipped rates are of one slow core and EfficientNet-Lite0 at 224 pixels: another network or a GPU may be ten times
faster or slower, so each estimate says which rates it is made from.
"""

from collections.abc import Mapping
from typing import NamedTuple

from pipeline.contract.resources import Resources
from pipeline.contract.stage import SourceStage, TrainStage
from pipeline.planning.plan import PlannedStage
from pipeline.store.store import Store

__all__ = ["Estimate", "estimates", "said", "short"]

SHIPPED: Mapping[str, float] = {
    "ingest": 0.003, "truth": 0.0003, "localize": 0.03, "cam": 0.033, "ddt": 0.04, "gradcam": 0.1, "ncut": 0.06,
    "scg": 0.02, "arm": 0.05, "sgrm": 5.0, "sdcam": 0.1, "sweep": 0.005, "boxes": 0.0015, "quality": 0.002,
    "consensus": 0.001, "import": 0.001,
}  # fmt: skip
"""Kind -> seconds of one core an image: an AMD EPYC without AVX-512, photographs of 224 pixels, 2026-11-28."""

STEP = 0.14
"""Seconds of one core for one image in one epoch of a training, the same network with 7x7 cells."""

_HOUR = 3600.0
_WARNING = " (one core, EfficientNet-Lite0 at 224: other networks and GPUs differ tenfold)"


class Estimate(NamedTuple):
    """The estimate of a stage's missing shards. worker_seconds: of all workers. measured: by rates of this root."""

    worker_seconds: float
    measured: bool
    workers: int
    gpus: float


def estimates(planned: Mapping[str, PlannedStage], store: Store, resources: Resources) -> dict[str, Estimate]:
    """Stage -> estimate, for the stages that have something to run and a known rate."""
    images, train = _images(planned)
    found = {}
    for name, stage in planned.items():
        if stage.known and not stage.missing:
            continue
        seconds, measured = _seconds(stage, store, images, train)
        if seconds is not None:
            pool = resources.of(name, train=isinstance(stage.stage, TrainStage), light=stage.stage.light)
            shards = len(stage.missing) or 1
            found[name] = Estimate(seconds, measured, min(pool.actors or shards, shards), pool.gpus)
    return found


def said(found: Mapping[str, Estimate]) -> str:
    """The estimate of a whole run in one line: its worker hours, GPU hours, and where the rates are from."""
    work = sum(each.worker_seconds for each in found.values()) / _HOUR
    gpu = sum(each.worker_seconds * each.gpus for each in found.values()) / _HOUR
    wall = sum(each.worker_seconds / each.workers for each in found.values()) / _HOUR
    shipped = [name for name, each in found.items() if not each.measured]
    rates = "rates measured in this root" if not shipped else f"shipped rates for {len(shipped)} of {len(found)} stages"
    hours = f"about {_time(work)} of workers, {_time(wall)} one stage after another"
    return f"{hours}{f', {_time(gpu)} of GPUs' if gpu else ''}; {rates}{_WARNING if shipped else ''}"


def short(estimate: Estimate | None) -> str:
    """An estimate in a cell of a table."""
    if estimate is None:
        return ""
    return f"{_time(estimate.worker_seconds / _HOUR)}{'' if estimate.measured else ' (shipped rate)'}"


def _seconds(stage: PlannedStage, store: Store, images: int, train: int) -> tuple[float | None, bool]:
    """Seconds of workers for what is to run, None where nothing is known; whether they were measured here."""
    is_training = isinstance(stage.stage, TrainStage)
    complete = store.newest_set(stage.name)
    dones = [*stage.done.values()] or ([] if complete is None else [*complete.dones.values()])
    if is_training:
        if dones:
            return dones[-1].seconds, True
        epochs = getattr(stage.stage.params, "epochs", None)
        return (epochs * train * STEP, False) if isinstance(epochs, int) and train else (None, False)
    rows, share = sum(done.ok + done.quarantined for done in dones), len(stage.missing) / max(1, len(stage.shards))
    wanted = sum(shard.rows or 0 for shard in stage.missing) or images * (share if stage.known else 1.0)
    if rows:
        return wanted * sum(done.seconds for done in dones) / rows, True
    kind = "ingest" if isinstance(stage.stage, SourceStage) else stage.stage.kind
    return (wanted * SHIPPED[kind], False) if kind in SHIPPED and wanted else (None, False)


def _images(planned: Mapping[str, PlannedStage]) -> tuple[int, int]:
    """Images of the data set, and those of train; 0 where it was never listed."""
    shards = [shard for stage in planned.values() if isinstance(stage.stage, SourceStage) for shard in stage.shards]
    train = sum(sum(shard.labels.get("train", {}).values()) for shard in shards)
    return sum(shard.rows or 0 for shard in shards), train


def _time(hours: float) -> str:
    """A time in hours, minutes or seconds, whichever reads best."""
    seconds = hours * _HOUR
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{hours:.1f} h"
