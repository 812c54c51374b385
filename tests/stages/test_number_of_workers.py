"""A training is the same whatever the number of its workers and the size of their micro batches.

Sums of losses and weights are compared to one part in a billion (1e-9, relative and absolute) in float64: what differs
is the order in which rounded numbers are added.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.worker.device import set_threads
from stages.vision.backbones.build import build
from tests.stages.on_ranks import CLASSES, CUT, STEPS, TRAININGS, Ranks, micro_batch_of, run

ROOT = Path(__file__).resolve().parents[2]
WAYS = {"two": 2, "two in micro batches": 2, "two after one": 2, "four": 4}


@pytest.fixture(scope="module")
def alone():
    """Each training on one worker."""
    set_threads(1)
    return {name: run(name, Ranks()) for name in TRAININGS}


@pytest.fixture(scope="module")
def shared(alone, tmp_path_factory):
    """Rank -> way -> training: what two and four workers found."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.save({name: found["kept"] for name, found in alone.items()}, folder / "cut.pt")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-m", "tests.stages.on_ranks", str(folder)]
    subprocess.run(command, env=environment, cwd=ROOT, timeout=300, check=True)
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(4)]


def close(one, other):
    torch.testing.assert_close(torch.tensor(one), torch.tensor(other), rtol=1e-9, atol=1e-9)


def same(found, expected, start=0):
    """Compare two trainings, of which one begins at a step."""
    close(found["losses"], expected["losses"][start:])
    close(found["log"], expected["log"])
    assert found["weights"].keys() == expected["weights"].keys()
    for name, value in expected["weights"].items():
        torch.testing.assert_close(found["weights"][name], value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("way", WAYS)
def test_more_workers_train_the_same(alone, shared, way, name):
    """Breaks when a step's images, draws, rates or losses depend on who computes them, or class sets are torn apart."""
    assert len(alone[name]["losses"]) == STEPS
    for rank in range(WAYS[way]):
        same(shared[rank][way][name], alone[name], CUT if way == "two after one" else 0)


@pytest.mark.parametrize("name", TRAININGS)
def test_micro_batches_of_one_worker_train_the_same(alone, name):
    """Breaks when gradients of micro batches are not weighted by their images, or centres move between them."""
    same(run(name, Ranks(micro_batch=micro_batch_of(name))), alone[name])


@pytest.mark.parametrize("name", TRAININGS)
def test_one_worker_goes_on_where_two_were_cut_off(alone, shared, name):
    """Breaks when a checkpoint holds one rank's part of a sum, or counts its images."""
    same(run(name, Ranks(state=shared[0]["two"][name]["kept"])), alone[name], CUT)


def test_the_losses_are_not_all_alike(alone):
    """Breaks when the trainings that are compared do not learn, or all are the same one."""
    for found in alone.values():
        assert len(set(found["losses"])) == STEPS
    assert len({tuple(found["losses"]) for found in alone.values()}) == len(TRAININGS)


def test_synchronised_statistics_keep_weights_and_modules():
    """Breaks when torch's SyncBatchNorm, which GPUs get, leaves optimizers or losses with what it has replaced."""
    network = build("smallnet", CLASSES)
    features, parameters, names = network.features, list(network.parameters()), list(network.state_dict())
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    assert converted is network
    assert network.features is features
    assert any(isinstance(module, nn.SyncBatchNorm) for module in features.modules())
    assert all(one is other for one, other in zip(network.parameters(), parameters, strict=True))
    assert list(network.state_dict()) == names
