import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import UsageError
from pipeline.store.files import Files
from stages.ingest.listing import list_files, walk_files

NAMES = st.text(st.sampled_from("ab-.0Z_é +"), min_size=1, max_size=3).filter(lambda name: name[0] != ".")
PATHS = st.sets(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=12)


def no_file_is_a_folder(paths) -> bool:
    return not any(other.startswith(f"{path}/") for path in paths for other in paths)


@given(PATHS.filter(no_file_is_a_folder))
def test_files_come_sorted_by_path_one_after_another(tmp_path_factory, paths):
    """Breaks when `a-b` comes after `a/b`: then a million paths have to be held and sorted."""
    root = tmp_path_factory.mktemp("root")
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    walked = list(walk_files(str(root)))
    assert [file.path for file in walked] == sorted(paths)
    assert walked == list_files(str(root))


def test_a_remote_root_is_walked_the_same():
    """Breaks when files in a bucket come in another order than those on a disk."""
    files = Files("memory://walked")
    for path in ("a/b.jpg", "a-b.jpg", "b/.hidden", "a/a/c.jpg"):
        files.put(path, b"x")
    assert [file.path for file in walk_files("memory://walked")] == ["a-b.jpg", "a/a/c.jpg", "a/b.jpg"]


def test_what_is_no_file_is_listed_with_its_trouble(tmp_path):
    """Breaks when a pipe, a link to nothing or a folder in itself ends the listing, is left out, or is opened."""
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "pipe")
    (tmp_path / "a" / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "a" / "loop").symlink_to("..")
    (tmp_path / "a" / "new\nline.jpg").write_bytes(b"x")
    (tmp_path / "a" / "good.jpg").write_bytes(b"xyz")
    with open(os.fsencode(tmp_path / "a") + b"/\xe9.jpg", "wb"):
        pass
    found = {file.path: file.trouble for file in list_files(str(tmp_path))}
    assert found == {
        "a/pipe": "a pipe, no file",
        "a/gone.jpg": "a link to nothing",
        "a/loop": "a link to a folder that holds it",
        "a/new\nline.jpg": "its name has a character that no name may have: rename it",
        "a/\\xe9.jpg": "its name is no UTF-8: rename it",
        "a/good.jpg": None,
    }


def test_a_missing_root_is_refused_before_the_first_file(tmp_path):
    """Breaks when the error comes only where the files are used."""
    with pytest.raises(UsageError, match="none: No such file"):
        walk_files(str(tmp_path / "none"))
