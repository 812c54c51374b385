import numpy as np
import torch

from stages.psol.predictor import BoxPredictor
from stages.psol.regressor import BoxRegressor
from stages.vision.backbones.build import build
from stages.vision.batches import to_batch
from stages.vision.boxes import xyxy_to_xywh
from stages.vision.components import mask_extent
from stages.vision.images import resize
from stages.vision.model_card import CARD, WEIGHTS, ModelCard, Said, read_card
from stages.vision.models import to_blobs
from stages.vision.preprocessing import IMAGENET

JOINT = ModelCard("psol", "smallnet", tuple("abcdefg"), 32, 0, {"variant": "joint", "pooling": 1})


def sep(input_size=224):
    parts: dict[str, Said] = {"variant": "sep", "pooling": 1}
    return ModelCard("psol", "smallnet", (), input_size, 0, parts)


def predictor(card):
    blobs = to_blobs(BoxRegressor(build("smallnet", card.num_classes)), card)
    return BoxPredictor(read_card(blobs[CARD]), blobs[WEIGHTS], "cpu")


def boxes_of(predictor, images):
    boxes = predictor(images).boxes
    assert boxes is not None
    return boxes


class Measuring(torch.nn.Module):
    """In place of a network: the extent of what is bright, as fractions of what it was shown."""

    def __init__(self):
        super().__init__()
        self.seen = None

    def forward(self, images):
        self.seen = images
        bright = (images[:, 0] > 0).numpy()
        extents = np.stack([mask_extent(np.ascontiguousarray(mask)) for mask in bright])
        return torch.from_numpy(xyxy_to_xywh(extents) / images.shape[-1]), None


def test_a_painted_rectangle_is_found_where_it_was_painted():
    """Breaks when boxes are not fractions of what the network was shown."""
    found = predictor(sep())
    found._regressor = Measuring()
    image = np.zeros((300, 400, 3), np.uint8)
    image[50:180, 60:200] = 255
    (fractions,) = boxes_of(found, to_batch([resize(image, 224)], IMAGENET))
    assert np.abs(fractions * (400, 300, 400, 300) - (60, 50, 200, 180)).max() <= 1.1


def test_boxes_stay_inside_what_was_seen():
    """Breaks when x + w beyond 1 reaches out of what the network was shown."""

    class Beyond(torch.nn.Module):
        def forward(self, images):
            return torch.tensor([[0.5, 0.0, 0.9, 1.0]]), None

    found = predictor(sep())
    found._regressor = Beyond()
    np.testing.assert_allclose(boxes_of(found, torch.zeros(1, 3, 224, 224)), [[0.5, 0.0, 1.0, 1.0]])


@torch.inference_mode()
def test_sep_gives_boxes_and_joint_its_classes_too():
    """Breaks when classes come from a layer that was never trained, or their order is not that of the scores."""
    images = torch.randn(3, 3, 32, 32)
    alone = predictor(sep(input_size=32))(images)
    assert alone.logits is None
    network = build("smallnet", 7, seed=3)
    expected = network.eval()(images)
    blobs = to_blobs(BoxRegressor(network, joint=True), JOINT)
    both = BoxPredictor(read_card(blobs[CARD]), blobs[WEIGHTS], "cpu")(images)
    assert both.boxes is not None
    assert both.boxes.shape == (3, 4)
    torch.testing.assert_close(both.logits, expected)
