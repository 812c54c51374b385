"""Reader `demo`: composes the demo data set on first use, then reads it as any folder data set."""

import os
import shutil
import uuid
from dataclasses import dataclass

from pipeline.base.params import option
from stages.ingest.reader import Reader
from stages.ingest.readers.folder import BOXES, FolderParams, scan_folder
from stages.ingest.scan import Scan

__all__ = ["DemoParams", "DemoReader"]


@dataclass(frozen=True)
class DemoParams(FolderParams):
    """Parameters of reader `demo`."""

    train: int = option(3700, "training images, dev included")
    test: int = option(1000, "test images")
    seed: int = option(0, "seed of the composition")


class DemoReader(Reader[DemoParams]):
    """The demo data set, composed on first use; then read as an ordinary folder."""

    name = "demo"
    Params = DemoParams

    def scan(self) -> Scan:
        """List it. Raises UsageError as `FolderReader.scan` does."""
        return scan_folder(self.params)

    def is_absent(self) -> bool:
        """Whether it was never composed."""
        return not _is_composed(self.params)

    def provide(self) -> None:
        """Compose it, all or nothing, even if two runs do so at once."""
        from stages.ingest.demo import compose  # imports OpenCV and scikit-learn

        params = self.params
        parent = os.path.dirname(os.path.abspath(params.root))
        os.makedirs(parent, exist_ok=True)
        staged = os.path.join(parent, f".compose-{uuid.uuid4().hex}")
        os.mkdir(staged)
        try:
            compose(staged, train=params.train, test=params.test, seed=params.seed)
            os.rename(staged, params.root)
        except OSError:
            if not _is_composed(params):
                raise
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def _is_composed(params: DemoParams) -> bool:
    return os.path.exists(os.path.join(params.root, BOXES))
