import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

from stages.scg import scg
from stages.scg.aggregation import column_sums, localization_maps, seeds, unit_maps
from stages.scg.by_hand.self_correlation import fused_columns
from stages.scg.parameters import PRESETS, ScgParameters
from stages.scg.scg import refine, refine_by_definition, unit_cams
from stages.scg.self_correlation import combined, fused, orders, similarity, unit_vectors

both_ways = pytest.mark.parametrize("run", [refine, refine_by_definition])
both_normalisations = pytest.mark.parametrize("normalisation", ["vgg", "paper"])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def example(seed=0, images=3, channels=(12, 20), grid=(7, 9), classes=4):
    """Two stages whose features differ between a planted object and its surroundings, and CAMs that see part of it."""
    source = generator(seed)
    planted = torch.zeros(images, 1, *grid)
    planted[:, :, 1:-2, 2:-3] = 1
    stages = []
    for dimension in channels:
        inside, outside = torch.randn(2, images, dimension, 1, 1, generator=source)
        noise = torch.randn(images, dimension, *grid, generator=source)
        stages.append((inside * planted + outside * (1 - planted) + 0.7 * noise).relu())
    noise = torch.randn(images, classes, *grid, generator=source)
    return stages, unit_cams(2 * planted + noise)


def clusters(object_size=12, height=5, width=6, seed=0):
    """Features of two orthogonal directions, of any length: the first positions point in one, the rest in the other."""
    inside = (torch.arange(height * width) < object_size).view(1, 1, height, width)
    lengths = 0.1 + torch.rand(1, 1, height, width, generator=generator(seed))
    return torch.cat([inside * lengths, ~inside * lengths], dim=1), inside.flatten()


def cluster_cams(inside, shape=(5, 6)):
    """A CAM that is high at three positions of the first cluster, zero at five of the second, between elsewhere."""
    cam = torch.full((len(inside),), 0.07)
    cam[torch.where(inside)[0][:3]] = 1.0
    cam[torch.where(~inside)[0][:5]] = 0.0
    return cam.view(1, 1, *shape)


def test_correlation_of_two_clusters_is_known():
    """Breaks when the diagonal stays in the steps, rows are normalised for columns, or lengths of vectors count."""
    features, inside = clusters()
    found = orders(similarity(features, 0.1), replace(PRESETS["cub"], theta2=0.0))
    sizes = torch.where(inside, 12.0, 18.0)
    same = (inside[:, None] == inside[None]).float()
    first = same / sizes
    second = same * (sizes - 2) / (sizes - 1) ** 2
    second.diagonal().copy_(1 / (sizes - 1))
    assert found.high is not None
    torch.testing.assert_close(found.first[0], first, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.high[0], second, atol=1e-6, rtol=0)
    cut = orders(similarity(features, 0.1), replace(PRESETS["cub"], theta2=30 * 0.06)).high
    assert cut is not None
    torch.testing.assert_close(cut[0], torch.where(second >= 0.06, second, 0), atol=1e-6, rtol=0)


def test_columns_of_the_vgg_normalisation_sum_to_one():
    """Breaks when the combined correlation is not normalised again, or along rows."""
    stages, _ = example()
    for order in (1, 2, 3):
        columns = fused(stages, replace(PRESETS["ilsvrc"], order=order)).sum(dim=1)
        torch.testing.assert_close(columns, torch.full_like(columns, 2.0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_vgg_orders_are_powers_of_the_transition_matrix(order):
    """Breaks when a product too many or too few is taken, or steps are multiplied from the wrong side."""
    alike = similarity(example()[0][0].double(), 0.1)
    steps = alike[0].numpy().copy()
    np.fill_diagonal(steps, 0)
    steps /= steps.sum(axis=0)
    high = orders(alike, ScgParameters(order=order, theta2=0.0)).high
    assert high is not None
    np.testing.assert_allclose(high[0], np.linalg.matrix_power(steps, order), rtol=1e-4)


@pytest.mark.parametrize("order", [2, 3])
def test_paper_orders_are_averages_over_paths(order):
    """Equation 8 by walking all paths: breaks when a neighbour may repeat, or the range is taken along rows."""
    alike = similarity(example(grid=(4, 3))[0][0][:1, :, :3].double(), 0.0)
    values = alike[0].numpy()
    positions = range(len(values))
    expected = np.zeros_like(values)
    for start, *between, end in itertools.product(positions, repeat=order + 1):
        path = [start, *between]
        if len(set(path)) == len(path) and between[-1] != end:
            expected[start, end] += np.prod([values[step] for step in itertools.pairwise([*path, end])])
    expected = (expected - expected.min(axis=0)) / (expected.max(axis=0) - expected.min(axis=0))
    paper = ScgParameters(normalisation="paper", order=order, theta1=0.0, theta2=0.0, omega=1.0)
    found = orders(alike, paper)
    assert found.high is not None
    np.testing.assert_allclose(found.high[0], expected, atol=1e-12)
    np.testing.assert_allclose(combined(found, paper)[0], np.maximum(values, expected), atol=1e-12)


@both_ways
@both_normalisations
def test_seeds_in_one_cluster_give_that_cluster(run, normalisation):
    """Breaks when object and background are confused, or a seed reaches what its features have nothing to do with."""
    features, inside = clusters()
    parameters = replace(PRESETS["cub"], normalisation=normalisation)
    found = run([features, features], cluster_cams(inside), parameters).flatten()
    assert (found[~inside] == 0).all()
    assert (found[inside] >= (12 - 2) / (12 - 1) - 1e-5).all()
    assert found.max() == 1


@both_ways
@both_normalisations
def test_no_object_seeds_no_background_seeds_and_the_same_seeds(run, normalisation):
    """Breaks when an empty choice of columns is not zero, or a comparison with a threshold is strict."""
    stages, cams = example()
    parameters = replace(PRESETS["ilsvrc"], normalisation=normalisation)
    assert not run(stages, cams, replace(parameters, delta_h=1.5)).any()
    alone = replace(parameters, delta_l=-0.1)
    units = unit_maps(column_sums(fused(stages, alone), seeds(cams, alone)))
    torch.testing.assert_close(run(stages, cams, alone).flatten(2), units[:, 0].float(), atol=1e-5, rtol=0)
    assert not units[:, 1].any()
    flat = torch.zeros_like(cams)
    assert seeds(flat, replace(parameters, delta_h=0.0, delta_l=0.0)).all()
    assert not run(stages, flat, replace(parameters, delta_h=0.0, delta_l=0.0)).any()
    assert run(stages, cams, parameters).flatten(2).amax(dim=-1).eq(1).all()


def test_infinite_order_forgets_the_seed():
    """All columns are the degrees and M_obj = M_bg: breaks when a normalisation is missing or the diagonal stays."""
    stages, cams = example()
    endless = ScgParameters(order=80, theta1=0.0, theta2=0.0, omega=1e6)
    for stage in stages:
        alike = similarity(stage, 0.0)
        degrees = alike.sum(dim=1) - alike.diagonal(dim1=1, dim2=2)
        columns = combined(orders(alike, endless), endless)
        limit = degrees / degrees.sum(dim=1, keepdim=True)
        torch.testing.assert_close(columns, limit[:, :, None].expand_as(columns), atol=1e-6, rtol=0)
    assert refine(stages, cams, replace(endless, order=2)).any()
    assert not refine(stages, cams, endless).any()


@both_ways
@both_normalisations
def test_lengths_rotations_and_order_of_positions(run, normalisation):
    """Breaks when anything but angles between features, or where positions lie, enters the map."""
    stages, cams = example()
    parameters = replace(PRESETS["cub"], normalisation=normalisation)
    expected = run(stages, cams, parameters)
    longer = [stage * (0.1 + 5 * torch.rand(3, 1, 7, 9, generator=generator(1))) for stage in stages]
    torch.testing.assert_close(run(longer, cams, parameters), expected, atol=2e-5, rtol=0)
    turns = [torch.from_numpy(ortho_group.rvs(stage.shape[1], random_state=1)).float() for stage in stages]
    turned = [torch.einsum("bdhw,de->behw", stage, turn) for stage, turn in zip(stages, turns, strict=True)]
    torch.testing.assert_close(run(turned, cams, parameters), expected, atol=2e-5, rtol=0)
    places = torch.randperm(63, generator=generator(2))
    moved = [values.flatten(2)[..., places].unflatten(-1, (7, 9)) for values in (*stages, cams)]
    result = run(moved[:2], moved[2], parameters).flatten(2)
    torch.testing.assert_close(result, expected.flatten(2)[..., places], atol=2e-5, rtol=0)


@both_ways
def test_images_and_classes_do_not_know_each_other(run, monkeypatch):
    """Breaks when a sum runs over the batch or over classes, or chunks are put together in another order."""
    stages, cams = example(images=5)
    expected = run(stages, cams, PRESETS["cub"])
    for image, maps in enumerate(expected):
        single = run([stage[image : image + 1] for stage in stages], cams[image : image + 1], PRESETS["cub"])
        torch.testing.assert_close(single[0], maps, atol=1e-5, rtol=0)
    torch.testing.assert_close(run(stages, cams[:, 2:3], PRESETS["cub"])[:, 0], expected[:, 2], atol=1e-5, rtol=0)
    monkeypatch.setattr(scg, "CORRELATION_BYTES", 2 * 4 * 63**2)
    torch.testing.assert_close(run(stages, cams, PRESETS["cub"]), expected, atol=1e-5, rtol=0)


@both_normalisations
@pytest.mark.parametrize("seed", range(6))
def test_cpu_passes_equal_the_definition(normalisation, seed):
    """Breaks when the symmetric products or the fused passes compute anything else, whatever shapes and thresholds."""
    values = np.random.default_rng(seed)
    grid = tuple(values.integers(5, 17, 2).tolist())
    stages, cams = example(seed, 2, values.integers(2, 40, 1 + seed % 2).tolist(), grid, int(values.integers(1, 6)))
    theta1, theta2, omega = values.uniform([0, 0, 0.5], [0.4, 0.6, 3.0]).tolist()
    parameters = ScgParameters(theta1, theta2, omega, normalisation=normalisation)
    expected = fused(stages, parameters)[0].numpy()
    result = fused_columns([unit_vectors(stage)[0].numpy() for stage in stages], parameters).T
    np.testing.assert_allclose(result, expected, atol=1e-5 * expected.max(), rtol=0)
    torch.testing.assert_close(
        refine(stages, cams, parameters), refine_by_definition(stages, cams, parameters), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("order", [1, 3])
def test_other_orders_go_by_the_definition(order):
    """Breaks when the passes for the second order are used for another one."""
    stages, cams = example()
    parameters = replace(PRESETS["cub"], order=order)
    assert torch.equal(refine(stages, cams, parameters), refine_by_definition(stages, cams, parameters))
    assert not torch.allclose(refine(stages, cams, parameters), refine(stages, cams, PRESETS["cub"]), atol=1e-3)


@both_ways
@both_normalisations
def test_features_without_a_direction(run, normalisation):
    """Breaks when a zero vector, or a NaN, spreads into positions that it has nothing to do with, or into the map."""
    stages, cams = example()
    parameters = replace(PRESETS["cub"], normalisation=normalisation)
    blank = [torch.zeros_like(stage) for stage in stages]
    assert not run(blank, cams, parameters).any()
    maps = []
    for value in (0.0, float("nan"), float("inf")):
        holed = [stage.clone() for stage in stages]
        for stage in holed:
            stage[:, :, 3, 4] = value
        maps.append(run(holed, cams, parameters))
        assert torch.isfinite(maps[-1]).all()
        assert not maps[-1][:, :, 3, 4].any()
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], maps[2])


@both_ways
def test_maps_without_contrast(run):
    """Breaks when rounding of what is constant is stretched to a map, or a NaN in a CAM is taken for a seed."""
    stages, cams = example()
    same = [torch.rand(3, 5, 1, 1, generator=generator()) * torch.rand(3, 1, 7, 9, generator=generator(1))] * 2
    for normalisation in ("vgg", "paper"):
        first_alone = replace(PRESETS["cub"], normalisation=normalisation, omega=0.0, delta_l=-1.0)
        assert not run(same, cams, first_alone).any()
    for constant in (0.0, 3.0, -2.0):
        flat = unit_cams(torch.full_like(cams, constant))
        assert not flat.any()
        assert not run(stages, flat, PRESETS["cub"]).any()
    unknown = torch.full_like(cams, float("nan"))
    assert not seeds(unknown, PRESETS["cub"]).any()
    assert not run(stages, unknown, PRESETS["cub"]).any()


def test_rounding_is_no_localization_map():
    """Breaks when a difference in the last bits of two equal maps is stretched from 0 to 1."""
    units = torch.linspace(0, 1, 20, dtype=torch.float64).expand(1, 2, 1, 20).clone()
    units[0, 0, 0, 7] += 3e-7
    assert not localization_maps(units).any()
    units[0, 0, 0, 7] += 3e-5
    assert localization_maps(units)[0, 0, 7] == 1


def test_unit_cams_are_rectified_first():
    """Breaks when the range is taken before ReLU: thresholds would then mean something else."""
    cams = torch.tensor([[[-3.0, 1.0], [2.0, 5.0]]])
    torch.testing.assert_close(unit_cams(cams), torch.tensor([[[0.0, 0.2], [0.4, 1.0]]]))
    torch.testing.assert_close(unit_cams(cams.half()), unit_cams(cams), atol=1e-6, rtol=0)


@both_ways
def test_cams_of_another_size(run):
    """Breaks when a map of another resolution is refused, shifted by half a cell, or stretched again."""
    stages, cams = example()
    fine = cams.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(run(stages, fine, PRESETS["cub"]), run(stages, cams, PRESETS["cub"]))
    assert run(stages, cams, PRESETS["cub"]).shape == (3, 4, 7, 9)


@both_ways
def test_half_precision_and_autocast(run):
    """Breaks when a product is taken in half precision: thresholds near 1 / n^2 are lost in it."""
    stages, cams = example()
    expected = run(stages, cams, PRESETS["cub"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(run(stages, cams, PRESETS["cub"]), expected)
    rounded = [stage.half() for stage in stages]
    result = run(rounded, cams, PRESETS["cub"])
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, run([stage.float() for stage in rounded], cams, PRESETS["cub"]))
    assert not run([stage.requires_grad_() for stage in stages], cams, PRESETS["cub"]).requires_grad


@both_ways
def test_shapes_that_do_not_fit(run):
    """Breaks when a wrong axis is broadcast in silence."""
    (first, second), cams = example()
    for features in ([], [first, second[:2]], [first, second[..., 1:]], [first, second[0]], first):
        with pytest.raises(ValueError, match="features must be"):
            run(features, cams, PRESETS["cub"])
    for wrong in (cams[:2], cams[:, 0]):
        with pytest.raises(ValueError, match="cams must be"):
            run([first, second], wrong, PRESETS["cub"])
    empty = run([first[:0], second[:0]], cams[:0], PRESETS["cub"])
    assert empty.shape == (0, 4, 7, 9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"delta_l": 0.2, "delta_h": 0.1},
        {"delta_l": float("nan")},
        {"order": 0},
        {"theta1": -0.1},
        {"omega": float("nan")},
        {"normalisation": "row"},
    ],
)
def test_parameters_that_mean_nothing(wrong):
    """Breaks when background may lie above object, or a wrong name falls back to some normalisation."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ScgParameters(**wrong)


@pytest.mark.gpu
@both_normalisations
def test_a_gpu_gives_the_same_maps(normalisation):
    """Breaks when a product is rounded to TF32, or an operation has no CUDA kernel."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    stages, cams = example(grid=(14, 14))
    parameters = replace(PRESETS["cub"], normalisation=normalisation)
    on_gpu = refine([stage.cuda() for stage in stages], cams.cuda(), parameters)
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), refine(stages, cams, parameters), atol=1e-4, rtol=0)
