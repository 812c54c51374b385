import torch
from torch.nn.functional import cross_entropy

from stages.plain_cam.adversarial_erasing import ErasingNetwork, two_branch_loss
from stages.plain_cam.two_branches import TwoBranchNetwork
from stages.vision.backbones.build import build

LABELS = torch.tensor([0, 2])


def test_the_loss_is_both_cross_entropies():
    """Breaks when a branch is left out, weighted, or learns other labels."""
    torch.manual_seed(0)
    first, second = torch.randn(2, 3), torch.randn(2, 3)
    expected = cross_entropy(first, LABELS) + cross_entropy(second, LABELS)
    assert torch.equal(two_branch_loss(first, second, LABELS), expected)


def test_logits_are_those_of_each_branchs_own_features():
    """Breaks when the branches are swapped, or the first one's logits are not those that are tested later."""
    network, images = TwoBranchNetwork(build("smallnet", 3), 0.4).eval(), torch.randn(2, 3, 64, 64)
    torch.nn.init.normal_(network.second_classifier.weight)
    first, second = ErasingNetwork(network)(images, LABELS)
    assert torch.equal(first, network(images))
    _, erased = network.branch_features(images, LABELS)
    assert torch.equal(second, network.second_classifier(erased.mean(dim=(2, 3))))
    assert not torch.equal(erased, network.features(images))


def test_every_parameter_learns():
    """Breaks when several workers would wait for the gradient of a part that no loss reaches."""
    network = ErasingNetwork(TwoBranchNetwork(build("smallnet", 3), 0.6)).train()
    first, second = network(torch.randn(2, 3, 64, 64), LABELS)
    two_branch_loss(first, second, LABELS).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []
