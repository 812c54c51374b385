"""Stage `duplicates`: the content hashes of all images -> groups of equal pictures, and what becomes of them."""

import logging
from collections.abc import Mapping

from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker, whole
from pipeline.store.records import Done, Inputs, Shard
from pipeline.store.store import Store
from stages.bases.duplicate_groups import said_of_groups
from stages.duplicates.options import DuplicatesParams

_LOG = logging.getLogger("weakbox.ingest")


class Duplicates(Stage[DuplicatesParams]):
    """Finds equal pictures over all shards of a data set, in several splits or under several classes.

    Every data set has this stage. It only reports the groups; where `dataset: duplicates` asks for it, stage
    `deduplicate` then changes the images that other stages read.
    """

    kind = "duplicates"
    version = 1
    Params = DuplicatesParams
    outputs = ("duplicates",)
    by_content = True

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard, which reads everything."""
        return whole(recipe, inputs)

    def worker(self, context: Context) -> Worker:
        """Needs no set-up."""
        from stages.duplicates.worker import DuplicatesWorker

        return DuplicatesWorker(self.params, context)

    def tell(self, store: Store, done: Mapping[str, Done]) -> None:
        """Log how many groups there are, which span splits or classes, and what becomes of them."""
        for found in done.values():
            for line in said_of_groups(store.table(found, "duplicates"), self.params.policy):
                _LOG.info("%s: %s", self.params.images, line)
