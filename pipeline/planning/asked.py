"""The complete sets of the recipes that a config asks for, rather than of what ran last on its run root."""

from collections.abc import Mapping
from functools import cached_property

from pipeline.base.hashing import set_id
from pipeline.contract.stage import AnyStage
from pipeline.planning.plan import PlannedStage, make_plan
from pipeline.planning.walk import check_inputs
from pipeline.store.records import CompleteSet
from pipeline.store.store import Store


class AskedSets:
    """The complete sets of the stages of one config. The data set is not listed: its newest listing counts."""

    def __init__(self, stages: Mapping[str, AnyStage], store: Store) -> None:
        self._stages, self._store = stages, store
        self._recipes = check_inputs(stages)

    def of(self, name: str) -> CompleteSet | None:
        """The stage's set by the config's recipe and the newest listing; None where that was not run.

        Raises: DamagedError.
        """
        planned = self._planned[name]
        if not planned.known:
            return self.older(name)
        return self._store.complete_set(name, planned.recipe.id, set_id(planned.keys))

    def older(self, name: str) -> CompleteSet | None:
        """The stage's newest set if it is of the config's recipe, whatever was listed since. Raises DamagedError."""
        newest = self._store.newest(name)
        if newest is None or newest[0] != self._recipes[name].id:
            return None
        return self._store.complete_set(name, *newest)

    @cached_property
    def _planned(self) -> Mapping[str, PlannedStage]:
        return make_plan(self._stages, self._store, "never")
