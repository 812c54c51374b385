import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.store.files import Files
from pipeline.store.paths import UnsafePathError, check_below, check_links, check_name, check_plain

GOOD = st.text("abz019._-~ é", min_size=1, max_size=12).filter(lambda part: part not in (".", ".."))
BAD = st.sampled_from(("", ".", "..", "a\0", "a\n", "\x1b[1m", "\x7f", "..\\x", "a" * 256, "é" * 128, "\ud800"))


@given(st.lists(GOOD, min_size=1, max_size=5))
def test_plain_paths_are_taken(parts):
    """Breaks when a name that data sets and exports have is refused."""
    check_below("/".join(parts))
    check_name(parts[0])


@given(st.lists(GOOD, max_size=3), BAD, st.lists(GOOD, max_size=3))
def test_one_bad_part_is_enough(before, bad, after):
    """Breaks when a path is joined to a root though a part of it leads up, elsewhere, or is no name on a disk."""
    path = "/".join([*before, bad, *after])
    if path:  # the root itself
        with pytest.raises(UnsafePathError):
            check_below(path)
    with pytest.raises(UnsafePathError):
        check_name(bad)


@pytest.mark.parametrize("path", ["/", "/etc/passwd", "//x", "a//b", "a/", "../x", "a/../../x", "./a", "a/."])
def test_absolute_and_crooked_paths_are_refused(path):
    """Breaks when a path that os.path.join would take elsewhere passes."""
    with pytest.raises(UnsafePathError):
        check_below(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30))
def test_whatever_passes_stays_below_its_root(tmp_path, path):
    """Breaks when some text passes for a path and leads out all the same."""
    try:
        check_below(path)
    except UnsafePathError:
        return
    root = str(tmp_path)
    assert os.path.normpath(os.path.join(root, path)) == (f"{root}/{path}" if path else root)


@pytest.mark.parametrize("name", ["a/b", "/", "a/"])
def test_a_name_is_one_part(name):
    """Breaks when a stage, a recipe or a key may be a path."""
    with pytest.raises(UnsafePathError):
        check_name(name)


@pytest.fixture
def root(tmp_path):
    """A root, itself reached by a link, with links in it: out to a folder and to a file, and inside of it."""
    outside, inside = tmp_path / "outside", tmp_path / "real"
    for folder in (outside, inside / "own"):
        folder.mkdir(parents=True)
        (folder / "file").write_text("kept")
    (inside / "folder").symlink_to(outside)
    (inside / "file").symlink_to(outside / "file")
    (inside / "near").symlink_to("own")
    (inside / "dangling").symlink_to(outside / "new")
    (tmp_path / "root").symlink_to(inside)
    yield Files(str(tmp_path / "root"))
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"file": "kept"}


READS = {
    "get": lambda files, path: files.get(path),
    "get_many": lambda files, path: files.get_many([path]),
    "open": lambda files, path: files.open(path),
    "size": lambda files, path: files.size(path),
    "exists": lambda files, path: files.exists(path),
    "full": lambda files, path: files.full(path),
}
WRITES = {
    "put": lambda files, path: files.put(path, b"x"),
    "put_if_absent": lambda files, path: files.put_if_absent(path, b"x"),
    "remove": lambda files, path: files.remove(path),
    "remove_many": lambda files, path: files.remove_many([path]),
    "move": lambda files, path: files.move(path, "to"),
    "move to": lambda files, path: files.move("own/file", path),
    "holds": lambda files, path: files.holds(path),
}
FOLDERS = {
    "names": lambda files, path: files.names(path),
    "listing": lambda files, path: files.listing(path),
    "remove_folder": lambda files, path: files.remove_folder(path),
    "remove_empty_folders": lambda files, path: files.remove_empty_folders(path),
}


@pytest.mark.parametrize("name", [*READS, *WRITES, *FOLDERS])
def test_no_method_goes_through_a_link_out_of_the_root(root, name):
    """Breaks when anything is read, written, listed or deleted behind a linked folder of a run root."""
    call = {**READS, **WRITES, **FOLDERS}[name]
    with pytest.raises(UnsafePathError, match="leads out of"):
        call(root, "folder/file")
    with pytest.raises(UnsafePathError):
        call(root, "own/../../outside/file")


@pytest.mark.parametrize("name", [*READS, *FOLDERS])
@pytest.mark.parametrize("link", ["file", "folder"])
def test_a_link_out_of_the_root_is_not_read(root, name, link):
    """Breaks when a link passes for the object or the folder that it leads to."""
    with pytest.raises(UnsafePathError, match="leads out of"):
        {**READS, **FOLDERS}[name](root, link)


@pytest.mark.parametrize("link", ["file", "folder", "dangling"])
def test_a_link_at_an_objects_place_is_what_is_written_moved_and_removed(root, link):
    """Breaks when a write or a removal goes to what a link leads to, instead of the link."""
    assert root.holds(link)
    assert not root.put_if_absent(link, b"x")
    root.move(link, "damaged/link")
    assert os.path.islink(f"{root.root}/damaged/link")
    root.put(link, b"mine")
    assert root.get(link) == b"mine"
    assert not os.path.islink(f"{root.root}/{link}")
    root.remove("damaged/link")
    assert not root.holds("damaged/link")


def test_a_link_that_stays_inside_is_followed(root):
    """Breaks when a run root whose folders were moved to a larger disk below it cannot be read."""
    assert root.get("near/file") == b"kept"
    assert root.names("near") == ["file"]
    root.put("near/new", b"x")
    assert root.get("own/new") == b"x"


def test_listings_show_no_links(root):
    """Breaks when a collector of garbage sees, and deletes, what a link leads to."""
    assert [file.path for file in root.listing("")] == ["own/file"]
    root.remove_empty_folders("")
    root.remove_folder("own")
    assert root.names("") == ["dangling", "file", "folder", "near"]


@pytest.mark.parametrize(("path", "way"), [("folder/x/y", "folder"), ("own/file/x", "own/file"), ("own/x", "own/x")])
def test_what_is_in_the_way_of_an_object(root, path, way):
    """Breaks when repair moves an object behind a link instead of the link, or nothing where a file is no folder."""
    assert root.in_the_way(path) == way


def test_pipes_and_folders_are_no_objects(tmp_path):
    """Breaks when a command waits for ever for somebody to write to a pipe."""
    files = Files(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "folder", "loop"):
        for read in (files.get, files.open):
            with pytest.raises(UnsafePathError, match="is no file"):
                read(name)
    assert stat.S_ISFIFO(os.lstat(tmp_path / "pipe").st_mode)


def test_the_checks_of_links_and_files_by_themselves(tmp_path):
    """Breaks when a folder whose name only begins like the root's passes for one below it."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root2").mkdir()
    check_links(str(tmp_path / "root"), str(tmp_path / "root"))
    check_links("/", str(tmp_path))
    check_plain(str(tmp_path / "absent"))
    with pytest.raises(UnsafePathError):
        check_links(str(tmp_path / "root"), str(tmp_path / "root2" / "x"))
