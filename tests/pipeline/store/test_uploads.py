import hashlib
import tempfile
import uuid

import pytest

from pipeline.base.errors import UsageError
from pipeline.store import layout, uploads
from pipeline.store.files import Files

NAME = f"{hashlib.sha256(b'net').hexdigest()}-a.pth"


@pytest.fixture(params=["local", "memory"])
def files(request, tmp_path, monkeypatch):
    """A run root; a folder for temporary files that is this test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return Files(str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def place(files, tmp_path):
    (tmp_path / "a.pth").write_bytes(b"net")
    return uploads.put(files, str(tmp_path / "a.pth"))


def read(place):
    with open(uploads.fetched(place), "rb") as file:
        return file.read()


def test_what_was_put_is_fetched_once(files, place):
    """Breaks when a node asks the storage again for what it has, or the place does not say the content."""
    assert place == f"{files.root}/uploads/{NAME}"
    assert layout.upload_sha256(place) == hashlib.sha256(b"net").hexdigest()
    assert read(place) == b"net"
    if "://" in place:
        files.remove(f"uploads/{NAME}")
    assert read(place) == b"net"


def test_another_content_is_refused(files, place):
    """Breaks when a file that was replaced in the run root is taken for the one that was submitted."""
    files.put(f"uploads/{NAME}", b"another")
    with pytest.raises(UsageError, match="is not the file that was submitted"):
        uploads.fetched(place)


def test_a_damaged_copy_of_this_machine_is_fetched_again(files, place):
    """Breaks when a node trusts what lies in its folder for temporary files."""
    path = uploads.fetched(place)
    if "://" in place:
        with open(path, "wb") as file:
            file.write(b"an")
    assert read(place) == b"net"


@pytest.mark.parametrize(
    "place", ["net.pth", "/a/uploads/net.pth", f"/a/{NAME}", f"/uploads/{NAME}/x.pth", "s3://b/net.pth"]
)
def test_any_other_place_is_left_as_it_is(place):
    """Breaks when a file that was never submitted is looked for elsewhere."""
    assert layout.upload_sha256(place) is None
    assert uploads.fetched(place) == place
