"""Flipped bits of a finished run: what reads one says so, and no number changes without a word."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.jobs.guarded import Tree, call, finish

_CHANGE = ("--set", "stages.boxes_cam.thresholds=null", "--set", "stages.boxes_cam.threshold=0.3")
"""Other boxes, so that a run computes some stages, reads others, and lists the data set."""


@pytest.fixture(scope="module")
def sound(finished_run, tmp_path_factory):
    """A finished run; its config file, and what its folder holds."""
    folder = tmp_path_factory.mktemp("flips")
    config = finish(folder, finished_run)
    return config, Tree(folder / "run")


def answers(config: Path, out: Path) -> dict[str, object]:
    """What commands say of the finished run, then of one with other boxes: what they give, or the line at their end.

    A run that ends with a line is the last.
    """
    said: dict[str, object] = {}
    for changed, *arguments in (
        ((), "metrics", "--json", "-"),
        ((), "export", "--out", str(out / "export")),
        (_CHANGE, "run", "--in-process"),
        (_CHANGE, "metrics", "--json", "-"),
        (_CHANGE, "export", "--out", str(out / "changed")),
    ):
        verb, *options = arguments
        name = f"{verb}, other boxes" if changed else verb
        ended = call(verb, str(config), *changed, *options)
        if ended.code:
            assert ended.code == 1, ended.err
            (said[name],) = ended.errors
            if verb == "run":
                break
        elif verb == "metrics":
            said[name] = json.loads(ended.out)
        elif verb == "export":
            said[name] = {path.name: path.read_bytes() for path in Path(options[-1]).glob("coco_*.json")}
    return said


def flip(path: Path, rng: random.Random) -> None:
    """Turn one bit of a file."""
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def outcomes(sound, out: Path, count: int) -> Counter[tuple[str, str]]:
    """Flip so many bits, one at a time, each kind of object in turn; (kind, what became of it) -> how often."""
    config, tree = sound
    expected = answers(config, out / "sound")
    tree.restore()
    kinds: dict[str, list[Path]] = {}
    for path in (path for path, entry in tree.entries.items() if isinstance(entry.data, bytes) and entry.data):
        below = path.relative_to(tree.folder).parts
        if not {"tensorboard", "train"} & set(below):  # curves; checkpoints of finished trainings, which are garbage
            kinds.setdefault(below[2] if len(below) > 2 else below[-1], []).append(path)
    rng, found = random.Random(20261126), Counter[tuple[str, str]]()
    for number in range(count):
        kind = sorted(kinds)[number % len(kinds)]
        path = rng.choice(kinds[kind])
        name = str(path.relative_to(tree.folder))
        flip(path, rng)
        verified = call("verify", str(config))
        assert verified.code == 1, f"{name}: {verified.out}"
        assert any(name in line for line in verified.errors), f"{name}: {verified.err}"
        for verb, said in answers(config, out / f"{number}").items():
            refused = isinstance(said, str) and name in said
            assert refused or said == expected[verb], f"{name}: {verb} says {str(said)[:300]}"
            found[kind, f"{verb}: {'refused' if refused else 'equal'}"] += 1
        tree.restore()
    return found


def test_a_flipped_bit_is_named_and_changes_no_number(sound, tmp_path):
    """Breaks when a flipped bit flows into metrics or an export, ends a command without its name, or passes verify."""
    assert outcomes(sound, tmp_path, 24)


@pytest.mark.long
@pytest.mark.soak
def test_a_thousand_flipped_bits(sound, tmp_path):
    """Breaks as the test above does, for a bit that twenty-four did not meet."""
    found = outcomes(sound, tmp_path, 1000)
    assert sum(found.values()) >= 1000
    for (kind, what), times in sorted(found.items()):
        print(f"{kind:24} {what:20} {times:5}")
