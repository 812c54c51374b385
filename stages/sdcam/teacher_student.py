"""A vision transformer with two heads: a teacher of the class token and the patches, a student of the patches alone.

Pan et al., "Coarse2Fine: Local Consistency Aware Re-prediction for WSOL" (LCAR), AAAI 2023: the heads of SD-CAM.
"""

import torch
from torch import nn

from stages.vision.backbones.build import build
from stages.vision.backbones.label_maps import label_maps
from stages.vision.backbones.networks import LocalizerNetwork
from stages.vision.backbones.vit import PatchTokens
from stages.vision.model_card import ModelCard
from stages.vision.models import ready

__all__ = ["HIDDEN", "TeacherStudentNetwork", "load", "teacher_head"]

HIDDEN = "teacher_hidden"
"""Key of the model card: the width of the teacher's hidden layer."""


class TeacherStudentNetwork(LocalizerNetwork):
    """Classes are the teacher's, maps are the student's.

    student: the network to start from. If it ends in GAP and a linear layer, that layer is the student's, so its maps
    stay the same; if it classifies by the class token, the student gets a new layer.
    hidden: width of the teacher's hidden layer; 0: it is linear. seed: of the heads' initial weights.
    Raises: ValueError for a network without a class token.
    """

    maps_itself = True
    features: PatchTokens

    def __init__(self, student: LocalizerNetwork, hidden: int, seed: int = 0) -> None:
        if not isinstance(student.features, PatchTokens):
            raise ValueError(f"{student.backbone} has no class token: a vision transformer is needed")
        width, classes = student.feature_dim, student.classifier.out_features
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__(student.features, width, classes)
            self.teacher = teacher_head(2 * width, hidden, classes)
        if student.has_cam:
            self.classifier = student.classifier
        self.to(student.classifier.weight.device)
        self.backbone, self.hidden = student.backbone, hidden

    def summary(self, images: torch.Tensor) -> torch.Tensor:
        """Class token and mean patch token, ``(B, 2 D)``, of normalised images ``(B, 3, S, S)``, from one pass.

        The teacher reads both, the student's linear layer the second half.
        """
        return self._read(images)[0]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The teacher's logits ``(B, num_classes)`` of normalised images ``(B, 3, S, S)``."""
        return self.teacher(self.summary(images))

    def class_maps(self, images: torch.Tensor, labels: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels ``(B,)`` and the student's maps of them, ``(B, h, w)`` float32.

        labels: of the images ``(B, 3, S, S)``; None: the teacher's largest logit.
        """
        summary, patches = self._read(images)
        if labels is None:
            labels = self.teacher(summary).argmax(dim=1)
        return labels, label_maps(patches, self.classifier.weight, labels)

    def _read(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Summary ``(B, 2 D)``, and patch tokens on their grid ``(B, D, h, w)``."""
        tokens = self.features.raw(images)
        patches = self.features.in_place(tokens, images)
        return torch.cat([tokens[:, 0], patches.mean(dim=(2, 3))], dim=1), patches


def teacher_head(width: int, hidden: int, num_classes: int) -> nn.Sequential:
    """The teacher: a linear layer over `width` numbers, behind a hidden layer with GELU unless `hidden` is 0."""
    if hidden == 0:
        return nn.Sequential(nn.Linear(width, num_classes))
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, num_classes))


def load(card: ModelCard, weights: bytes, device: str) -> TeacherStudentNetwork:
    """The network of an artifact, in eval mode on a device."""
    network = TeacherStudentNetwork(build(card.backbone, card.num_classes), int(card.number(HIDDEN)))
    return ready(network, weights, device)
