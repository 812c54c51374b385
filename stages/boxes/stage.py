"""Stage `boxes`: score maps -> pseudo boxes and masks. No forward pass, so a new rule costs seconds."""

from pipeline.base.errors import UsageError
from pipeline.contract.context import Context
from pipeline.contract.stage import Stage, Worker, one_to_one
from pipeline.store.records import Inputs, Shard, Upstream
from stages.bases.box_rule_options import rule_mismatch
from stages.boxes.options import BoxesParams


class Boxes(Stage[BoxesParams]):
    """Pseudo labels from score maps."""

    kind = "boxes"
    version = 2
    Params = BoxesParams
    outputs = ("pseudo_labels",)
    per_image = True

    def check(self) -> None:
        """Refuse none or both of threshold and thresholds, and a chosen threshold with another kind or frame."""
        super().check()
        if (self.params.threshold is None) == (self.params.thresholds is None):
            raise UsageError(f"stage {self.name}: give either threshold (a number) or thresholds (a stage)")
        if self.params.thresholds is not None and (self.params.kind, self.params.frame) != ("relative", "image"):
            raise UsageError(f"stage {self.name}: thresholds are chosen for kind relative and frame image")

    def check_inputs(self, inputs: Inputs) -> None:
        """Refuse a threshold that was chosen for another box rule, or for other maps."""
        (maps,) = inputs["maps"]
        for chosen in inputs["thresholds"]:
            for counted in chosen.inputs.get("counts", ()):
                self._check_counted(chosen, counted, maps)

    def plan(self, recipe: str, inputs: Inputs) -> list[Shard]:
        """One shard for each shard of score maps."""
        return one_to_one(recipe, inputs["maps"][0], "maps", extra={"thresholds": inputs["thresholds"]})

    def worker(self, context: Context) -> Worker:
        """Needs no set-up."""
        from stages.boxes.worker import BoxesWorker

        return BoxesWorker(self.name, self.params, context)

    def _check_counted(self, chosen: Upstream, counted: Upstream, maps: Upstream) -> None:
        said = f"stage {self.name}: {chosen.name} chose its threshold for what {counted.name} counted"
        if wrong := rule_mismatch(self.params, counted.recipe):
            raise UsageError(f"{said}: {wrong}; give both stages the same box rule")
        on = counted.recipe.inputs.get("maps")
        if on is not None and (maps.name, maps.recipe.id) not in map(tuple, on):
            raise UsageError(f"{said}: maps of {', '.join(name for name, _ in on)}, not of {maps.name}")
