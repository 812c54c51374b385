"""Whole runs of mini.yaml on a real Ray: other runner, killed, doubled, on S3; always the tables of the reference."""

import random
import time

import pytest

from pipeline.store.store import Store
from pipeline.upkeep.verify import verify
from tests.cluster import mini
from tests.equality import assert_runs_equal, attempts

pytest.importorskip("ray")


def assert_equal_and_sound(root, reference):
    store = Store(str(root))
    assert_runs_equal(reference, store, mini.STAGES)
    assert verify(store, mini.STAGES).damage == []


def shards_done(root):
    return attempts(Store(str(root)), mini.STAGES)


def kill_and_finish(root, mini_data, reference, ready, *options):
    """Start, kill when `ready()`, start again; the second run keeps every shard that the first had done."""
    command = mini.run(root, mini_data, *options)
    try:
        killed = mini.wait_until(command, ready)
        command.kill()
        assert command.gone(), f"left behind: {command.processes()}"
        before = shards_done(root)
        mini.run(root, mini_data, *options).check()
        after = shards_done(root)
        assert {shard: after[shard] for shard in before} == before
        assert_equal_and_sound(root, reference)
    finally:
        command.clean_up()
    return killed, len(before), len(after)


def test_a_run_on_ray_killed_half_way_is_finished_by_the_same_command(tmp_path, mini_data, reference):
    """Breaks when Ray's results differ from one process', or a kill -9 loses, repeats or damages shards."""
    root = tmp_path / "run"
    half = len(shards_done(reference.files.root)) // 2
    killed, before, after = kill_and_finish(root, mini_data, reference, lambda: len(shards_done(root)) >= half)
    assert killed
    assert before < after


def test_a_run_root_on_s3_gives_the_same_tables(s3_root, mini_data, reference):
    """Breaks when a path is treated as local, a listing is stale, or a conditional PUT does not decide who wins."""
    mini.run(s3_root, mini_data, "--in-process").check()
    assert_equal_and_sound(s3_root, reference)


@pytest.mark.long
@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_kill_at_ten_random_moments(tmp_path, mini_data, reference):
    """Breaks in whatever window between two writes a run cannot be cut; trained weights are compared bit for bit."""
    total = len(shards_done(reference.files.root))
    chance = random.Random(2)
    for number in range(10):
        root, wanted, delay = tmp_path / f"run{number}", chance.randrange(total), chance.uniform(0, 8)
        moment = _Moment(root, wanted, delay)
        _, before, after = kill_and_finish(root, mini_data, reference, moment)
        print(f"kill {number}: {before} of {after} shards were done, {delay:.1f} s after shard {wanted}")


class _Moment:
    """True `delay` seconds after `wanted` shards are done: in a shard, a training, or between two stages."""

    def __init__(self, root, wanted, delay):
        self._root, self._wanted, self._delay = root, wanted, delay
        self._since = None

    def __call__(self):
        now = time.monotonic()
        if self._since is None and len(shards_done(self._root)) >= self._wanted:
            self._since = now
        return self._since is not None and now - self._since >= self._delay


@pytest.mark.long
def test_two_runs_on_one_root_at_once(tmp_path, mini_data, reference):
    """Breaks when a loser's part is named by a manifest, or two trainings disturb each other's checkpoints."""
    root = tmp_path / "run"
    both = [mini.run(root, mini_data), mini.run(root, mini_data)]
    try:
        for command in both:
            command.check()
    finally:
        for command in both:
            command.clean_up()
    assert_equal_and_sound(root, reference)


@pytest.mark.long
def test_a_ray_run_on_s3_gives_the_same_tables(s3_root, mini_data, reference):
    """Breaks when Ray Train's checkpoints or the actors' stores do not reach the object store."""
    mini.run(s3_root, mini_data).check()
    assert_equal_and_sound(s3_root, reference)


@pytest.mark.long
@pytest.mark.parametrize("stage", ["classify", "cam"])
def test_sigterm_stops_with_exit_code_3_and_leaves_nothing_behind(tmp_path, mini_data, reference, stage):
    """Breaks when Ray's own signal handlers win: a scheduler must see "stopped", in a training and in a pool."""
    root = tmp_path / "run"
    command = mini.run(root, mini_data)
    try:
        assert mini.wait_until(command, lambda: f"stage={stage} " in command.log.read_text())
        time.sleep(3)
        command.terminate()
        assert command.wait(120) == 3, command.log.read_text()
        assert "stopped; the same command continues" in command.log.read_text()
        assert "Traceback" not in command.log.read_text()
        assert command.gone()
    finally:
        command.clean_up()
    mini.run(root, mini_data).check()
    assert_equal_and_sound(root, reference)
