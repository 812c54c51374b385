"""Whole runs of mini.yaml on a Ray cluster of several nodes, while nodes are lost and join: the tables stay equal."""

import functools
import random

import pytest

from pipeline.store.store import Store
from pipeline.upkeep.verify import verify
from tests.cluster import mini
from tests.cluster.nodes import cluster
from tests.equality import assert_runs_equal

pytest.importorskip("ray")


def started(command, stage):
    """Whether the run has begun a stage."""
    return f"stage={stage} " in command.log.read_text()


def assert_equal_and_sound(root, reference):
    store = Store(str(root))
    assert_runs_equal(reference, store, mini.STAGES)
    assert verify(store, mini.STAGES).damage == []


def test_a_node_is_lost_and_another_joins_in_the_middle_of_a_stage(tmp_path, mini_data, reference):
    """Breaks when the pool waits for actors of a lost node, loses their shards, or never uses the new node."""
    with cluster(workers=1) as nodes:
        command = mini.run(tmp_path / "run", mini_data, "--address", nodes.address)
        try:
            assert mini.wait_until(command, lambda: started(command, "ddt")), command.log.read_text()
            nodes.remove()
            nodes.add()
            command.check()
        finally:
            command.clean_up()
    assert_equal_and_sound(tmp_path / "run", reference)


@pytest.mark.long
@pytest.mark.cluster
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(3))
def test_nodes_come_and_go_all_the_time(tmp_path, mini_data, reference, seed):
    """Breaks when losing a node is survived in one stage but not in another, trainings included."""
    chance = random.Random(seed)
    stages = [stage for stage in mini.STAGES if chance.random() < 0.6]
    with cluster(workers=2) as nodes:
        command = mini.run(tmp_path / "run", mini_data, "--address", nodes.address)
        try:
            for stage in stages:
                if not mini.wait_until(command, functools.partial(started, command, stage)):
                    break
                nodes.remove()
                nodes.add()
            command.check()
        finally:
            command.clean_up()
    assert_equal_and_sound(tmp_path / "run", reference)
