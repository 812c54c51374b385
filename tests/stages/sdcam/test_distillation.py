"""The losses of SD-CAM, by what follows from equations 4 and 6."""

import pytest
import torch
from torch import nn

from stages.sdcam.distillation import distillation, sdcam_loss, student_loss

CLASSES = 5


@pytest.fixture
def logits():
    """Teacher's and student's, float64, and labels, of seven images."""
    generator = torch.Generator().manual_seed(3)
    teacher, student = torch.randn(2, 7, CLASSES, dtype=torch.float64, generator=generator) * 4
    return teacher.requires_grad_(), student.requires_grad_(), torch.arange(7) % CLASSES


def test_logits_that_differ_by_a_constant_an_image_agree(logits):
    """Breaks when logits are compared rather than the distributions that they stand for."""
    teacher, _, _ = logits
    student = teacher.detach() + torch.linspace(-9, 9, 7, dtype=torch.float64)[:, None]
    assert abs(float(distillation(student, teacher, 3.0))) < 1e-13
    moved = student + torch.eye(7, CLASSES, dtype=torch.float64)
    assert float(distillation(moved, teacher, 3.0)) > 1e-3


def test_it_is_the_divergence_of_the_student_from_the_teacher(logits):
    """Breaks when the two are exchanged, when it is a sum over images or a mean over classes."""
    teacher, student, _ = (value.detach() for value in logits)
    wanted, given = (torch.exp(z / 3) / torch.exp(z / 3).sum(1, keepdim=True) for z in (teacher, student))
    expected = (wanted * (wanted.log() - given.log())).sum(1).mean()
    torch.testing.assert_close(distillation(student, teacher, 3.0), expected)
    assert abs(float(distillation(teacher, student, 3.0) - expected)) > 1e-3


def test_the_students_gradient_has_no_square_of_the_temperature(logits):
    """Breaks when the loss is multiplied by T^2, as distillation elsewhere has it: the gradient is (S_s - S_t) / T."""
    teacher, student, _ = logits
    distillation(student, teacher, 2.0).backward()
    expected = (torch.softmax(student / 2, 1) - torch.softmax(teacher / 2, 1)) / 2 / len(student)
    torch.testing.assert_close(student.grad, expected.detach())


def test_no_distillation_is_left_at_a_great_temperature(logits):
    """Breaks when the temperature divides one of the two alone: classes become equally likely, KL falls as 1 / T^2."""
    teacher, student, _ = (value.detach() for value in logits)
    cool, hot = (float(distillation(student, teacher, temperature)) for temperature in (1e2, 1e4))
    assert 0 < hot < 1e-6
    assert cool / hot == pytest.approx(1e4, rel=0.1)


def test_the_teacher_learns_from_its_own_loss_alone(logits):
    """Breaks when the teacher is not detached, and gives way to a student that has not learned yet."""
    teacher, student, labels = logits
    student_loss(student, teacher, labels, 0.3, 3.0).backward()
    assert teacher.grad is None
    sdcam_loss(student, teacher, labels, 0.3, 3.0).backward()
    own = teacher.detach().clone().requires_grad_()
    nn.functional.cross_entropy(own, labels).backward()
    torch.testing.assert_close(teacher.grad, own.grad, rtol=0, atol=0)


def test_at_alpha_one_the_student_is_a_plain_head_to_the_bit(logits):
    """Breaks when the distillation's part is multiplied by zero instead of left out: infinities become NaN."""
    teacher, student, labels = logits
    plain = student.detach().clone().requires_grad_()
    loss, expected = student_loss(student, teacher * torch.inf, labels, 1.0, 3.0), nn.functional.cross_entropy
    loss.backward()
    entropy = expected(plain, labels)
    entropy.backward()
    assert loss.detach().equal(entropy.detach())
    assert student.grad.equal(plain.grad)


def test_alpha_weighs_the_two_parts(logits):
    """Breaks when alpha and 1 - alpha are exchanged."""
    teacher, student, labels = logits
    entropy = nn.functional.cross_entropy(student, labels)
    kept = student_loss(student, teacher, labels, 0.3, 3.0)
    torch.testing.assert_close(kept, 0.3 * entropy + 0.7 * distillation(student, teacher, 3.0))


def test_half_precision_is_summed_in_float32(logits):
    """Breaks when logits of autocast are exponentiated in bfloat16, of which three digits are left."""
    teacher, student, labels = (value.detach() for value in logits)
    half = student_loss(student.bfloat16(), teacher.bfloat16(), labels, 0.3, 3.0)
    assert half.dtype == torch.float32
    same = student_loss(student.bfloat16().double(), teacher.bfloat16().double(), labels, 0.3, 3.0)
    assert float(half) == pytest.approx(float(same), rel=1e-5)
