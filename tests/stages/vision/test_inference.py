import pytest
import torch

from stages.vision import inference
from stages.vision.backbones.build import build
from stages.vision.inference import Classifier, autocast
from stages.vision.precision import precision_ingredients

LINEAR = torch.nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("precision", "backbone", "dtype"),
    [
        ("float32", "agrees", torch.float32),
        ("bfloat16", "other", torch.bfloat16),
        ("float16", "other", torch.float16),
        ("auto", "agrees", torch.bfloat16),
        ("auto", "other", torch.float32),
    ],
)
def test_what_networks_compute_in(monkeypatch, precision, backbone, dtype):
    """Breaks when a precision means another one, or auto does not go by the backbone."""
    monkeypatch.setattr(inference, "BFLOAT16_AGREES", frozenset({"agrees"}))
    with torch.inference_mode(), autocast("cpu", precision, backbone):
        assert LINEAR(torch.ones(1, 2)).dtype == dtype


def test_what_auto_takes_enters_the_recipe(monkeypatch):
    """Breaks when another backbone comes to be computed in bfloat16 and old results are taken for the new ones."""
    before = precision_ingredients("auto")
    monkeypatch.setattr(inference, "BFLOAT16_AGREES", frozenset({"smallnet", "another"}))
    assert precision_ingredients("auto") != before
    assert precision_ingredients("float32") == {}


def test_an_unknown_precision_is_refused():
    """Breaks when a typing error means float32."""
    with pytest.raises(ValueError, match="float16"):
        autocast("cpu", "half")


def test_labels_of_another_data_set_are_refused():
    """Breaks when classes in another order give maps of the wrong class, or a class too many crashes a GPU."""
    model = Classifier(build("smallnet", 2), {"classes": ["cat", "dog"]})
    row = {"image_id": "7", "label": 1, "label_name": "dog"}
    model.check_labels([row])
    for wrong in ({"label": 0}, {"label": 2, "label_name": "bird"}):
        with pytest.raises(ValueError, match="image 7 is of class"):
            model.check_labels([row, {**row, **wrong}])
