import os
import pickle
import threading
import time
import uuid

import pytest

from pipeline.store.files import Files, retrying
from pipeline.store.paths import UnsafePathError


@pytest.fixture(params=["local", "memory"])
def files(request, tmp_path):
    return Files(str(tmp_path / "root") if request.param == "local" else f"memory://{uuid.uuid4().hex}")


def test_put_get_and_remove(files):
    """Breaks when an object does not come back as it went, or absence is no FileNotFoundError."""
    files.put("a/b/c.bin", b"\x00\x01")
    assert files.get("a/b/c.bin") == b"\x00\x01"
    assert files.exists("a/b/c.bin")
    assert files.size("a/b/c.bin") == 2
    files.put("a/b/c.bin", b"new")
    assert files.open("a/b/c.bin").read() == b"new"
    assert files.get_many(["a/b/c.bin", "a/none"]) == {"a/b/c.bin": b"new"}
    files.remove("a/b/c.bin")
    files.remove("a/b/c.bin")
    assert not files.exists("a/b/c.bin")
    with pytest.raises(FileNotFoundError):
        files.get("a/b/c.bin")


def test_put_if_absent_creates_once(files):
    """Breaks when a later attempt replaces the first one's manifest."""
    assert files.put_if_absent("done/k.json", b"first") is True
    assert files.put_if_absent("done/k.json", b"second") is False
    assert files.get("done/k.json") == b"first"


def test_put_if_absent_has_one_winner_among_threads(tmp_path):
    """Breaks when creation checks and then writes: two would win, or a reader would see a mixture."""
    files = Files(str(tmp_path))
    barrier, won = threading.Barrier(8), []

    def attempt(number: int) -> None:
        barrier.wait()
        if files.put_if_absent("done/k.json", bytes([number]) * 100_000):
            won.append(number)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert files.get("done/k.json") == bytes(won) * 100_000
    assert files.names("done") == ["k.json"]


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a/..", ".."])
def test_no_path_climbs_out_of_the_root(files, path):
    """Breaks when a stage or blob name can write beside the run root."""
    for call in (files.get, files.exists, files.remove, lambda p: files.put(p, b""), files.names):
        with pytest.raises(ValueError, match="leaves the run root"):
            call(path)


@pytest.mark.parametrize("step", ["fsync", "link", "replace"])
def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch, step):
    """Breaks when a write that fails half-way leaves an object, or a temporary file, behind."""
    files = Files(str(tmp_path))

    def fail(*args: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, step, fail)
    write = files.put_if_absent if step == "link" else files.put
    with pytest.raises(OSError, match="no space"):
        write("a/x", b"data")
    monkeypatch.undo()
    assert os.listdir(tmp_path / "a") == []
    assert files.put_if_absent("a/x", b"data")


def test_names_are_sorted_and_leave_out_what_a_killed_write_left(tmp_path):
    """Breaks when the temporary file of a write that was killed (kill -9) is taken for an object."""
    files = Files(str(tmp_path))
    for name in ("b", "a", "c/d"):
        files.put(f"x/{name}", b"1")
    (tmp_path / "x" / ".staged-k1ll3d").write_bytes(b'{"half')
    assert files.names("x") == ["a", "b", "c"]
    assert files.names("missing") == []


def test_names_on_memory():
    """Breaks when names carry the file system's own path."""
    files = Files(f"memory://{uuid.uuid4().hex}")
    files.put("x/b", b"1")
    files.put("x/a", b"1")
    assert files.names("x") == ["a", "b"]
    assert files.names("none") == []


def test_a_relative_root_stays_where_it_was(tmp_path, monkeypatch):
    """Breaks when a store that was opened with a relative path follows the current folder, here or in an actor."""
    monkeypatch.chdir(tmp_path)
    files = Files("root")
    files.put("a", b"1")
    monkeypatch.chdir("/")
    assert files.get("a") == b"1"
    assert pickle.loads(pickle.dumps(files)).get("a") == b"1"


def test_storage_errors_are_tried_again_and_hopeless_ones_are_not(monkeypatch):
    """Breaks when a timeout of a bucket, or half an answer, fails a shard, or a missing file costs half a minute."""
    exceptions = pytest.importorskip("botocore.exceptions")
    monkeypatch.setattr(time, "sleep", lambda _: None)
    calls = []

    def flaky() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise (TimeoutError("slow down"), exceptions.HTTPClientError(error="half an answer"))[len(calls) - 1]
        return "there"

    assert retrying(flaky) == "there"
    assert len(calls) == 3
    for error in (FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError, ValueError):
        calls.clear()

        def hopeless(error: type[Exception] = error) -> None:
            calls.append(1)
            raise error("no")

        with pytest.raises(error):
            retrying(hopeless)
        assert len(calls) == 1


@pytest.mark.parametrize(
    ("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750), (0o077, 0o600, 0o700)]
)
def test_who_may_read_a_run_says_the_umask(tmp_path, umask, file, folder):
    """Breaks when files of a local run root are their owner's alone, whatever the umask, or folders are not."""
    before = os.umask(umask)
    try:
        files = Files(str(tmp_path / "root"))
        files.put("a/b/put", b"x")
        files.put_if_absent("a/created", b"x")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"root": folder, "a": folder, "b": folder, "put": file, "created": file}


def test_a_large_object_is_written_from_a_file(files, tmp_path):
    """Breaks when a file is not copied whole, or what was there before stays."""
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 5000)
    files.put("a/large", b"old")
    files.put_file("a/large", str(source))
    assert files.get("a/large") == source.read_bytes()
    assert files.names("a") == ["large"]


def test_a_link_stands_where_it_was_put_and_leads_nothing_out(tmp_path):
    """Breaks when a link is followed on the way, or one that is there stays."""
    files, target = Files(str(tmp_path / "root")), tmp_path / "picture.jpg"
    target.write_bytes(b"x")
    files.put("images/a.jpg", b"old")
    files.link("images/a.jpg", str(target))
    files.link("images/a.jpg", str(target))
    assert os.readlink(tmp_path / "root" / "images" / "a.jpg") == str(target)
    (tmp_path / "root" / "out").symlink_to(tmp_path)
    with pytest.raises(UnsafePathError):
        files.link("out/b.jpg", str(target))
    assert not (tmp_path / "b.jpg").exists()
    with pytest.raises(UnsafePathError, match="this machine's disk only"):
        Files("memory://links").link("a", str(target))
