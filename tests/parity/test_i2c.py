"""I2C's seeds, losses and centres against the numbers of its released code."""

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d, cross_entropy

from stages.i2c.centres import ClassCentres
from stages.i2c.consistency import class_sums, distances, stochastic_consistency
from stages.i2c.seeds import object_region, object_seeds, seed_vectors
from stages.vision.tensor_normalisation import min_max


@pytest.fixture
def memory(golden):
    """Centres and counters as the reference had them before its first step."""
    arrays, parameters = golden.arrays, golden.parameters
    centres = ClassCentres(
        parameters["num_classes"], parameters["D"], decay=parameters["decay_alpha"], skip_unseen=False
    )
    counts = torch.from_numpy(arrays["counter_initial"]).long()
    centres.load_state_dict({"centres": torch.from_numpy(arrays["bank_initial"]), "counts": counts})
    return centres


def batch(golden, step):
    """A step's input to the pooling, class maps and labels."""
    inputs, maps = (torch.from_numpy(golden.arrays[name][step] / np.float32(16)) for name in ("x_q", "out1_q"))
    return inputs.requires_grad_(), maps.requires_grad_(), torch.from_numpy(golden.arrays["labels"][step])


def near(found, golden, name, step, tolerance):
    np.testing.assert_allclose(found.detach().numpy(), golden.arrays[name][step], atol=tolerance, rtol=0, err_msg=name)


def near_gradient(found, expected):
    """The sidecar's "1e-6 + 1e-4 relative"."""
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6, rtol=1e-4)


@pytest.mark.golden("i2c_")
def test_seeds(golden):
    """Another normalisation, comparison or order of positions chooses another seed."""
    for step in range(golden.parameters["steps"]):
        _, maps, labels = batch(golden, step)
        own = maps[torch.arange(len(labels)), labels]
        near(min_max(own), golden, "atten", step, 1e-6)
        region = object_region(own, golden.parameters["threshold"])
        np.testing.assert_array_equal(region.sum(dim=(1, 2)), golden.arrays["seed_count"][step])
        seeds = object_seeds(region, golden.parameters["K"], "raster")
        np.testing.assert_array_equal(seeds, golden.arrays["seed_index"][step])


@pytest.mark.golden("i2c_")
def test_losses_centres_and_gradients(golden, memory):
    """Squared distances, a centre updated before its loss, another rate, or a gradient into the centres shows here."""
    parameters, last = golden.parameters, golden.parameters["steps"] - 1
    for step in range(parameters["steps"]):
        inputs, maps, labels = batch(golden, step)
        features = avg_pool2d(inputs, 3, stride=1, padding=1)
        own = maps[torch.arange(len(labels)), labels]
        seeds = object_seeds(object_region(own, parameters["threshold"]), parameters["K"], "raster")
        vectors = seed_vectors(features, seeds)
        sums, counts = class_sums(vectors, labels, parameters["num_classes"])
        near(sums[labels[::2]] / counts[labels[::2], None], golden, "batch_center", step, golden.tolerance("bank"))
        paired = distances(vectors[::2], vectors[1::2]).flatten()
        near(paired, golden, "pixel_loss", step, golden.tolerance("losses"))
        logits = maps.mean(dim=(2, 3))
        near(logits, golden, "logits", step, 1e-5)
        losses = {
            "loss_cls": cross_entropy(logits, labels),
            "loss_sc": parameters["lambda_local"] * stochastic_consistency(vectors),
            "loss_gc": parameters["lambda_global"] * memory(vectors, labels),
        }
        for name, loss in losses.items():
            near(loss, golden, name, step, golden.tolerance("losses"))
        total = torch.stack(list(losses.values())).sum()
        near(total, golden, "loss", step, golden.tolerance("losses"))
        memory.update()
        near(memory.centres, golden, "bank", step, golden.tolerance("bank"))
        np.testing.assert_array_equal(memory.counts, golden.arrays["counter"][step])
        total.backward()
        if step == 0:
            near_gradient(inputs.grad, golden.arrays["grad_x_step0"])
        if step == last:
            near_gradient(inputs.grad, golden.arrays["grad_x_last"])
            near_gradient(maps.grad, golden.arrays["grad_out1_last"])
