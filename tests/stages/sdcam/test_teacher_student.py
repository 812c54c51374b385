"""A transformer with a teacher and a student."""

import pytest
import torch

from stages.sdcam.teacher_student import TeacherStudentNetwork
from stages.vision.backbones.build import build
from stages.vision.backbones.vit import ClassTokenNetwork

NAME = "vit_tiny_p8"


@pytest.fixture
def images():
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def network():
    return TeacherStudentNetwork(build(NAME, 4), hidden=6).eval()


def test_the_summary_is_class_token_and_pooled_features(network, images):
    """Breaks when the class token is averaged into the patches, or the two halves change places."""
    with torch.inference_mode():
        summary, tokens = network.summary(images), network.features.raw(images)
        assert summary.shape == (3, 2 * network.feature_dim)
        assert summary[:, : network.feature_dim].equal(tokens[:, 0])
        torch.testing.assert_close(summary[:, network.feature_dim :], network.pooled(images))
        torch.testing.assert_close(network(images), network.teacher(summary))


def test_maps_are_those_of_the_student_unchanged(network, images):
    """Breaks when the teacher has a say in the maps, or patches are put elsewhere than by the network itself."""
    labels = torch.tensor([3, 0, 2])
    with torch.inference_mode():
        given, maps = network.class_maps(images, labels)
        features, student = network.class_features(images), build(NAME, 4).eval()
        assert given.equal(labels)
        assert student.class_features(images).equal(features)
        assert student.classifier.weight.equal(network.classifier.weight)
        torch.testing.assert_close(maps, torch.einsum("bkhw,bk->bhw", features, network.classifier.weight[labels]))


def test_without_labels_maps_are_of_the_teachers_classes(network, images):
    """Breaks when the student, whose classes nobody reports, chooses the map."""
    with torch.inference_mode():
        network.teacher[-1].bias[1] = 1e6
        labels, maps = network.class_maps(images, None)
        assert labels.tolist() == [1, 1, 1]
        assert maps.equal(network.class_maps(images, labels)[1])


def test_the_teachers_weights_are_seeded_and_nothing_else_is_drawn():
    """Breaks when two trainings of one seed begin differently, or making a network moves torch's own generator."""
    before = torch.get_rng_state()
    one, same, other = (
        TeacherStudentNetwork(build(NAME, 4), 0, seed).state_dict()["teacher.0.weight"] for seed in (1, 1, 2)
    )
    assert one.equal(same)
    assert not one.equal(other)
    assert torch.get_rng_state().equal(before)


def test_a_student_of_a_class_tokens_network_begins_afresh(images):
    """Breaks when weights that were learned on the class token are taken for weights over the patches."""
    features = build(NAME, 4).features
    published = ClassTokenNetwork(features, 96, 4)
    one, same = (TeacherStudentNetwork(published, 0, seed=1).eval() for _ in range(2))
    assert one.classifier.weight.equal(same.classifier.weight)
    assert not one.classifier.weight.equal(published.classifier.weight)
    with torch.inference_mode():
        assert one.class_maps(images, torch.zeros(3, dtype=torch.long))[1].shape == (3, 8, 8)


def test_a_network_without_class_token_is_refused():
    """Breaks when the first column of a feature map is taken for a class token."""
    with pytest.raises(ValueError, match="smallnet has no class token"):
        TeacherStudentNetwork(build("smallnet", 4), 0)
