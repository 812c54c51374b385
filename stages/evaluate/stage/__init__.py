"""The stages of this room: `sweep` counts score maps, `calibrate` chooses thresholds, `evaluate` reports."""

from stages.evaluate.stage.calibrate import Calibrate
from stages.evaluate.stage.evaluate import Evaluate
from stages.evaluate.stage.sweep import Sweep

__all__ = ["Calibrate", "Evaluate", "Sweep"]
