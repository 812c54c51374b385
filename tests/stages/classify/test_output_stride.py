"""The option `output_stride`: which network it names, for the training and for what reads its model."""

import pytest

from pipeline.base.errors import UsageError
from pipeline.base.params import numeric
from pipeline.store.records import Recipe, Upstream
from stages.bases.planned_network import planned_network
from stages.classify.options import ClassifyParams
from stages.classify.stage import Classify


@pytest.mark.parametrize(
    ("backbone", "output_stride", "network"),
    [
        ("timm:resnet18", 16, "timm:resnet18@16"),
        ("efficientnet_lite0", 8, "efficientnet_lite0@8"),
        ("resnet50", 16, "resnet50_s16"),
        ("vit_s16", None, "vit_s16"),
    ],
)
def test_stages_that_read_the_model_plan_with_the_same_network(backbone, output_stride, network):
    """Breaks when the training builds one network and a stage below it is checked against another."""
    params = ClassifyParams(backbone=backbone, output_stride=output_stride)
    assert params.network == network
    model = Upstream("classify", Recipe("classify", Classify.version, numeric(params)))
    planned = planned_network(model)
    assert planned is not None
    assert planned.backbone == network


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"backbone": "timm:resnet18", "output_stride": 12}, "output_stride must be one of 8, 16, 32, not 12"),
        ({"backbone": "vgg16_gap", "output_stride": 16}, "vgg16_gap has no variant of output_stride 16"),
        ({"backbone": "resnet51"}, "unknown backbone 'resnet51': did you mean 'resnet50'"),
    ],
)
def test_strides_that_stay_are_refused_with_the_config(params, said):
    """Breaks when a stride that cannot be had is ignored, or found after the images were read."""
    with pytest.raises(UsageError, match=said):
        Classify("classify", ClassifyParams(**params)).check()


def test_leaving_it_out_changes_no_recipe():
    """Breaks when trainings of before the option are taken for those of another network."""
    assert "output_stride" not in numeric(ClassifyParams())
