"""Temporary changes of this process's environment variables."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence


@contextlib.contextmanager
def variables(assigned: Mapping[str, str], without: Sequence[str] = ()) -> Iterator[None]:
    """Inside, the environment of this process has these variables too, and none of the names in `without`."""
    before = {name: os.environ.get(name) for name in (*assigned, *without)}
    os.environ.update(assigned)
    for name in without:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
