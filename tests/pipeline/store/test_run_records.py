"""Records of runs: who is at work on a root, who died, and what a damaged record does."""

import dataclasses
import os
import subprocess
import sys
import time

import pytest

from pipeline.base.process import Process, look_for, this_process
from pipeline.running.heartbeat import Heartbeat
from pipeline.store import layout
from pipeline.store.run_records import forget_old, live_runs, new_record, put_record, runs
from pipeline.store.sealed import seal, unseal
from pipeline.store.store import Store


def lives(store):
    """record id -> life, the newest first."""
    return {run.record.id: run.life for run in runs(store)[0]}


def test_a_run_is_alive_from_its_start_to_its_end(store):
    """Breaks when the first record waits for an interval, or a sign of life after the end makes it run again."""
    record = dataclasses.replace(new_record("a.yaml", None), interval=0.02)
    heartbeat = Heartbeat(store, record)
    heartbeat.start()
    assert lives(store) == {record.id: "alive"}
    assert [run.id for run in live_runs(store)] == [record.id]
    time.sleep(0.1)
    heartbeat.end("done", 0, computed={"cam": 3})
    time.sleep(0.1)
    (ended,), damaged = runs(store)
    assert (ended.life, ended.record.state, ended.record.computed, damaged) == ("ended", "done", {"cam": 3}, [])
    assert live_runs(store) == []


def test_signs_of_life_go_on_while_the_run_computes(store):
    """Breaks when the thread ends after its first sign, so that every long run looks dead."""
    record = dataclasses.replace(new_record("a.yaml", None), interval=0.05)
    heartbeat = Heartbeat(store, record)
    heartbeat.start()
    time.sleep(0.6)
    assert lives(store) == {record.id: "alive"}
    heartbeat.end("stopped", 3)


def test_a_run_that_falls_silent_may_come_back(store):
    """Breaks when a stopped process counts as running for ever, or as dead for good: it may go on and write."""
    record = dataclasses.replace(new_record("a.yaml", None), interval=0.05)
    put_record(store, record)
    time.sleep(0.4)
    assert lives(store) == {record.id: "silent"}
    assert [run.id for run in live_runs(store)] == [record.id]
    put_record(store, record)
    assert lives(store) == {record.id: "alive"}


@pytest.mark.parametrize("other", ["gone", "number given again"])
def test_a_process_that_is_gone_is_dead_at_once(store, other):
    """Breaks when a dead run runs on for three intervals, or for ever because its number belongs to another now."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = this_process()
    process = {
        "gone": dataclasses.replace(here, pid=ended.pid),
        "number given again": dataclasses.replace(here, started=here.started - 1),
    }[other]
    record = dataclasses.replace(new_record("a.yaml", None), process=process)
    put_record(store, record)
    assert lives(store) == {record.id: "dead"}
    assert live_runs(store) == []


def test_a_process_nobody_asked_for_yet_is_gone():
    """Breaks when a killed run lives on as long as its parent does not ask how it ended."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = Process(this_process().machine, child.pid, started_of(child.pid))
    assert look_for(process) == "alive"
    child.kill()
    deadline = time.monotonic() + 20
    while look_for(process) == "alive" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert look_for(process) == "gone"
    child.communicate()


def started_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[19])


def test_a_run_of_another_machine_is_known_by_its_silence_alone(store):
    """Breaks when a process of another machine is looked for by its number here."""
    far = Process("another machine", os.getpid(), 1)
    record = dataclasses.replace(new_record("a.yaml", None), process=far, interval=0.05)
    put_record(store, record)
    assert lives(store) == {record.id: "alive"}
    time.sleep(0.4)
    assert lives(store) == {record.id: "silent"}
    assert live_runs(store) == []


def test_the_clock_of_a_remote_storage_may_be_wrong():
    """Breaks when a bucket whose clock is a little behind makes every run look dead."""
    store = Store("memory://run-records/clock")
    record = dataclasses.replace(new_record("a.yaml", None), process=Process("another machine", 1, 1), interval=0.01)
    put_record(store, record)
    time.sleep(0.1)
    assert lives(store) == {record.id: "alive"}


def test_of_two_runs_both_are_known(store):
    """Breaks when the second run's record replaces the first one's."""
    first, second = (dataclasses.replace(new_record(name, None), id=name) for name in ("1", "2"))
    put_record(store, first)
    put_record(store, second)
    assert lives(store) == {"2": "alive", "1": "alive"}


def test_old_runs_are_forgotten_and_living_ones_are_not(store):
    """Breaks when the folder grows with every run, or a long run's record goes because many short ones followed."""
    put_record(store, dataclasses.replace(new_record("long.yaml", None), id="0"))
    for number in range(1, 9):
        put_record(store, dataclasses.replace(new_record("a.yaml", None), id=str(number), state="done", exit_code=0))
    store.files.put(layout.run_record("00"), b"damaged")
    forget_old(store)
    assert list(lives(store)) == ["8", "7", "6", "5", "4", "0"]
    assert runs(store)[1] == []


def test_a_storage_that_fails_ends_no_run(store, monkeypatch):
    """Breaks when a full disk or a storage error in the heartbeat ends a run that computes well."""

    def fail(path, data):
        raise OSError(28, "No space left on device")

    heartbeat = Heartbeat(store, dataclasses.replace(new_record("a.yaml", None), interval=0.01))
    monkeypatch.setattr(store.files, "put", fail)
    heartbeat.start()
    time.sleep(0.05)
    heartbeat.end("done", 0)
    assert runs(store) == ([], []), "nothing could be written"


WRONG = {
    "id": "other",
    "host": 1,
    "process": {"machine": "m", "pid": "1", "started": 1},
    "started": None,
    "last_seen": "yesterday",
    "interval": "10",
    "config": [],
    "submission": 3,
    "state": "sleeping",
    "exit_code": "0",
    "error": {},
    "computed": {"cam": "three"},
}


@pytest.mark.parametrize("change", [*WRONG, "unknown", "truncated", "list", "empty", "null"])
def test_a_damaged_record_is_named_and_hides_no_other(store, change):
    """Breaks when one bad object makes an error of Python's out of `status`, or is believed."""
    good = dataclasses.replace(new_record("a.yaml", None), id="good")
    put_record(store, good)
    path = layout.run_record("bad")
    put_record(store, dataclasses.replace(good, id="bad"))
    said = unseal(store.files.get(path))
    data = {
        "truncated": seal(said)[:40],
        "list": b"[]",
        "empty": b"{}",
        "null": b"null",
    }.get(change, seal({**said, change: WRONG.get(change)}))
    store.files.put(path, data)
    assert lives(store) == {"good": "alive"}
    assert runs(store)[1] == [path]


def test_wrong_has_every_field():
    """Breaks when a field is added that no damage was tried on."""
    assert WRONG.keys() == {field.name for field in dataclasses.fields(new_record("a.yaml", None))}
