"""Names and colours: short where that is clear, never shared by two things that differ."""

from stages.report.names import NO_COLOUR, Names


def test_a_method_with_one_stage_for_boxes_and_one_for_maps_has_one_name_and_colour() -> None:
    """Breaks when a method's boxes, curve and heat map look like three methods."""
    names = Names([("cam", "boxes_cam"), ("psol", "psol")], [("cam", "cam"), ("ddt", "ddt")])
    assert names("cam", "boxes_cam") == names("cam", "cam") == "cam"
    assert names.colour("cam", "boxes_cam") == names.colour("cam", "cam")
    assert len({names.colour(method, method) for method in ("cam", "psol", "ddt")}) == 3


def test_two_stages_of_one_method_are_told_apart() -> None:
    """Breaks when two trainings of a method share a name, a colour or a curve."""
    names = Names([("psol", "on_cam"), ("psol", "on_ddt")], [])
    assert names("psol", "on_cam") == "psol · on_cam"
    assert names.colour("psol", "on_cam") != names.colour("psol", "on_ddt")


def test_trivial_predictors_take_no_colour() -> None:
    """Breaks when a yardstick looks like a method."""
    names = Names([], [("cam", "cam"), ("centred_gaussian", "centred_gaussian")])
    assert names.colour("centred_gaussian", "centred_gaussian") == NO_COLOUR
    assert names.colour("cam", "cam") == 0
