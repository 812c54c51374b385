"""Someone else's run root: whatever its objects say, no command crashes, hangs, or reaches outside of it."""

import re
import shutil

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

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
    hostile(place, 300, derandomize=True, phases=(Phase.explicit, Phase.generate))


@pytest.mark.long
def test_ten_thousand_hostile_roots(place):
    """Breaks as the test above does, for a change that three hundred did not meet."""
    hostile(place, 10_000, database=None)
