"""What was completed of the recipes that a config asks for, rather than what ran last on its run root."""

from collections.abc import Mapping

from pipeline.base.hashing import set_id
from pipeline.contract.stage import AnyStage
from pipeline.planning.plan import make_plan
from pipeline.planning.walk import check_inputs
from pipeline.store.records import CompleteSet
from pipeline.store.store import Store


class AskedSets:
    """The complete sets of the stages of one config. The data set is not looked at: its newest listing counts."""

    def __init__(self, stages: Mapping[str, AnyStage], store: Store) -> None:
        self._stages, self._store = stages, store
        self._recipes = check_inputs(stages)

    def of(self, name: str) -> CompleteSet | None:
        """The stage's newest set if that is of the recipe asked for, else the planned one; None where it was not run.

        Raises: DamagedError.
        """
        recipe, newest = self._recipes[name].id, self._store.newest(name)
        if newest is not None and newest[0] == recipe:
            return self._store.complete_set(name, *newest)
        planned = make_plan(self._stages, self._store, "never")[name]
        if not planned.known:
            return None
        return self._store.complete_set(name, recipe, set_id(planned.keys))
