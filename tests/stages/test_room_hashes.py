"""A room whose output changes under the same version number would leave old results standing as if they were new."""

import json

import pytest

from stages import catalog
from tests.stages import rooms

NOT_PINNED = {"report", "export", "truth", "model"}
"""Pages, files, annotations and copies whose form their own tests check."""
PIN_AGAIN = "then pin it: python -m tests.stages.rooms"


@pytest.fixture(scope="module")
def found():
    return rooms.outputs()


@pytest.fixture(scope="module")
def pinned():
    return json.loads(rooms.PINNED.read_text())


@pytest.mark.parametrize(
    "room",
    [
        "ingest",
        "perceptual_hash",
        "duplicates",
        "deduplicate",
        "import",
        "classify",
        "cam",
        "gradcam",
        "ncut",
        "plain_cam",
        "ddt",
        "i2c",
        "spa",
        "minmax",
        "sdcam",
        "scg",
        "arm",
        "sgrm",
        "sweep",
        "calibrate",
        "boxes",
        "quality",
        "consensus",
        "psol",
        "localize",
        "evaluate",
    ],
)
def test_the_output_of_a_room_changes_with_its_version_alone(room, found, pinned):
    """Breaks when the same input gives another output under the same version: recipes would not notice."""
    now, before = found[room], pinned[room]
    if now["version"] != before["version"]:
        pytest.fail(f"{room}.version is {now['version']}, its pinned output is of {before['version']}: {PIN_AGAIN}")
    changed = [name for name in {*now["output"], *before["output"]} if differs(now, before, name)]
    if changed:
        pytest.fail(f"output changed: raise {room}.version ({', '.join(sorted(changed))}), {PIN_AGAIN}")


def differs(now, before, name: str) -> bool:
    """Whether texts differ, or numbers by more than a thousandth of their mean size."""
    one, other = now["output"].get(name, {}), before["output"].get(name, {})
    if one.get("texts") != other.get("texts") or ("numbers" in one) != ("numbers" in other):
        return True
    if "numbers" not in one:
        return False
    (count, *moments), (pinned_count, *pinned_moments) = one["numbers"], other["numbers"]
    close = 1e-3 * max(pinned_moments[-1], 1e-6)
    return count != pinned_count or any(abs(a - b) > close for a, b in zip(moments, pinned_moments, strict=True))


def test_every_stage_is_pinned_or_named():
    """Breaks when a new stage comes without its pinned output."""
    pinned = set(json.loads(rooms.PINNED.read_text()))
    assert set(catalog.stages()) - pinned == NOT_PINNED


def test_the_summary_sees_what_changes():
    """Breaks when two outputs that differ have the same summary: a swap, a sign, a text, a missing value."""
    said = [
        json.dumps(rooms.summary(values))
        for values in ([1.0, 2.0], [2.0, 1.0], [1.0, -2.0], [1.0, 2.01], [1.0], ["a", 1.0], ["b", 1.0], [1.0, None])
    ]
    assert len(set(said)) == len(said)
