"""The stages of this room: each makes score maps of score maps."""

from stages.refine.stage.arm import Arm
from stages.refine.stage.scg import Scg
from stages.refine.stage.sgrm import Sgrm

__all__ = ["Arm", "Scg", "Sgrm"]
