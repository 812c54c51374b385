"""The fast convolution against torch's, in float64."""

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from stages.sgrm.by_hand.winograd import backward, forward, kernel_gradient, kernel_products

shapes = pytest.mark.parametrize(
    ("height", "width", "inputs", "outputs"), [(8, 10, 3, 5), (7, 9, 4, 2), (1, 6, 2, 2), (5, 1, 1, 3), (1, 1, 2, 1)]
)


@shapes
def test_forward_and_backward_are_those_of_a_convolution(height, width, inputs, outputs):
    """Breaks when a transform, an odd border or a sign is wrong: the shapes end within a tile on either side."""
    generator = np.random.default_rng(0)

    def made(*shape):
        return generator.standard_normal(shape).astype(np.float32)

    values, scale, shift, bias = made(height, width, inputs), made(inputs), made(inputs), made(outputs)
    kernels, gradient = made(3, 3, inputs, outputs), made(height, width, outputs)
    products = kernel_products(kernels)
    out = np.empty((height, width, outputs), np.float32)
    forward(values, scale, shift, products, bias, out)
    to_products = np.empty_like(products)
    to_input = np.empty((2 * ((height + 1) // 2) + 2, 2 * ((width + 1) // 2) + 2, inputs), np.float32)
    backward(values, scale, shift, products, gradient, to_products, to_input)

    seen = torch.from_numpy((scale * values + shift).astype(np.float64)).permute(2, 0, 1)[None].requires_grad_()
    weights = torch.from_numpy(kernels.astype(np.float64)).permute(3, 2, 0, 1).contiguous().requires_grad_()
    sums = conv2d(seen, weights, padding=1)
    expected = (sums + torch.from_numpy(bias).view(-1, 1, 1)).relu()[0].permute(1, 2, 0)
    np.testing.assert_allclose(out, expected.detach().numpy(), atol=2e-5)
    to_seen, to_weights = torch.autograd.grad(
        sums, [seen, weights], torch.from_numpy(gradient).double().permute(2, 0, 1)[None]
    )
    np.testing.assert_allclose(to_input[1 : height + 1, 1 : width + 1], to_seen[0].permute(1, 2, 0).numpy(), atol=2e-5)
    np.testing.assert_allclose(kernel_gradient(to_products), to_weights.permute(2, 3, 1, 0).numpy(), atol=5e-5)
