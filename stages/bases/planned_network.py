"""The network that a stage will read, known from recipes before training, and a trial build without weights."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pipeline.base.errors import UsageError
from pipeline.base.json_types import Json
from pipeline.base.params import numeric
from pipeline.base.verdicts import once
from pipeline.contract.stage import AnyStage
from pipeline.store.records import Upstream
from stages.vision.backbones.registry import backbone, backbone_name

if TYPE_CHECKING:
    from stages.vision.backbones.networks import LocalizerNetwork

__all__ = ["PlannedNetwork", "planned_network", "try_network"]

_PACKAGES = ("torch", "torchvision", "timm")


class PlannedNetwork(NamedTuple):
    """A network of the table of backbones.

    input_size: side of its input, pixels; None: the backbone's own. is_plain: whether it is an ordinary classifier for
    certain; False where a localizer trains it, which may give it more parts.
    """

    backbone: str
    input_size: int | None
    is_plain: bool


def planned_network(model: Upstream) -> PlannedNetwork | None:
    """The network of a model stage: its own backbone, or that of the model it starts from; None where unknown."""
    name, size = (model.recipe.params.get(key) for key in ("backbone", "input_size"))
    said = model.recipe.extra.get("input_size")
    own_size = next((each for each in (size, said) if isinstance(each, int)), None)
    if isinstance(name, str):
        named = _named(name, model.recipe.params.get("output_stride"))
        return None if named is None else PlannedNetwork(named, own_size, is_plain=True)
    for start in model.inputs.get("model", ()):
        if found := planned_network(start):
            return PlannedNetwork(found.backbone, own_size or found.input_size, is_plain=False)
    return None


def _named(name: str, output_stride: Json) -> str | None:
    """The backbone that a stage's parameters name; None for one that is unknown here."""
    try:
        return backbone_name(name, output_stride if isinstance(output_stride, int) else None)
    except ValueError:
        return None


def try_network(
    stage: AnyStage,
    planned: PlannedNetwork,
    demand: Callable[["LocalizerNetwork"], None],
    num_classes: int = 2,
    also: Json = None,
) -> None:
    """Build a network on torch's meta device, pass an image through it, and let the stage accept or refuse it.

    planned: with the input size that the stage gives it. demand: takes the network, on torch's meta device and in eval
    mode, and raises ValueError if it does not fit. also: what the answer depends on besides the stage's parameters and
    ingredients. A network that was accepted is not tried again (`pipeline.base.verdicts`). If a library that the
    network needs is missing, nothing is checked: `Stage.check_packages` reports it.

    Raises: UsageError for an unknown network, a size that it does not take, and what `demand` refuses.
    """

    def ask() -> None:
        from stages.vision.backbones.meta import meta_network  # brings torch along

        demand(meta_network(planned.backbone, num_classes, planned.input_size))

    question: list[Json] = [
        stage.kind,
        stage.version,
        numeric(stage.params),
        dict(stage.ingredients()),
        [*planned, backbone(planned.backbone).version],
        num_classes,
        also,
    ]
    try:
        once(question, _PACKAGES, ask)
    except ModuleNotFoundError:
        return
    except ValueError as error:
        raise UsageError(f"stage {stage.name}: {error}") from error
