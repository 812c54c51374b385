"""The losses of SD-CAM (Pan et al., AAAI 2023, equations 4 and 6)."""

import torch
from torch import nn

from stages.vision.tensor_normalisation import at_least_float32

__all__ = ["distillation", "sdcam_loss", "student_loss"]


def distillation(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean of ``KL(softmax(z_t / T) || softmax(z_s / T))``, without a factor T^2 (second part of eq. 6).

    student, teacher: logits z_s and z_t ``(B, C)``; the teacher's get no gradient. Returns: a scalar, float32 at least.
    """
    given = at_least_float32(student).div(temperature).log_softmax(dim=1)
    wanted = at_least_float32(teacher.detach()).div(temperature).log_softmax(dim=1)
    return nn.functional.kl_div(given, wanted, reduction="batchmean", log_target=True)


def student_loss(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, alpha: float, temperature: float
) -> torch.Tensor:
    """``alpha`` times the cross-entropy plus ``1 - alpha`` times the distillation (eq. 6).

    student, teacher: logits ``(B, C)``; labels: ``(B,)`` integers. At alpha 1 it is the cross-entropy to the bit.
    """
    entropy = nn.functional.cross_entropy(at_least_float32(student), labels)
    if alpha == 1:
        return entropy
    return alpha * entropy + (1 - alpha) * distillation(student, teacher, temperature)


def sdcam_loss(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, alpha: float, temperature: float
) -> torch.Tensor:
    """The teacher's cross-entropy (eq. 4) plus the student's loss (eq. 6); each trains only its own head.

    student, teacher: logits ``(B, C)``; labels: ``(B,)`` integers.
    """
    entropy = nn.functional.cross_entropy(at_least_float32(teacher), labels)
    return entropy + student_loss(student, teacher, labels, alpha, temperature)
