"""The trained part of SD-CAM: two heads over the summaries of a frozen transformer (Pan et al., AAAI 2023)."""

import torch
from torch import nn

from stages.sdcam.teacher_student import TeacherStudentNetwork

__all__ = ["Heads"]


class Heads(nn.Module):
    """Teacher and student of a network, without its transformer: only they are trained and in checkpoints."""

    def __init__(self, network: TeacherStudentNetwork) -> None:
        super().__init__()
        self.teacher = network.teacher
        self.student = network.classifier

    def forward(self, summaries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits ``(B, C)`` of teacher and student, z_t and z_s.

        summaries: class token and mean patch token, ``(B, 2 D)``. The student reads the second: its logits are
        then the means of its maps.
        """
        return self.teacher(summaries), self.student(summaries[:, summaries.shape[1] // 2 :])
