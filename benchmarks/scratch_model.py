"""A classifier with scratch weights whose maps have contrast, like a trained one's.

Fresh weights alone are no use here: a deep network whose batch normalisation has seen no image lets every activation
fade, its maps are constant, and boxes and masks cost nothing. One batch of images sets the statistics right.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from stages.vision.backbones.build import build
from stages.vision.batches import to_batch
from stages.vision.model_card import ModelCard
from stages.vision.models import to_blobs
from stages.vision.preprocessing import IMAGENET


def scratch_model(backbone: str, classes: Sequence[str], images: Sequence[np.ndarray]) -> dict[str, bytes]:
    """The files of the model, as `classify` would commit them; images: (S, S, 3) uint8 for the statistics."""
    network = build(backbone, len(classes)).to(memory_format=torch.channels_last)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the statistics are those of the batch, not a moving average
    network.train()
    with torch.no_grad():
        network(to_batch(images, IMAGENET))
    return to_blobs(network, ModelCard("classify", backbone, tuple(classes), images[0].shape[0], 0))
