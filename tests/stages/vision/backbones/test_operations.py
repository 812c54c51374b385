from functools import partial

import torch
from torch import nn

from stages.vision.backbones.operations import operations_of

MAPS = torch.randn(2, 5, 3, 4)


def is_mean(computed):
    result, operations = operations_of(lambda: computed(MAPS))
    return operations.are_one_mean(12) and result.shape == (2, 5)


def test_what_is_a_spatial_mean():
    """Breaks when pooling in another form, or views beside it, pass for more than a mean."""
    assert is_mean(lambda maps: maps.mean(dim=(2, 3)))
    assert is_mean(lambda maps: nn.AdaptiveAvgPool2d(1)(maps).flatten(1))
    assert is_mean(lambda maps: maps.flatten(2).transpose(1, 2).mean(dim=1))
    assert is_mean(lambda maps: nn.Dropout(0.5).eval()(nn.Flatten()(nn.AdaptiveAvgPool2d(1)(maps))))


def test_what_is_more_than_a_spatial_mean():
    """Breaks when CAM is said to be exact behind a normalisation, an activation, a maximum, or of a part of the map."""
    assert not is_mean(lambda maps: nn.LayerNorm(5).eval()(maps.mean(dim=(2, 3))))
    assert not is_mean(lambda maps: maps.mean(dim=(2, 3)).relu())
    assert not is_mean(lambda maps: maps.amax(dim=(2, 3)))
    assert not is_mean(lambda maps: maps.amax(dim=(2, 3)) + maps.mean(dim=(2, 3)))
    assert not is_mean(lambda maps: maps[:, :, :2].mean(dim=(2, 3)))
    assert not is_mean(lambda maps: maps[:, :, 0, 0])


def test_what_is_one_linear_layer():
    """Breaks when two layers, or a normalisation before the last one, pass for a classifier that can be kept."""
    features = torch.randn(2, 5)
    for layer, known in [
        (nn.Linear(5, 3), True),
        (nn.Sequential(nn.BatchNorm1d(5).eval(), nn.Linear(5, 3)), False),
        (nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)), False),
    ]:
        assert operations_of(partial(layer, features))[1].are_one_linear_layer() is known
    convolution = nn.Conv2d(5, 3, 1)
    assert operations_of(lambda: convolution(features[:, :, None, None]).flatten(1))[1].are_one_linear_layer()
