"""Reader `demo`: composes the demo data set on first use, then reads it as any folder data set."""

import os
import shutil
import tempfile
from dataclasses import dataclass

from pipeline.params import option
from stages.ingest import folder
from stages.ingest.demo import BOXES_FILE, compose
from stages.ingest.scan import Scan


@dataclass(frozen=True)
class DemoParams(folder.FolderParams):
    """Parameters of reader `demo`."""

    train: int = option(3700, "training images, dev included")
    test: int = option(1000, "test images")
    seed: int = option(0, "seed of the composition")


def scan(params: DemoParams) -> Scan:
    """Compose the data set below `root` unless it is there, then list it. Raises UsageError as `folder.scan` does."""
    if not os.path.exists(os.path.join(params.root, BOXES_FILE)):
        _compose(params)
    return folder.scan(params)


def _compose(params: DemoParams) -> None:
    """All or nothing, also when two runs compose at once."""
    parent = os.path.dirname(os.path.abspath(params.root))
    os.makedirs(parent, exist_ok=True)
    staged = tempfile.mkdtemp(dir=parent, prefix=".compose-")
    try:
        compose(staged, train=params.train, test=params.test, seed=params.seed)
        os.chmod(staged, 0o755)  # mkdtemp makes it private
        os.rename(staged, params.root)
    except OSError:
        if not os.path.exists(os.path.join(params.root, BOXES_FILE)):
            raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)
