import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stages.i2c.centres import ClassCentres

ROOT = Path(__file__).resolve().parents[3]

WORKER = """
import sys
import torch
from torch import distributed
from stages.i2c.centres import ClassCentres

rank, world_size, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world_size)
centres = ClassCentres(6, 8, decay=0.1, generator=torch.Generator().manual_seed(1))
for vectors, labels in torch.load(f"{folder}/batches.pt"):
    centres(vectors.chunk(world_size)[rank], labels.chunk(world_size)[rank])
    centres.update()
torch.save(centres.state_dict(), f"{folder}/rank{rank}.pt")
distributed.destroy_process_group()
"""


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def memory(classes=3, dimension=4, **options):
    return ClassCentres(classes, dimension, generator=torch.Generator().manual_seed(9), **options)


def shown(centres, means, label=0):
    """Show one class a batch at a time, each of one mean."""
    for mean in means:
        centres(mean.expand(2, 3, -1), torch.tensor([label, label]))
        centres.update()
    return centres.centres[label]


def test_first_update_replaces_the_noise():
    """Breaks when the rate does not start at exactly 1: the random start would stay in every centre."""
    centres = memory()
    before = centres.centres.clone()
    assert torch.equal(shown(centres, normal(1, 4), label=1), normal(1, 4)[0])
    assert torch.equal(centres.centres[[0, 2]], before[[0, 2]]), "classes that the batch does not hold stay"
    assert centres.counts.tolist() == [0, 1, 0]


def test_closed_form():
    """Breaks when the counter is shared between classes, or advances before its rate is taken."""
    means, alpha = normal(7, 4).double(), 0.3
    centres = memory(decay=alpha)
    shown(centres, normal(4, 4, seed=5), label=2)
    rates = [math.exp(-alpha * t) for t in range(7)]
    weights = [rates[t] * math.prod(1 - rate for rate in rates[t + 1 :]) for t in range(7)]
    assert sum(weights) == pytest.approx(1)
    expected = sum(weight * mean for weight, mean in zip(weights, means, strict=True))
    torch.testing.assert_close(shown(centres, means.float()).double(), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("alpha", "kept"), [(0.0, -1), (1e6, 0)])
def test_extremes_of_the_decay(alpha, kept):
    """Breaks when eta is not exp(-alpha t): without decay the last mean is kept, with all of it the first."""
    means = normal(5, 4)
    torch.testing.assert_close(shown(memory(decay=alpha), means), means[kept])


def test_loss_is_taken_against_the_old_centre():
    """Breaks when the update comes first: the loss of every first batch would be 0."""
    centres, means = memory(skip_unseen=False), normal(2, 4)
    labels = torch.tensor([0, 0])
    noise = centres.centres[0].clone()
    torch.testing.assert_close(centres(means[0].expand(2, 1, -1), labels), torch.dist(means[0], noise))
    centres.update()
    torch.testing.assert_close(centres(means[1].expand(2, 1, -1), labels), torch.dist(means[1], means[0]))


def test_unseen_classes_are_left_out():
    """Breaks when features are pulled towards noise, or a seen class's weight depends on who else is new."""
    centres, vectors = memory(), normal(4, 2, 4)
    assert centres(vectors[:2], torch.tensor([0, 0])) == 0
    centres.update()
    old = centres.centres[0].clone()
    both = vectors.requires_grad_()
    loss = centres(both, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    torch.testing.assert_close(loss, torch.dist(vectors[:2].mean(dim=(0, 1)), old) / 2)
    assert (both.grad[2:] == 0).all()


def test_evaluation_moves_nothing():
    """Breaks when looking at a validation batch changes the centres."""
    centres = memory().eval()
    before = {name: value.clone() for name, value in centres.state_dict().items()}
    centres(normal(2, 3, 4), torch.tensor([1, 1]))
    centres.update()
    assert all(torch.equal(before[name], value) for name, value in centres.state_dict().items())


def test_backward_after_the_update():
    """Breaks when the update in place overwrites what the gradient needs."""
    centres, vectors = memory(skip_unseen=False), normal(2, 1, 4).requires_grad_()
    mean, noise = vectors.detach().mean(dim=(0, 1)), centres.centres[0].clone()
    loss = centres(vectors, torch.tensor([0, 0]))
    centres.update()
    loss.backward()
    towards = (mean - noise) / torch.dist(mean, noise) / 2
    torch.testing.assert_close(vectors.grad, towards.expand(2, 1, -1))


def test_checkpoint_holds_everything():
    """Breaks when centres or counters are not in the checkpoint, or an optimizer would find them."""
    centres = memory(decay=0.5)
    assert not list(centres.parameters())
    shown(centres, normal(3, 4))
    resumed = ClassCentres(3, 4, decay=0.5)
    resumed.load_state_dict(centres.state_dict())
    assert torch.equal(shown(resumed, normal(2, 4, seed=3)), shown(centres, normal(2, 4, seed=3)))


@pytest.mark.parametrize("decay", [-0.1, math.nan, math.inf])
def test_decay_is_checked(decay):
    """Breaks when infinity times a counter of 0 makes the first centre a NaN."""
    with pytest.raises(ValueError, match="decay"):
        ClassCentres(2, 2, decay=decay)


def on_two_ranks(folder, batches):
    """The state of both ranks after they shared every batch: two processes that talk over the loopback interface."""
    torch.save(batches, folder / "batches.pt")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-c", WORKER]
    workers = [
        subprocess.Popen(
            [*command, str(rank), "2", str(folder)], env=environment, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        for rank in range(2)
    ]
    try:
        for worker in workers:
            _, errors = worker.communicate(timeout=300)
            assert worker.returncode == 0, errors
    finally:
        for worker in workers:
            worker.kill()
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


def test_two_ranks_end_as_one(tmp_path):
    """Breaks when ranks or micro batches keep their own means or counters, or count a shared class twice."""
    apart = [(normal(8, 3, 8, seed=i), torch.tensor([i % 6] * 4 + [(i + 1) % 6] * 4)) for i in range(5)]
    shared = [(normal(8, 3, 8, seed=10 + i), torch.tensor([0, 0, 1, 1, 1, 1, 4, 4])) for i in range(2)]
    one = ClassCentres(6, 8, decay=0.1, generator=torch.Generator().manual_seed(1))
    for vectors, labels in apart + shared:
        for part in range(0, len(labels), 2):
            one(vectors[part : part + 2], labels[part : part + 2])
        one.update()
    first, second = on_two_ranks(tmp_path, apart + shared)
    assert torch.equal(first["centres"], second["centres"])
    assert torch.equal(first["counts"], one.counts)
    torch.testing.assert_close(first["centres"], one.centres, atol=1e-6, rtol=0)
    assert first["counts"].tolist() == [3, 4, 2, 2, 4, 1]
