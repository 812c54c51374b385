"""What a config may say of stage `ncut`."""

from dataclasses import dataclass

from pipeline.base.params import option, reads
from stages.ncut.parameters import Component, CutParameters, GraphKind
from stages.vision.backbones.tap_names import TapNames
from stages.vision.precision import InferencePrecision

__all__ = ["NcutParams"]

_KEYS = "keys"


@dataclass(frozen=True)
class NcutParams:
    """Parameters of `ncut`."""

    images: str = reads("images", "ingest", "the images")
    model: str = reads("model", "classify", "the network whose features are the tokens; its classes play no part")
    tap: str | None = option(
        None, "layer whose output is cut; null: a transformer's keys in its last block, else the backbone's default"
    )
    tau: float = option(0.2, "tokens whose cosine exceeds it are joined (TokenCut: 0.2; on CUB 0.05)")
    epsilon: float = option(1e-5, "weight of the pairs that are not joined")
    graph: GraphKind = option("binary", "binary: joined tokens have weight 1; soft: their cosine")
    component: Component = option(
        "all",
        "all: the whole foreground is positive; seed: only the 4-connected component of the seed, TokenCut's mask",
    )
    input_size: int | None = option(
        None, "side of the network input, pixels; null: as the network was trained", at_least=1
    )
    precision: InferencePrecision = option("float32", "of the features: float32, bfloat16 or float16 (autocast)")
    batch_size: int = option(32, "images in one forward pass; on a CPU at most 8", resource=True, at_least=1)
    decode_ahead: int = option(0, "threads that decode the next batch meanwhile", resource=True)

    def cut_parameters(self) -> CutParameters:
        """Settings of the graph. Raises: ValueError, see `CutParameters`."""
        return CutParameters(self.tau, self.epsilon, self.graph)

    def tap_of(self, names: TapNames) -> str:
        """The name of the layer whose output is cut; the network may lack it."""
        return self.tap or (_KEYS if _KEYS in names.others else names.default)
