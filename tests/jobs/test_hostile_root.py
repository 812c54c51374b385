"""Someone else's run root: whatever its objects say, no command crashes, hangs, or reaches outside of it."""

import re
import shutil
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipeline.store.sealed import seal, unseal
from tests.jobs.guarded import Tree, call, finish
from tests.jobs.hostile import changes

_VERBS = (
    ("status",),
    ("plan",),
    ("metrics",),
    ("report",),
    ("export", "--out"),
    ("verify",),
    ("verify", "--repair", "--yes"),
    ("verify", "--repair", "--yes", "--all"),
    ("gc", "--yes", "--older-than", "0"),
    ("gc", "--yes", "--older-than", "0", "--recipes"),
    ("retry-quarantine", "--yes"),
    ("run", "--in-process"),
)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]")


@pytest.fixture(scope="module")
def place(finished_run, tmp_path_factory):
    """A folder with config.yaml, data, a finished run, a canary, and a folder that exports go to."""
    folder = tmp_path_factory.mktemp("hostile")
    finish(folder, finished_run)
    (folder / "canary" / "parts").mkdir(parents=True)
    (folder / "canary" / "kept.txt").write_text("kept")
    (folder / "canary" / "parts" / "x.parquet").write_text("kept")
    (folder / "outside").mkdir()
    (folder / "out").mkdir()
    return folder


def check(place, change, verb, by_config):
    """Change the root, call a command on it, and look at what it said and did."""
    outside, root = place / "outside", place / "run"
    change(root)
    before = Tree(place)
    target = place / "config.yaml" if by_config else root
    options = [*verb[1:], str(place / "out")] if verb[-1] == "--out" else verb[1:]
    ended = call(verb[0], str(target), *options)
    where = f"{' '.join(verb)}: {ended}"
    assert ended.code in (0, 1, 2, 3), where
    assert "Traceback" not in ended.out + ended.err, where
    found = _CONTROL.search(ended.out + ended.err)
    assert found is None, f"{found}: {where}"
    errors = [line for line in ended.errors if not line.startswith("weakbox: warning:")]
    assert len(errors) <= 1 or verb[0] == "verify", where
    assert ended.code == 0 or errors, where
    allowed = (f"{root}/", f"{place / 'out'}/")
    touched = [path for path in before.changes() if not path.startswith(allowed)]
    assert touched == [], where
    if ended.code == 1 and "weakbox verify --repair" in ended.err:
        assert call("verify", str(target)).code == 1, f"verify sees nothing of it: {where}"
    if ended.code == 0 and "--repair" in verb:
        again = call("verify", str(target))
        assert again.code == 0, f"{again}: {where}"
    for path in outside.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def hostile(place, count, **more):
    """Try so many changes."""
    tree, offered = Tree(place), changes(place / "run", place / "outside")

    @settings(max_examples=count, suppress_health_check=list(HealthCheck), **more)
    @given(change=offered, verb=st.sampled_from(_VERBS), by_config=st.booleans())
    def try_each(change, verb, by_config):
        try:
            check(place, change, verb, by_config)
        finally:
            tree.restore()

    try_each()


def test_a_hostile_root_is_refused_or_read(place):
    """Breaks when some change of an object, or a link, crashes a command, hangs it, or lets it out of the root."""
    hostile(place, 150, derandomize=True, phases=(Phase.explicit, Phase.generate))


def test_a_collector_of_garbage_leaves_links_alone(place):
    """Breaks when gc deletes the parts of a folder outside that a recipe's, or a stage's, folder links to."""
    tree = Tree(place)
    for name in ("cam/0123456789abcdef", "other/0123456789abcdef", "foreign"):
        link = place / "run" / name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(place / "canary")
    ended = call("gc", str(place / "run"), "--yes", "--older-than", "0", "--recipes")
    assert ended.code == 0, ended.err
    assert sum("is left alone" in line for line in ended.errors) == 2
    assert (place / "canary" / "parts" / "x.parquet").read_text() == "kept"
    tree.restore()


def test_a_stranger_s_words_are_shown_and_not_obeyed(place):
    """Breaks when text of a run root moves a terminal's cursor, colours it, adds a line, or is taken for markup."""
    tree, words = Tree(place), "\x1b[2J[bold]x[/red]\nweakbox: all is well"
    record = max((place / "run" / "_runs").iterdir())
    record.write_bytes(seal({**unseal(record.read_bytes()), "state": "failed", "error": words}))
    times = {"cam": {"started": words, "seconds": 1.0, "shards": 1}}
    (place / "run" / "timeline.json").write_bytes(seal(times))
    ended = call("status", str(place / "run"))
    assert ended.code == 0, ended.err
    assert ended.out.count(r"\x1b[2J[bold]x[/red]\nweakbox: all is well") == 2
    assert "\x1b" not in ended.out
    tree.restore()


def test_a_manifest_that_lies_is_found_by_one_repair(place):
    """Breaks when a manifest with a checksum that fits, but that says otherwise than the set, outlives a repair."""
    tree = Tree(place)
    path = sorted((place / "run" / "cam").rglob("done/*.json"))[0]
    said: Any = unseal(path.read_bytes())
    said["tables"]["score_maps"]["sha256"] = "0" * 64
    path.write_bytes(seal(said))
    assert call("verify", str(place / "run"), "--repair", "--yes").code == 0
    assert call("verify", str(place / "run")).code == 0
    assert call("run", str(place / "config.yaml"), "--in-process").code == 0
    assert call("verify", str(place / "run")).code == 0
    tree.restore()


def test_a_root_may_itself_be_a_link(place):
    """Breaks when a run root on another disk, reached by a link, is taken for someone's trap."""
    tree = Tree(place)
    (place / "run").rename(place / "moved")
    (place / "run").symlink_to("moved")
    for verb in ("status", "metrics", "verify"):
        ended = call(verb, str(place / "run"))
        assert ended.code == 0, ended.err
    tree.restore()


@pytest.mark.long
@pytest.mark.soak
def test_ten_thousand_hostile_roots(place):
    """Breaks as the test above does, for a change that a hundred and fifty did not meet."""
    hostile(place, 10_000, database=None)
