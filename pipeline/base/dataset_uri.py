"""How tables name the files of a data set, wherever it is: `dataset://<stage>/<path below the stage's root>`."""

_SCHEME = "dataset://"


def dataset_uri(stage: str, uri: str) -> str:
    """A path below the root of the data set that a stage lists; a URI or an absolute path stays what it is.

    The empty path is the root itself, where that is a file.
    """
    return uri if "://" in uri or uri.startswith("/") else f"{_SCHEME}{stage}/{uri}"


def split_dataset_uri(uri: str) -> tuple[str, str] | None:
    """The stage and the path; None for any other URI or path."""
    if not uri.startswith(_SCHEME):
        return None
    stage, _, path = uri.removeprefix(_SCHEME).partition("/")
    return stage, path
