import json
from dataclasses import fields, replace
from typing import Any

import pytest

from stages.vision.model_card import VERSION, ModelCard, read_card
from stages.vision.preprocessing import Preprocessing

CARD = ModelCard(
    method="acol",
    backbone="smallnet",
    classes=("cat", "dog"),
    input_size=64,
    seed=3,
    parts={"threshold": 0.6, "hidden": 8, "linear": True, "none": None},
    about={"start": "classify", "left_out": {"flagged": 1, "names": ["a", "ä"]}},
    weights_hash="0f",
)


def said(**changes):
    """What a written card says, with some of it changed."""
    return {**json.loads(CARD.to_bytes()), **changes}


def turned_over(named):
    """The same in another order."""
    return {name: named[name] for name in reversed(list(named))}


@pytest.mark.parametrize(
    "card", [CARD, replace(CARD, classes=(), parts={}, about={}), ModelCard("a", "b", ("",), 1, 0)]
)
def test_a_card_comes_back_as_it_was(card):
    """Breaks when a field is left out of the file, or comes back as another type."""
    again = read_card(card.to_bytes())
    assert again == card
    assert isinstance(again.classes, tuple)
    assert again.to_bytes() == card.to_bytes()


def test_equal_cards_give_equal_bytes():
    """Breaks when the order in which parts were put together changes the artifact, or a difference does not show."""
    turned = replace(CARD, parts=turned_over(CARD.parts), about=turned_over(CARD.about))
    assert turned == CARD
    assert turned.to_bytes() == CARD.to_bytes()
    changed: dict[str, Any] = {
        "method": "spg", "backbone": "resnet50", "classes": ("dog", "cat"), "input_size": 65, "seed": 4, "parts": {},
        "about": {}, "weights_hash": "1f", "preprocessing": Preprocessing(crop=1.0), "version": VERSION + 1,
    }  # fmt: skip
    assert changed.keys() == {field.name for field in fields(ModelCard)}
    others = [replace(CARD, **{name: value}).to_bytes() for name, value in changed.items()]
    assert len({CARD.to_bytes(), *others}) == len(changed) + 1


@pytest.mark.parametrize("version", [0, VERSION + 1, None])
def test_another_version_is_refused_in_one_line(version):
    """Breaks when a card of another program is read as if it said the same."""
    with pytest.raises(ValueError) as refused:
        read_card(json.dumps(said(version=version)).encode())
    assert str(refused.value) == f"a model card of version {VERSION} was expected, not {version}"


def test_a_card_of_version_1_is_of_a_network_that_was_shown_imagenets_mean():
    """Breaks when models that were trained before cards said it cannot be read any more, or are shown other images."""
    older = {name: value for name, value in said(version=1).items() if name != "preprocessing"}
    assert read_card(json.dumps(older).encode()) == CARD


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        {},
        {"mean": [0.5] * 2},
        {"mean": ["a"] * 3},
        {"deviation": [1, 0, 1]},
        {"crop": 0},
        {"crop": True},
        {"interpolation": "x"},
        {"mean": [float("nan")] * 3},
        {"mode": 1},
    ],
)
def test_a_preprocessing_that_is_none_is_refused_in_one_line(wrong):
    """Breaks when someone else's card makes every pixel a NaN, or ends in a traceback."""
    changed = {**CARD.preprocessing.said(), **wrong} if wrong else wrong
    with pytest.raises(ValueError, match="^a model card whose preprocessing is invalid: [^\n]*$"):
        read_card(json.dumps(said(preprocessing=changed)).encode())


@pytest.mark.parametrize("missing", sorted({field.name for field in fields(ModelCard)} - {"version"}))
def test_a_missing_field_is_refused_in_one_line(missing):
    """Breaks when a card that was cut short gets a field's default, or ends in a traceback about a key."""
    left = {name: value for name, value in said().items() if name != missing}
    with pytest.raises(ValueError) as refused:
        read_card(json.dumps(left).encode())
    assert str(refused.value) == f"a model card without {missing}"


def test_what_says_no_version_is_no_card():
    """Breaks when a file from before cards had a version, or one that is no object, is taken for a card."""
    left = {name: value for name, value in said().items() if name != "version"}
    for other, named in ((left, "None"), ([1], r"\[1\]"), ("card", "card")):
        with pytest.raises(ValueError, match=f"^a model card of version {VERSION} was expected, not {named}$"):
            read_card(json.dumps(other).encode())


def test_bytes_that_are_no_json_are_a_value_error():
    """Breaks when a cut file raises what no caller expects."""
    for data in (b"", CARD.to_bytes()[:-9]):
        with pytest.raises(ValueError):
            read_card(data)


def test_what_is_an_ordinary_classifier():
    """Breaks when a network with parts of its own, or without classes, is built as a backbone with a classifier."""
    plain = replace(CARD, parts={})
    assert plain.is_classifier
    assert not CARD.is_classifier
    assert not replace(plain, classes=()).is_classifier
    assert (plain.num_classes, replace(plain, classes=()).num_classes) == (2, 1)


def test_a_part_that_is_no_number_is_refused():
    """Breaks when a network is built with a missing width, or with true for 1."""
    assert (CARD.number("threshold"), CARD.number("hidden")) == (0.6, 8)
    for name in ("linear", "none", "width"):
        with pytest.raises(ValueError, match=f"^the card of a acol model has no number '{name}'$"):
            CARD.number(name)


def test_labels_of_another_data_set_are_refused():
    """Breaks when classes in another order give maps of the wrong class, or a class too many crashes a GPU."""
    row = {"image_id": "7", "label": 1, "label_name": "dog"}
    CARD.check_labels([row])
    for wrong in ({"label": 0}, {"label": 2, "label_name": "bird"}, {"label": -1}):
        with pytest.raises(ValueError, match="image 7 is of class"):
            CARD.check_labels([row, {**row, **wrong}])
    replace(CARD, classes=()).check_labels([row])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": 3}, "method is no text"),
        ({"backbone": None}, "backbone is no text"),
        ({"classes": "cat"}, "classes is no list"),
        ({"classes": ["cat", 1]}, "classes are no texts"),
        ({"input_size": "64"}, "input_size is no integer"),
        ({"input_size": True}, "input_size is no integer"),
        ({"input_size": 0}, "input_size is no size"),
        ({"seed": 0.5}, "seed is no integer"),
        ({"parts": []}, "parts is no object"),
        ({"about": "x"}, "about is no object"),
        ({"weights_hash": 1}, "weights_hash is no text"),
    ],
)
def test_a_value_of_another_type_is_refused(changes, words):
    """Breaks when somebody else's card reaches the network's code with values that it cannot be."""
    with pytest.raises(ValueError, match=words):
        read_card(json.dumps(said(**changes)).encode())
