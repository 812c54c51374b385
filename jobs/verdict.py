"""The verdict of a run's quality stages, and what follows from it."""

from typing import TYPE_CHECKING

from jobs.target import Target
from pipeline.base.errors import WeakboxError
from pipeline.planning.asked import AskedSets

if TYPE_CHECKING:
    from stages.scoring.verdict import Overall

__all__ = ["NotUsable", "check_strict", "verdict_of"]

_TABLE = "verdicts"


class NotUsable(WeakboxError):
    """The labels of a run carry no information, and the user asked to be told so by the exit code."""

    exit_code = 1


def verdict_of(target: Target) -> "Overall | None":
    """The level of a run's labels (good, look, bad) and the reason in words; None without a stage that judges them."""
    from stages.scoring.verdict import Verdict, overall

    asked, verdicts = AskedSets(target.stages, target.store), []
    for name, stage in target.stages.items():
        complete = (asked.of(name) or asked.older(name)) if _TABLE in stage.outputs else None
        for done in complete.dones.values() if complete else ():
            verdicts += [Verdict(**row) for row in target.store.table(done, _TABLE).to_pylist()]
    return overall(verdicts) if verdicts else None


def check_strict(target: Target) -> None:
    """Refuse labels that carry no information. Raises NotUsable."""
    verdict = verdict_of(target)
    if verdict is not None and verdict.level == "bad":
        raise NotUsable(verdict.said)
