"""Workers of a training on one machine: they form a group, and open nothing that others reach."""

import ipaddress
import json

import psutil
import pytest
import ray
import ray.train
import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from pipeline.on_ray.process_group import FileConfig, torch_config

pytestmark = pytest.mark.usefixtures("ray_local")


def _group(config):
    """Sum the ranks, then write down what this process listens on."""
    total = torch.tensor([float(ray.train.get_context().get_world_rank() + 1)])
    torch.distributed.all_reduce(total)
    connections = psutil.Process().net_connections(kind="inet")
    listening = [each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN]
    rank = torch.distributed.get_rank()
    (config["folder"] / f"{rank}.json").write_text(json.dumps([total.item(), listening]))


def test_workers_on_one_machine_meet_without_a_port_that_others_reach(tmp_path):
    """Breaks when torch's TCPStore, which asks for no login, listens on all addresses of the machine again."""
    trainer = TorchTrainer(
        _group,
        train_loop_config={"folder": tmp_path},
        torch_config=torch_config(),
        scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5}),
        run_config=RunConfig(name="group", storage_path=str(tmp_path / "train")),
    )
    trainer.fit()
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert [total for total, _ in found] == [3.0, 3.0]
    for _, listening in found:
        assert listening
        assert all(ipaddress.ip_address(ip.removeprefix("::ffff:")).is_loopback for ip in listening)


def test_workers_of_several_machines_meet_over_the_network(monkeypatch):
    """Breaks when workers of a cluster are told to meet by a file that they do not share."""
    nodes = [{"Alive": True, "NodeManagerAddress": ip} for ip in ("127.0.0.1", "10.0.0.2")]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert type(torch_config()) is TorchConfig
    nodes.pop()
    assert type(torch_config()) is FileConfig
