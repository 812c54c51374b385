"""How a config's network is shown images: the preprocessing of its weights, and the side of its input."""

from stages.classify.options import ClassifyParams
from stages.vision.backbones.published import Published, card_beside, published
from stages.vision.backbones.registry import backbone
from stages.vision.backbones.weight_names import is_file

__all__ = ["shown", "weights_card"]


def weights_card(params: ClassifyParams) -> str | None:
    """The JSON file with the preprocessing of a weights file: as named, or the one beside it; None without one."""
    if params.weights_card is not None or not is_file(params.weights):
        return params.weights_card
    return card_beside(params.weights)


def shown(params: ClassifyParams) -> Published:
    """The preprocessing, and the size where neither the config nor the table of backbones has one.

    Raises: ValueError for unknown weights or an unusable card, ModuleNotFoundError without timm.
    """
    found = published(params.weights, params.network, weights_card(params), found=params.weights_card is None)
    open_size = params.input_size is None and backbone(params.network).input_size is None
    return found if open_size else found._replace(input_size=None)
