from dataclasses import replace
from typing import Any

import pytest
import torch

from stages.vision.backbones.build import build
from stages.vision.inference import ClassifierCache, autocast, images_at_once
from stages.vision.model_card import CARD, WEIGHTS, ModelCard
from stages.vision.model_loaders import ModelLoaders
from stages.vision.models import to_blobs
from stages.vision.precision import precision_ingredients

LINEAR = torch.nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)],
)
def test_what_networks_compute_in(precision, dtype):
    """Breaks when a precision means another one."""
    with torch.inference_mode(), autocast("cpu", precision):
        assert LINEAR(torch.ones(1, 2)).dtype == dtype


def test_folding_enters_the_recipes_of_16_bits_alone():
    """Breaks when bfloat16 maps of unfolded networks are taken for today's, or float32 maps are all made again."""
    assert precision_ingredients("float32") == {}
    assert precision_ingredients("bfloat16") == precision_ingredients("float16") != {}


def test_an_unknown_precision_is_refused():
    """Breaks when a typing error means float32."""
    for unknown in ("half", "auto"):
        said: Any = unknown
        with pytest.raises(ValueError, match="float16"):
            autocast("cpu", said)


def test_the_model_that_was_asked_for_last_is_kept():
    """Breaks when every shard loads its model again, or a worker goes on with the one before."""
    read: list[str] = []

    def noted(name):
        read.append(name)
        return blobs[name]

    blobs = to_blobs(build("smallnet", 2), ModelCard("classify", "smallnet", ("cat", "dog"), input_size=64, seed=0))
    cache = ClassifierCache("cpu", ModelLoaders())
    first = cache.get("one", noted)
    assert cache.get("one", noted) is first
    assert sorted(read) == [CARD, WEIGHTS]
    assert cache.get("other", noted) is not first


@pytest.mark.parametrize("change", [{"classes": ()}, {"parts": {"hidden": 1}}])
def test_a_model_that_is_no_classifier_is_refused(change):
    """Breaks when maps are made of a box regressor, or of the backbone of a network with parts nobody can load."""
    card = replace(ModelCard("other", "smallnet", ("cat",), input_size=64, seed=0), **change)
    blobs = to_blobs(build("smallnet", 1), card)
    with pytest.raises(ValueError, match="^a model of method 'other' is no classifier$"):
        ClassifierCache("cpu", ModelLoaders()).get("k", blobs.__getitem__)


def test_batches_are_small_on_a_processor_alone():
    """Breaks when a CPU is given more maps than its caches hold, a GPU is starved, or small memory is not heeded."""
    assert [images_at_once(size, "cpu") for size in (1, 8, 256)] == [1, 8, 8]
    assert [images_at_once(size, "cuda:0") for size in (1, 8, 256)] == [1, 8, 256]
