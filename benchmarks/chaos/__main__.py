"""Inject faults into runs of mini.yaml by seed: `python -m benchmarks.chaos [--runs N] [--lanes N] [--seed N]`.

Every run gets some faults at random moments; a run that ended is started again with the same command, until it is
complete. For each command that ended, `status` must know how: dead if it was killed. At the end `verify` must pass and
all tables must equal those of an undisturbed in-process run. Every third run has its root on S3.

Writes benchmarks/results/chaos.json and prints a table; exit 1 when a run differs.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.chaos import faults
from benchmarks.chaos.flaky_s3 import FlakyS3
from benchmarks.environment import environment
from benchmarks.figures import RESULTS
from pipeline.store import run_records
from pipeline.store.store import Store
from pipeline.upkeep.verify import verify
from tests.cluster import mini
from tests.cluster.mini import Command
from tests.equality import assert_runs_equal

SIGNALS = ("driver_killed", "driver_terminated", "driver_interrupted", "driver_paused")
PROCESSES = (
    "actor_killed",
    "actor_paused",
    "train_worker_killed",
    "raylet_killed",
    "raylet_paused",
    "gcs_killed",
    "gcs_paused",
)
TWIN = "second_run"
FAULTS_A_RUN = 4
MOST_STARTS = 12
DELAY = 4.0


@dataclass
class Outcome:
    """One run: what was injected, how often the command was started, and how it ended."""

    seed: int
    storage: str
    injected: list[str] = field(default_factory=list)
    starts: int = 0
    seconds: float = 0.0
    equal: bool = False
    said: str = ""


class ChaosRun:
    """One run root, disturbed until its faults are used up."""

    def __init__(self, seed: int, folder: Path, data: Path, s3: FlakyS3 | None) -> None:
        self._chance = random.Random(seed)
        self._data, self._s3 = data, s3
        self._ray_folders: list[str] = []
        self._root = str(folder / f"run{seed}") if s3 is None else f"s3://chaos/run{seed}"
        self.outcome = Outcome(seed, "local" if s3 is None else "s3")
        kinds = (*SIGNALS, *PROCESSES, TWIN, *(FlakyS3.KINDS if s3 else ()))
        wanted = self._chance.sample(kinds, FAULTS_A_RUN)
        stages = sorted(self._chance.randrange(len(mini.STAGES)) for _ in wanted)
        self._plan = [
            (mini.STAGES[stage], self._chance.uniform(0, DELAY), self._placed(kind, mini.STAGES[stage]))
            for stage, kind in zip(stages, wanted, strict=True)
        ]

    def _placed(self, kind: str, stage: str) -> str:
        """The kind of fault that fits a stage: trainings have train workers, the other stages actors."""
        trains = stage in ("classify", "psol")
        component, _, what = kind.rpartition("_")
        if component in ("actor", "train_worker"):
            return f"{'train_worker' if trains else 'actor'}_{what}"
        return kind

    def execute(self, reference: Store) -> Outcome:
        """Run until complete, with as many starts as needed, and compare."""
        started = time.monotonic()
        try:
            self._to_the_end()
            store = Store(self._root)
            assert_runs_equal(reference, store, mini.STAGES)
            damage = verify(store, mini.STAGES).damage
            assert not damage, damage[0]
            self.outcome.equal = True
        except AssertionError as error:
            self.outcome.said = str(error)[-2000:]
        for ray_folder in self._ray_folders:
            shutil.rmtree(ray_folder, ignore_errors=True)
        self.outcome.seconds = round(time.monotonic() - started, 1)
        return self.outcome

    def _to_the_end(self) -> None:
        plan = list(self._plan)
        code: int | None = None
        while code != 0:
            assert self.outcome.starts < MOST_STARTS, f"not complete after {MOST_STARTS} starts; exit code {code}"
            command = self._start()
            twins: list[Command] = []
            try:
                while plan and self._reached(command, plan[0]):
                    self._inject(plan.pop(0)[2], command, twins)
                code = command.wait()
                for twin in twins:
                    twin.wait()
                for each in (command, *twins):
                    self._check_status(each)
            finally:
                for each in (command, *twins):
                    each.clean_up()
            assert code != 2, f"exit code {code}: {command.log.read_text()[-1500:]}"

    def _check_status(self, command: Command) -> None:
        """Check what the run root says of a command that ended: dead if it was killed, else ended.

        A driver that loses its GCS or raylet may be ended by Ray before it can say so: then both are right.
        """
        code = command.wait()
        lives = {run.record.process.pid: run.life for run in run_records.runs(Store(self._root))[0]}
        said = lives.get(command.process.pid)
        if code == -signal.SIGKILL:
            true: tuple[str, ...] = ("dead",)
        else:
            robbed = any(kind.startswith(("gcs", "raylet")) for kind in self.outcome.injected)
            true = ("ended", "dead") if robbed and code else ("ended",)
        assert said in true, f"exit code {code}, but of the run with pid {command.process.pid} status knows: {said}"

    def _start(self) -> Command:
        self.outcome.starts += 1
        ray_folder = tempfile.mkdtemp(prefix="wbc-", dir="/tmp")  # Ray's sockets need a short path
        self._ray_folders.append(ray_folder)
        return mini.run(self._root, self._data, RAY_TMPDIR=ray_folder)

    def _reached(self, command: Command, fault: tuple[str, float, str]) -> bool:
        """Wait for the moment of a fault, in its stage or, if that is done, a later one; False if the command ended."""
        stage, delay, _ = fault
        later = mini.STAGES[mini.STAGES.index(stage) :]
        reached = partial(_started_any, command, later)
        if not mini.wait_until(command, reached):
            return False
        time.sleep(delay)
        return command.process.poll() is None

    def _inject(self, kind: str, command: Command, twins: list[Command]) -> None:
        done = False
        if kind in SIGNALS:
            done = faults.signals(kind, command)
        elif kind in PROCESSES:
            done = faults.processes(kind, command, self._chance)
            if done and kind.startswith(("raylet", "gcs")):
                faults.wait_for_driver(command, 180)
        elif kind == TWIN:
            twins.append(self._start())
            self.outcome.starts -= 1
            done = True
        elif self._s3 is not None:
            done = faults.storage(kind, self._s3, self._chance)
        if done:
            self.outcome.injected.append(kind)


def _started_any(command: Command, stages: tuple[str, ...]) -> bool:
    log = command.log.read_text()
    return any(f'"stage starts" stage={stage} ' in log for stage in stages)


@contextlib.contextmanager
def _bucket() -> Iterator[FlakyS3]:
    import boto3

    for name in ("http_proxy", "HTTP_PROXY"):
        os.environ.pop(name, None)
    s3 = FlakyS3()
    os.environ.update(mini.s3_environment(s3.url))
    boto3.client("s3").create_bucket(Bucket="chaos")
    try:
        yield s3
    finally:
        s3.close()


def main() -> int:
    """Run all, print the report, write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--lanes", type=int, default=2, help="runs at once")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first run")
    wanted = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else runs inherit a background job's ignored SIGINT
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0")
    with tempfile.TemporaryDirectory(prefix="weakbox-chaos-") as name, _bucket() as s3:
        folder = Path(name)
        data = folder / "data"
        mini.run(folder / "reference", data, "--in-process").check()
        reference = Store(str(folder / "reference"))

        def run(seed: int) -> Outcome:
            outcome = ChaosRun(seed, folder, data, s3 if seed % 3 == 2 else None).execute(reference)
            print(_line(outcome), flush=True)
            return outcome

        with ThreadPoolExecutor(wanted.lanes) as pool:
            outcomes = list(pool.map(run, range(wanted.seed, wanted.seed + wanted.runs)))
    return _report(outcomes)


def _line(outcome: Outcome) -> str:
    verdict = "equal" if outcome.equal else f"DIFFERS: {outcome.said}"
    return (
        f"seed {outcome.seed:3} {outcome.storage:5} {outcome.starts} starts {outcome.seconds:6.1f} s"
        f"  {', '.join(outcome.injected)}: {verdict}"
    )


def _report(outcomes: list[Outcome]) -> int:
    kinds = Counter(itertools.chain.from_iterable(outcome.injected for outcome in outcomes))
    equal = sum(outcome.equal for outcome in outcomes)
    said: dict[str, Any] = {
        "runs": len(outcomes),
        "equal": equal,
        "faults": sum(kinds.values()),
        "kinds": dict(kinds.most_common()),
        "median_seconds": sorted(outcome.seconds for outcome in outcomes)[len(outcomes) // 2],
        "starts": sum(outcome.starts for outcome in outcomes),
        "environment": environment(),
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "chaos.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    print(f"{len(outcomes)} runs, {said['faults']} faults of {len(kinds)} kinds, {equal} runs equal")
    for kind, count in kinds.most_common():
        print(f"  {kind:20} {count}")
    return 0 if equal == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
