"""Self-guided re-prediction: labels, loss, stop rule, and masks of images whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from stages.sgrm import reliable as reliable_maths
from stages.sgrm import sgrm
from stages.sgrm.parameters import PRESETS, SgrmParameters, SuperpixelParameters
from stages.sgrm.reliable import joint_loss, loss_gradient, reliable, wrong_share
from stages.sgrm.sgrm import predict, predict_by_definition
from stages.sgrm.superpixels import majority, means, superpixels

SMALL = replace(PRESETS["cub"], channels=8, iterations=40, min_iterations=5)
LONG = replace(SMALL, channels=16, iterations=80, min_iterations=80)
both_ways = pytest.mark.parametrize("run", [predict, predict_by_definition])


def two_colors(images=1, height=20, width=24):
    """A disc of one color on a ground of another, with a little noise, and where the discs are."""
    generator = np.random.default_rng(0)
    y, x = np.indices((height, width))
    inside = np.stack([(y - 8 - n) ** 2 + (x - 10 - n) ** 2 < 36 for n in range(images)])
    colors = np.where(inside[..., None], (200, 60, 40), (40, 90, 160)) + generator.integers(-6, 7, (*inside.shape, 3))
    return colors.astype(np.uint8), inside


def hills(inside, aside=0.0):
    """Maps that are high in the middle of the object, or somewhat aside, and do not know its edge."""
    y, x = np.indices(inside.shape[1:])
    centres = [np.argwhere(mask).mean(axis=0) for mask in inside]
    spread = [np.exp(-((y - top - aside) ** 2 + (x - left) ** 2) / 30) for top, left in centres]
    return torch.from_numpy(np.stack(spread)).float()


def parts_of(images):
    parameters = SuperpixelParameters(min_size=8)
    return np.stack([superpixels(image, parameters) for image in images])


def labelled(seed=0, images=3, pixels=40, parts=7):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.arange(pixels) % parts
    maps = torch.rand(images, pixels, generator=generator)
    return maps, torch.stack([ids[torch.randperm(pixels, generator=generator)] for _ in range(images)])


def test_labels_follow_the_thresholds():
    """Breaks when a comparison is not strict, pixels and superpixels are confused, or a mean runs over the batch."""
    maps = torch.tensor([[0.05, 0.1, 0.3, 0.6, 0.7, 1.0], [0.0, 0.0, 0.0, 0.9, 0.9, 0.9]])
    ids = torch.tensor([[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1]])
    found = reliable(maps, ids, PRESETS["cub"])
    assert found.is_object.tolist() == [[False, False, False, False, True, True], [False] * 3 + [True] * 3]
    assert found.is_background.tolist() == [[True, False, False, False, False, False], [True] * 3 + [False] * 3]
    assert found.known.tolist() == [[True] * 6, [True] * 6]
    assert found.known_object.tolist() == [[False, False, True, True, True, True], [False] * 3 + [True] * 3]
    strict = reliable(maps, ids, PRESETS["ilsvrc"])
    assert strict.known.tolist() == [[True, True, False, False, True, True], [True] * 6]
    assert found.counts.tolist() == [[2, 2, 2], [3, 3, 0]]


def test_means_and_votes_are_constant_in_a_superpixel():
    """Breaks when ids of different images are added up, or half is a majority."""
    maps, ids = labelled()
    counts = torch.stack([torch.bincount(own, minlength=7) for own in ids]).float()
    smooth, voted = means(maps, ids), majority(maps > 0.5, ids, counts)
    for image in range(3):
        for part in range(7):
            places = ids[image] == part
            expected = maps[image, places].double().mean()
            torch.testing.assert_close(smooth[image, places], expected.expand(int(places.sum())))
            assert voted[image, places].eq(bool((maps[image, places] > 0.5).double().mean() > 0.5)).all()
    tied = majority(torch.tensor([[True, False]]), torch.zeros(1, 2, dtype=torch.int64), torch.tensor([[2.0]]))
    assert not tied.any()


def test_the_loss_is_the_paper_s():
    """Equations 13 to 16 with the library's cross-entropy: breaks when a weight, a mean or the vote is another one."""
    maps, ids = labelled(pixels=60)
    parameters = PRESETS["ilsvrc"]
    labels = reliable(maps, ids, parameters)
    assert not labels.known.all()
    outputs = torch.randn(3, 2, 60, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for image in range(3):
        own = outputs[image].T
        voted = torch.zeros(60, dtype=torch.int64)
        for part in ids[image].unique():
            places = ids[image] == part
            voted[places] = int(own[places].argmax(dim=1).double().mean() > 0.5)
        smooth = torch.where(labels.known[image], labels.known_object[image].long(), voted)
        ones, zeros = maps[image] > 0.6, maps[image] < 0.1
        expected = (
            0.1 * cross_entropy(own, smooth)
            + 2 * cross_entropy(own[ones], torch.ones(int(ones.sum()), dtype=torch.int64))
            + 0.1 * cross_entropy(own[zeros], torch.zeros(int(zeros.sum()), dtype=torch.int64))
        )
        found = joint_loss(outputs[:, 1] - outputs[:, 0], labels, parameters)[image]
        torch.testing.assert_close(found, expected)


def test_the_gradient_is_that_of_the_loss():
    """Breaks when the derivative written out is not the derivative, or the vote passes a gradient on."""
    maps, ids = labelled()
    labels = reliable(maps, ids, PRESETS["cub"])
    margins = torch.randn(3, 40, generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()
    (expected,) = torch.autograd.grad(joint_loss(margins, labels, PRESETS["cub"]).sum(), margins)
    torch.testing.assert_close(loss_gradient(margins.detach(), labels, PRESETS["cub"]), expected)


def test_a_kind_without_reliable_pixels_adds_nothing():
    """Breaks when a mean over no pixels is NaN, or a share of errors is."""
    ids = torch.zeros(1, 5, dtype=torch.int64)
    labels = reliable(torch.full((1, 5), 0.3), ids, PRESETS["cub"])
    margins = torch.zeros(1, 5)
    assert joint_loss(margins, labels, PRESETS["cub"]).item() == pytest.approx(0.1 * np.log(2))
    for balanced in (True, False):
        assert wrong_share(margins > 0, labels, balanced).tolist() == [0]


def test_an_empty_prediction_is_half_wrong():
    """Breaks when a small object counts for nothing in the stop rule: the paper's rule stops at an empty mask."""
    maps = torch.zeros(1, 100)
    maps[0, :5] = 1
    labels = reliable(maps, torch.zeros(1, 100, dtype=torch.int64), PRESETS["cub"])
    nothing = torch.zeros(1, 100, dtype=torch.bool)
    assert wrong_share(nothing, labels, True).item() == pytest.approx(0.5)
    assert wrong_share(nothing, labels, False).item() == pytest.approx(0.05)
    assert wrong_share(maps > 0.5, labels, True).item() == 0


@both_ways
def test_a_binary_map_of_superpixels_is_its_own_mask(run):
    """Breaks when object and background are confused, or the network cannot learn what colors alone tell."""
    images, inside = two_colors(2)
    found = run(images, torch.from_numpy(inside).float(), inside.astype(np.int64), [0, 1], LONG)
    assert torch.equal(found.masks, torch.from_numpy(inside))
    assert not found.fallback.any()


@both_ways
def test_the_mask_finds_the_edge_that_the_map_does_not_know(run):
    """Breaks when the mask is the thresholded map, or superpixels have no say."""
    images, inside = two_colors(3)
    maps = hills(inside, aside=2.0)
    found = run(images, maps, parts_of(images), [0, 1, 2], LONG)
    wanted = torch.from_numpy(inside)

    def iou(masks):
        return ((masks & wanted).sum(dim=(1, 2)) / (masks | wanted).sum(dim=(1, 2))).min()

    assert iou(found.masks) > 0.1 + max(float(iou(maps > cut)) for cut in np.linspace(0.05, 0.95, 19))
    assert torch.equal(found.masks, found.probabilities > 0.5)


def test_written_out_and_by_definition_agree():
    """Breaks when the two ways differ in more than rounding."""
    images, inside = two_colors(3)
    given = images, hills(inside), parts_of(images), [4, 5, 6], replace(SMALL, iterations=12, error=0.0)
    one, other = predict(*given), predict_by_definition(*given)
    torch.testing.assert_close(one.probabilities, other.probabilities, atol=1e-3, rtol=0)
    assert torch.equal(one.iterations, other.iterations)


@both_ways
def test_a_batch_is_its_images(run):
    """Breaks when images share statistics, seeds or a stop, or results change places once some have stopped."""
    images, inside = two_colors(5)
    maps, parts, seeds = hills(inside), parts_of(images), [3, 1, 4, 1, 5]
    few = replace(SMALL, iterations=14, min_iterations=2)
    together = run(images, maps, parts, seeds, few)
    for n in range(5):
        alone = run(images[n : n + 1], maps[n : n + 1], parts[n : n + 1], seeds[n : n + 1], few)
        assert torch.equal(alone.iterations[0], together.iterations[n])
        torch.testing.assert_close(alone.probabilities[0], together.probabilities[n], atol=2e-3, rtol=0)
        if run is predict:
            assert torch.equal(alone.probabilities[0], together.probabilities[n])
    assert len(set(together.iterations.tolist())) > 1


def test_threads_change_nothing():
    """Breaks when images that run side by side share anything."""
    images, inside = two_colors(4)
    given = images, hills(inside), parts_of(images), [0, 1, 2, 3], SMALL
    before = torch.get_num_threads()
    for one, other in zip(predict(*given, workers=3), predict(*given), strict=True):
        assert torch.equal(one, other)
    assert torch.get_num_threads() == before


def test_superpixels_of_one_pixel_are_no_vote():
    """Breaks when the vote of a pixel alone is anything but its own prediction."""
    chosen = torch.rand(2, 30, generator=torch.Generator().manual_seed(0)) > 0.5
    singles = torch.arange(30).expand(2, 30)
    assert torch.equal(majority(chosen, singles, torch.ones(2, 30)), chosen)


@both_ways
def test_superpixels_of_one_pixel_equal_no_vote(run, monkeypatch):
    """Breaks when anything but the vote and the mean of a superpixel reads its ids."""
    images, inside = two_colors(1)
    singles = np.arange(inside[0].size).reshape(inside.shape)
    found = run(images, hills(inside), singles, [0], SMALL)
    monkeypatch.setattr(reliable_maths, "majority", lambda chosen, ids, counts: chosen)
    monkeypatch.setattr(reliable_maths, "means", lambda values, ids: values.double())
    assert torch.equal(run(images, hills(inside), 0 * singles, [0], SMALL).masks, found.masks)


@both_ways
def test_iterations_are_bounded_on_both_sides(run):
    """Breaks when a network stops before its least, or goes on beyond its most, number of iterations."""
    images, inside = two_colors(2)
    given = images, hills(inside), parts_of(images), [0, 1]
    assert run(*given, replace(SMALL, error=2.0, min_iterations=7)).iterations.tolist() == [7, 7]
    assert run(*given, replace(SMALL, error=0.0, iterations=9)).iterations.tolist() == [9, 9]


@both_ways
def test_an_empty_mask_falls_back_to_the_map(run, monkeypatch):
    """Breaks when an image has no mask although its map says something, or the fallback is not told."""
    monkeypatch.setattr(sgrm, "_trained", lambda net, labels, parameters: (
        torch.full(labels.ids.shape, -1.0), torch.full((len(labels.ids),), 3)))  # fmt: skip
    images, inside = two_colors(2)
    maps = hills(inside)
    found = run(images, maps, parts_of(images), [0, 1], SMALL)
    assert found.fallback.all()
    units = (maps - maps.amin(dim=(1, 2), keepdim=True)) / (maps.amax(dim=(1, 2)) - maps.amin(dim=(1, 2)))[
        :, None, None
    ]
    assert torch.equal(found.masks, units > units.mean(dim=(1, 2), keepdim=True))
    assert torch.equal(found.probabilities > 0.5, found.masks)


@both_ways
def test_maps_without_contrast_have_no_mask(run):
    """Breaks when a constant map, or one with a NaN, trains a network on nothing or stops its neighbours."""
    images, inside = two_colors(3)
    maps = hills(inside)
    maps[0], maps[1, 3, 3] = 0.7, float("nan")
    found = run(images, maps, parts_of(images), [0, 1, 2], SMALL)
    assert found.fallback.tolist() == [True, True, False]
    assert not found.masks[:2].any()
    assert found.iterations[:2].tolist() == [0, 0]
    assert found.masks[2].any()
    empty = run(images[:0], maps[:0], parts_of(images)[:0], [], SMALL)
    assert empty.masks.shape == (0, 20, 24)


def test_superpixels_part_a_two_color_image():
    """Breaks when ids do not start at 0, leave gaps, or an edge between colors is crossed."""
    images, inside = two_colors()
    (found,) = parts_of(images)
    assert sorted(np.unique(found)) == list(range(found.max() + 1))
    assert not set(found[inside[0]]) & set(found[~inside[0]])
    assert superpixels(images[0], SuperpixelParameters(min_size=480)).max() == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"low1": 0.7}, "low1 must not exceed high1"),
        ({"high2": 0.05}, "low2 must not exceed high2"),
        ({"negative_weight": -1.0}, "negative_weight must be 0 or more"),
        ({"error": float("nan")}, "error must be 0 or more"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"momentum": 1.0}, "momentum must be in"),
        ({"min_iterations": 300}, "min_iterations must be in 1 .. iterations"),
        ({"channels": 0}, "channels must be at least 1"),
    ],
)
def test_parameters_outside_their_range(wrong, said):
    """Breaks when a wrong value is found out only as a strange mask."""
    with pytest.raises(ValueError, match=said):
        SgrmParameters(**wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scale": 0.0}, "scale must be"),
        ({"sigma": -1.0}, "sigma must be 0 or more"),
        ({"min_size": 0}, "min_size must be"),
    ],
)
def test_superpixel_parameters_outside_their_range(wrong, said):
    """Breaks when a wrong value is found out only by the segmentation."""
    with pytest.raises(ValueError, match=said):
        SuperpixelParameters(**wrong)


@both_ways
def test_inputs_that_do_not_fit(run):
    """Breaks when a wrong axis is broadcast in silence."""
    images, inside = two_colors(2)
    maps, parts = hills(inside), parts_of(images)
    with pytest.raises(ValueError, match="maps must be"):
        run(images, maps[0], parts, [0, 1], SMALL)
    for wrong in ((images[:1], parts, [0, 1]), (images, parts[:, 1:], [0, 1]), (images, parts, [0])):
        with pytest.raises(ValueError, match="of the same images and size"):
            run(wrong[0], maps, wrong[1], wrong[2], SMALL)
