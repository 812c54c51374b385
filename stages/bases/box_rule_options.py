"""Parameters of the box rule, for every stage that sweeps or applies it."""

from dataclasses import dataclass

from pipeline.base.json_types import Json
from pipeline.base.params import option
from pipeline.store.records import Recipe
from stages.vision.box_rule import BoxRule, Components, Frame, Interpolation, ThresholdKind

__all__ = ["BoxRuleParams", "rule_columns", "rule_mismatch"]


@dataclass(frozen=True)
class BoxRuleParams:
    """The parameters of the box rule that a threshold is chosen for."""

    components: Components = option(
        "largest",
        "largest, all or union of the 8-connected components; all gives several boxes, and the best one is scored",
    )
    min_area: float = option(0.0, "components below this fraction of the image are ignored", at_least=0, at_most=1)
    enlargement: Interpolation = option("bilinear", "bilinear or bicubic")

    def rule(self, kind: ThresholdKind = "relative", frame: Frame = "image") -> BoxRule:
        """The box rule with these parameters."""
        return BoxRule(self.components, self.min_area, self.enlargement, kind, frame)

    def columns(self) -> dict[str, Json]:
        """The rule as columns of tables."""
        return {"components": self.components, "min_area": self.min_area, "enlargement": self.enlargement}


def rule_mismatch(own: BoxRuleParams, counted: Recipe) -> str | None:
    """Say where the box rule of another stage differs from `own`; None where they agree.

    counted: the recipe of that stage; parameters that it lacks are not compared.
    """
    for name, value in own.columns().items():
        if name in counted.params and counted.params[name] != value:
            return f"{name} {counted.params[name]}, not {value}"
    return None


def rule_columns(counted: Recipe) -> dict[str, Json]:
    """The box rule of a stage's recipe as columns of tables; parameters that the recipe lacks are left out."""
    return {name: counted.params[name] for name in BoxRuleParams().columns() if name in counted.params}
