"""Files of the machine that submits a run: kept below the run root, named by their content, and read by every node."""

import hashlib
import os
import tempfile

from fsspec.implementations.local import LocalFileSystem

from pipeline.base.errors import UsageError
from pipeline.store import layout
from pipeline.store.files import Files, open_filesystem, retrying

_LONGEST_NAME = 100


def put(files: Files, path: str) -> str:
    """Copy a file of this machine below the run root, once; returns its place there, a path or URI."""
    name = os.path.basename(path)[-_LONGEST_NAME:]
    place = layout.upload(_sha256(path), name)
    if not files.exists(place):
        with open(path, "rb") as file:
            files.put(place, file.read())
    return f"{files.root}/{place}"


def fetched(place: str) -> str:
    """A path on this machine of a file that `put` kept, with its content checked; any other place unchanged.

    A file on a remote storage is fetched once, into the folder for temporary files.

    Raises: FileNotFoundError; UsageError for changed content.
    """
    sha256 = layout.upload_sha256(place)
    if sha256 is None:
        return place
    filesystem, inside = open_filesystem(place)
    if isinstance(filesystem, LocalFileSystem):
        path = inside
    else:
        cache, name = Files(f"{tempfile.gettempdir()}/weakbox-{os.getuid()}"), os.path.basename(place)
        path = cache.full(name)
        if not os.path.exists(path) or _sha256(path) != sha256:
            cache.put(name, retrying(lambda: filesystem.cat_file(inside)))
    if _sha256(path) != sha256:
        raise UsageError(f"{place} is not the file that was submitted: remove it and submit again")
    return path


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
