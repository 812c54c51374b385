"""Settings of TokenCut's graph and cut."""

from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["Component", "CutParameters", "GraphKind"]

GraphKind = Literal["binary", "soft"]
Component = Literal["all", "seed"]


@dataclass(frozen=True)
class CutParameters:
    """The graph's threshold, the weight of its absent edges and its kind; the defaults are TokenCut's.

    tau: tokens whose cosine exceeds it are joined (TokenCut: 0.2, on CUB 0.05). epsilon: weight of all other pairs.
    graph: ``binary`` joins with weight 1; ``soft`` with the cosine itself, from tau on, where it exceeds epsilon.

    Raises: ValueError for tau outside [-1, 1) ([0, 1) in a soft graph), epsilon outside [1e-7, 1), or an unknown graph.
    """

    tau: float = 0.2
    epsilon: float = 1e-5
    graph: GraphKind = "binary"

    def __post_init__(self) -> None:
        if self.graph not in get_args(GraphKind):
            raise ValueError(f"graph must be one of {', '.join(get_args(GraphKind))}, got {self.graph!r}")
        least = 0 if self.graph == "soft" else -1
        if not least <= self.tau < 1:
            raise ValueError(f"tau must be in [{least}, 1) for a {self.graph} graph, got {self.tau}")
        if not 1e-7 <= self.epsilon < 1:  # eigenvalues can be of its order, and count as equal within 1e-8
            raise ValueError(f"epsilon must be in [1e-7, 1), got {self.epsilon}")
