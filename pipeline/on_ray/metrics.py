"""Metrics of a run at Ray's own Prometheus endpoint; the dashboard in docker/grafana shows them."""

from ray.util.metrics import Counter, Gauge, Histogram

from pipeline.store.records import Done

STAGE, PHASE, OUTCOME = "stage", "phase", "outcome"
_SECONDS = [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000]


class Metrics:
    """The metrics of one stage. Ray adds the prefix `ray_` to each name."""

    def __init__(self, stage: str) -> None:
        self._stage = {STAGE: stage}
        self._images = Counter("weakbox_images", "Images done, by outcome (ok, quarantined)", (STAGE, OUTCOME))
        self._shards = Counter("weakbox_shards", "Shards committed", (STAGE,))
        self._shard_seconds = Histogram("weakbox_shard_seconds", "Worker seconds of a shard", _SECONDS, (STAGE,))
        self._phase_seconds = Counter("weakbox_phase_seconds", "Worker seconds by phase", (STAGE, PHASE))
        self._actors = Gauge("weakbox_actors", "Actors that are ready", (STAGE,))

    def done(self, done: Done) -> None:
        """Count a committed shard."""
        for outcome, images in (("ok", done.ok), ("quarantined", done.quarantined)):
            if images:
                self._images.inc(images, {**self._stage, OUTCOME: outcome})
        self._shards.inc(1, self._stage)
        self._shard_seconds.observe(done.seconds, self._stage)
        for phase, seconds in done.phases.items():
            if seconds > 0:
                self._phase_seconds.inc(seconds, {**self._stage, PHASE: phase})

    def actors(self, ready: int) -> None:
        """Set the number of actors that are ready."""
        self._actors.set(ready, self._stage)
