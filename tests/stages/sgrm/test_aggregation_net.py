"""The networks of SGRM: many at once, and one written out, against layers of torch."""

import pytest
import torch
from torch import nn

from stages.sgrm.aggregation_net import AggregationNets, Weights, initial_weights, outputs
from stages.sgrm.by_hand.aggregation_net import AggregationNet
from stages.sgrm.parameters import SgrmParameters

CHANNELS = 6
PARAMETERS = SgrmParameters(channels=CHANNELS)


def layers(weights: Weights) -> nn.Sequential:
    """The network of one image as layers."""
    network = nn.Sequential(
        nn.Conv2d(3, CHANNELS, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(CHANNELS),
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(CHANNELS),
        nn.Conv2d(CHANNELS, 2, 1, bias=False), nn.BatchNorm2d(2),
    ).double()  # fmt: skip
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), weights, strict=True):
            parameter.copy_(value[0])
    return network


def example(images=3, height=9, width=12):
    """Images, weights away from their start (gains not 1, shifts not 0), and gradients of margins."""
    generator = torch.Generator().manual_seed(1)
    start = initial_weights(range(images), CHANNELS)
    weights = Weights(*(part + 0.1 * torch.randn(part.shape, generator=generator) for part in start))
    gradients = torch.randn(4, images, height * width, generator=generator) / (height * width)
    return torch.rand(images, 3, height, width, generator=generator), weights, gradients


def of(weights: Weights, image: int) -> Weights:
    return Weights(*(part[image : image + 1].clone() for part in weights))


@pytest.mark.parametrize("shape", [(9, 12), (8, 8), (5, 3)])
@pytest.mark.parametrize("image", [0, 2])
def test_each_network_trains_as_layers_of_torch_do(shape, image):
    """Breaks when groups mix, statistics are shared, momentum is another one, or a written-out gradient is wrong."""
    images, weights, gradients = example(height=shape[0], width=shape[1])
    together = AggregationNets(images, Weights(*(part.clone() for part in weights)), PARAMETERS)
    alone = AggregationNet(images[image : image + 1], of(weights, image), PARAMETERS)
    network = layers(of(weights, image))
    optimizer = torch.optim.SGD(network.parameters(), PARAMETERS.learning_rate, PARAMETERS.momentum)
    for gradient in gradients:
        found = network(images[image : image + 1].double())[0].flatten(1)
        expected = (found[1] - found[0]).detach().float()
        torch.testing.assert_close(together.margins()[image], expected, atol=2e-4, rtol=0)
        torch.testing.assert_close(alone.margins()[0], expected, atol=2e-4, rtol=0)
        optimizer.zero_grad()
        ((found[1] - found[0]) * gradient[image]).sum().backward()
        optimizer.step()
        together.step(gradient)
        alone.step(gradient[image : image + 1])


def test_networks_go_on_as_before_when_others_are_dropped():
    """Breaks when weights, speeds and images are not dropped alike."""
    images, weights, gradients = example()
    kept = torch.tensor([True, False, True])
    whole = AggregationNets(images, Weights(*(part.clone() for part in weights)), PARAMETERS)
    fewer = AggregationNets(images, Weights(*(part.clone() for part in weights)), PARAMETERS)
    for number, gradient in enumerate(gradients):
        if number == 2:
            fewer.keep(kept)
        chosen = kept if number >= 2 else slice(None)
        torch.testing.assert_close(fewer.margins(), whole.margins()[chosen], atol=1e-5, rtol=0)
        whole.step(gradient)
        fewer.step(gradient[chosen])


def test_first_weights_are_the_images_own():
    """Breaks when an image's first weights depend on its place or company, or two images share theirs."""
    together = initial_weights([5, 9], CHANNELS)
    for part, alone in zip(together, initial_weights([9], CHANNELS), strict=True):
        assert torch.equal(part[1], alone[0])
    assert not torch.equal(together.first[0], together.first[1])
    assert together.second.abs().max() <= (9 * CHANNELS) ** -0.5
    assert sum(part.numel() for part in initial_weights([0], 100)) == 93_504


def test_outputs_are_normalised_over_each_image():
    """Breaks when the last normalisation is left out, or taken over the batch."""
    images, weights, _ = example()
    found = outputs(images, weights)
    assert found.shape == (3, 2, 9, 12)
    torch.testing.assert_close(found.mean(dim=(2, 3)), weights.last_shift, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std(dim=(2, 3), correction=0), weights.last_gain.abs(), atol=1e-2, rtol=0)
