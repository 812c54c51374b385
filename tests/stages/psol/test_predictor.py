import numpy as np
import pytest
import torch

from stages.psol.augment import centre_crop
from stages.psol.predictor import BoxPredictor
from stages.psol.regressor import BoxRegressor
from stages.vision.backbones.build import build
from stages.vision.batches import to_batch
from stages.vision.boxes import xyxy_to_xywh
from stages.vision.components import mask_extent
from stages.vision.images import resize
from stages.vision.model_card import CARD, WEIGHTS, ModelCard, read_card
from stages.vision.models import to_blobs

JOINT = ModelCard("psol", "smallnet", tuple("abcdefg"), 32, 0, {"variant": "joint", "pooling": 1, "test_crop": 1.0})


def sep(input_size=224, test_crop=1.0):
    parts = {"variant": "sep", "pooling": 1, "test_crop": test_crop}
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


@pytest.mark.parametrize(
    ("crop", "fraction", "side"), [(224, 1.0, 224), (224, 0.875, 256), (299, 299 / 320, 320), (56, 0.9, 62)]
)
def test_a_painted_rectangle_is_found_where_it_was_painted(crop, fraction, side):
    """Breaks when the crop is cut elsewhere than its boxes are carried back from: off by 14 pixels of 224."""
    found = predictor(sep(crop, fraction))
    found._regressor = Measuring()
    assert found.input_size == side
    width, height = 400, 300
    for box in ([60, 50, 200, 180], [100, 90, 340, 250]):
        image = np.zeros((height, width, 3), np.uint8)
        image[box[1] : box[3], box[0] : box[2]] = 255
        (fractions,) = boxes_of(found, to_batch([resize(image, found.input_size)]))
        predicted = fractions * (width, height, width, height)
        assert np.abs(predicted - box).max() <= max(1.0, 0.6 * width / side)


def test_the_network_sees_the_centre_crop():
    """Breaks when localize shows it another input than PSOL's: squashed to 256, the central 224."""
    image = np.random.default_rng(0).integers(0, 256, (90, 130, 3), np.uint8)
    found = predictor(sep(test_crop=0.875))
    found._regressor = Measuring()
    found(to_batch([resize(image, found.input_size)]))
    torch.testing.assert_close(found._regressor.seen, to_batch([centre_crop(image)]))


def test_boxes_stay_inside_what_was_seen():
    """Breaks when x + w beyond 1 reaches out of the crop, or out of the image."""

    class Beyond(torch.nn.Module):
        def forward(self, images):
            return torch.tensor([[0.5, 0.0, 0.9, 1.0]]), None

    found = predictor(sep(test_crop=0.875))
    found._regressor = Beyond()
    np.testing.assert_allclose(boxes_of(found, torch.zeros(1, 3, 256, 256)), [[0.5, 0.0625, 0.9375, 0.9375]])


@torch.inference_mode()
def test_sep_gives_boxes_and_joint_its_classes_too():
    """Breaks when classes come from a layer that was never trained, or their order is not that of the scores."""
    images = torch.randn(3, 3, 32, 32)
    alone = predictor(sep(input_size=32))(images)
    assert alone.classes is None
    assert alone.class_scores is None
    network = build("smallnet", 7, seed=3)
    expected = network.eval()(images).softmax(dim=1).topk(5, dim=1)
    blobs = to_blobs(BoxRegressor(network, joint=True), JOINT)
    both = BoxPredictor(read_card(blobs[CARD]), blobs[WEIGHTS], "cpu")(images)
    assert both.boxes is not None
    assert both.boxes.shape == (3, 4)
    assert both.class_scores is not None
    np.testing.assert_array_equal(both.classes, expected.indices)
    np.testing.assert_allclose(both.class_scores, expected.values, rtol=1e-5)
