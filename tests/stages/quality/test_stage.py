"""Quality, consensus, and what reads them, in a run of the real stages on demo images: val and test have boxes."""

import logging
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.base.errors import UsageError
from stages.ingest.demo import compose
from stages.quality.signals import SIGNALS
from stages.vision.boxes import iou
from tests import runs

TRAIN, HELD_OUT = 20, 80
MADE = ["one", "two"]
SOURCES = [*MADE, "boxes_cam"]
CORNERS = ("x0", "y0", "x1", "y1")
CHAIN: dict[str, Any] = {
    "classify": {"epochs": 1, "batch_size": 16},
    "classes": {"stage": "localize", "model": "classify", "splits": ["train", "val", "test"]},
    "cam": {},
    "boxes_cam": {"stage": "boxes", "maps": "cam", "threshold": 0.4},
    "quality": {"labels": SOURCES, "classes": "classes"},
    "consensus": {"labels": SOURCES},
    "weighted": {"stage": "consensus", "labels": MADE, "rule": "weighted"},
    "weighted_with_noise": {"stage": "consensus", "labels": ["boxes_cam", "one"], "rule": "weighted"},
    "good": {"stage": "consensus", "labels": ["one"], "min_quality": 0.6},
    "psol": {"labels": "consensus", "epochs": 1, "batch_size": 16, "quality": "quality", "min_quality": 0.6},
    "evaluate": {"labels": [*SOURCES, "consensus", "weighted"], "classes": "classes", "splits": ["test"]},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Eighty demo images with boxes, half of them in val and half in test, and training images without any.

    Beside them two sources of boxes: of most images the true one, a little moved, of the others one of nowhere; a wrong
    box has a low score more often than a right one.
    """
    root: Path = tmp_path_factory.mktemp("quality")
    compose(root / "data", train=TRAIN, test=HELD_OUT)
    images = root / "data"
    shutil.rmtree(images / "masks")
    for path in sorted((images / "test").glob("*/*.jpg"))[::2]:
        moved = images / "val" / path.relative_to(images / "test")
        moved.parent.mkdir(parents=True, exist_ok=True)
        path.rename(moved)
    boxes: dict[str, list[float]] = {}

    def held_out(line: dict[str, str]) -> list[dict[str, str]]:
        moved = line["image_id"].replace("test/", "val/")
        name = moved if (images / moved).exists() else line["image_id"]
        boxes[name] = [float(line[side]) for side in CORNERS]
        return [] if name.startswith("train/") else [{**line, "image_id": name}]

    runs.rewrite_boxes(images, held_out)
    random = np.random.default_rng(0)
    for source in MADE:
        lines = ["image_id,x0,y0,x1,y1,score"]
        for name, box in boxes.items():
            right = random.random() < 0.65
            found = (
                np.array(box) + random.uniform(-2, 2, 4) if right else np.sort(random.uniform(0, 64, (2, 2)), 0).ravel()
            )
            low, high = np.minimum(found[:2], found[2:]), np.maximum(found[:2], found[2:])
            numbers = [*low, *(high + 1), random.beta(2 + 2 * right, 2)]
            lines.append(",".join([name, *(f"{number:.3f}" for number in numbers)]))
        (root / f"{source}.csv").write_text("\n".join(lines))
    return root


def made(data: Path, root: Path, **changed: dict[str, Any]) -> Any:
    dataset = {"reader": "folder", "root": str(data / "data"), "dev_fraction": 0, "shard_size": 10}
    given = {source: {"stage": "import", "boxes": str(data / f"{source}.csv")} for source in MADE}
    return runs.target_of({"run_root": str(root), "dataset": dataset, "stages": {**given, **CHAIN, **changed}})


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    target = made(data, tmp_path_factory.mktemp("chain") / "run")
    runs.execute(target)
    return target


def by_image(target: Any, stage: str, table: str = "pseudo_labels") -> dict[str, dict[str, Any]]:
    return {row["image_id"]: row for row in runs.rows(target, stage, table)}


def qualities(target: Any) -> dict[tuple[str, str], Any]:
    return {(row["image_id"], row["source"]): row["quality"] for row in runs.rows(target, "quality", "qualities")}


def test_every_box_of_every_source_has_signals_and_a_quality(finished):
    """Breaks when an image or a source is forgotten, or quality is no chance."""
    rows = runs.rows(finished, "quality", "qualities")
    images = runs.images(finished)
    assert {(row["image_id"], row["source"]) for row in rows} == {(name, own) for name in images for own in SOURCES}
    assert all(0 <= row["quality"] <= 1 for row in rows)
    assert all(row["confidence"] is not None and row["split"] == images[row["image_id"]]["split"] for row in rows)
    assert not [name for name in SIGNALS if all(row[name] is None for row in rows if row["source"] == "one")][4:]


def test_the_fit_is_of_val_alone_and_its_numbers_are_those_of_the_tables(finished):
    """Breaks when test or train is fitted to, or what the table says is of other boxes; oracle: IoU of each box."""
    fits = {row["source"]: row for row in runs.rows(finished, "quality", "quality_fits")}
    val = runs.images(finished, "val")
    for source, row in fits.items():
        found = by_image(finished, source)
        right = {}
        for image_id, image in val.items():
            box = [found[image_id]["boxes"][0][side] for side in CORNERS]
            true = [[box[side] for side in CORNERS] for box in image["gt_boxes"]]
            right[image_id] = iou(box, true).max() >= 0.5
        assert (row["split"], row["images"]) == ("val", len(val))
        assert row["right"] == pytest.approx(100 * np.mean(list(right.values())))
        quality = qualities(finished)
        order = sorted(val, key=lambda name: -quality[name, source])
        assert row["better"] == pytest.approx(100 * np.mean([right[name] for name in order[: (len(val) + 1) // 2]]))


def test_consensus_is_the_source_of_the_highest_quality(finished):
    """Breaks when another row is taken, or a mask of another source; oracle: the tables themselves."""
    quality, sources = qualities(finished), {source: by_image(finished, source) for source in SOURCES}
    rows = by_image(finished, "consensus")
    assert set(rows) == set(runs.images(finished))
    assert {row["chosen"] for row in rows.values()} == set(MADE), "boxes of an untaught network are taken"
    for image_id, row in rows.items():
        best = max(MADE, key=lambda source: quality[image_id, source])
        origin = sources[best][image_id]
        assert (row["chosen"], row["quality"]) == (best, quality[image_id, best])
        assert (row["method"], row["source"]) == ("consensus", "consensus")
        same = set(origin) - {"method", "source", "chosen", "quality"}
        assert {name: row[name] for name in same} == {name: origin[name] for name in same}


def test_the_weighted_mean_lies_between_the_boxes(finished):
    """Breaks when boxes are fused in another frame; where they overlap, each corner lies between those of the two."""
    sources = [by_image(finished, source) for source in MADE]
    fused = 0
    for image_id, row in by_image(finished, "weighted").items():
        (box,) = row["boxes"]
        own = [[found[image_id]["boxes"][0][side] for side in CORNERS] for found in sources]
        assert row["masks"] is None
        if iou(*own).item() > 0.6:
            fused += 1
            low, high = np.min(own, axis=0), np.max(own, axis=0)
            assert all(low[n] - 0.01 <= box[side] <= high[n] + 0.01 for n, side in enumerate(CORNERS))
    assert fused


def test_boxes_without_information_enter_no_mean(finished):
    """Breaks when a source that the gate condemned moves another one's box; oracle: that one's box alone."""
    one, noise = by_image(finished, "one"), by_image(finished, "boxes_cam")
    flags = {(row["image_id"], row["source"]): row["flag"] for row in runs.rows(finished, "quality", "qualities")}
    alone = 0
    for image_id, row in by_image(finished, "weighted_with_noise").items():
        if flags[image_id, "boxes_cam"] and not flags[image_id, "one"] and noise[image_id]["boxes"]:
            (box,), (own,) = row["boxes"], one[image_id]["boxes"]
            assert [box[side] for side in CORNERS] == pytest.approx([own[side] for side in CORNERS], abs=0.01)
            alone += 1
    assert alone


def test_a_source_that_says_nothing_is_flagged_and_the_verdict_names_it(finished):
    """Breaks when boxes of an untaught network are judged as others are."""
    rows = runs.rows(finished, "quality", "qualities")
    assert {row["flag"] for row in rows if row["source"] in MADE} == {None}
    assert "no_information" in {row["flag"] for row in rows if row["source"] == "boxes_cam"}
    verdicts = {(row["check"], row["source"]): row for row in runs.rows(finished, "quality", "verdicts")}
    assert verdicts["classifier", None]["level"] == "bad"
    assert verdicts["agreement", "one"]["level"] == "good"
    numbers = {(row["metric"], row["source"]): row for row in runs.rows(finished, "quality", "metrics")}
    for (check, source), row in verdicts.items():
        number = numbers[f"verdict_{check}", source]
        assert (number["value"], number["n"], number["protocol"]) == (row["value"], row["n"], "none")


def test_low_quality_is_a_flag(finished):
    """Breaks when boxes of low quality vanish, or are delivered as others are."""
    quality = qualities(finished)
    rows = by_image(finished, "good")
    low = {name for name in rows if quality[name, "one"] < np.float32(0.6)}
    assert 0 < len(low) < len(rows)
    plain = by_image(finished, "boxes_cam")
    assert all(
        row["flag"] == (plain[name]["flag"] or ("low_quality" if name in low else None)) for name, row in rows.items()
    )


def test_a_regressor_is_trained_on_good_boxes_by_their_quality(finished):
    """Breaks when psol ignores min_quality."""
    rows = by_image(finished, "consensus").values()
    kept = [row for row in rows if row["split"] == "train" and not row["flag"] and row["quality"] >= np.float32(0.6)]
    (training,) = runs.rows(finished, "psol", "training")
    assert training["images"] == len(kept)


def test_without_boxes_quality_is_unknown_and_the_run_says_what_thirty_would_buy(data, tmp_path, finished, caplog):
    """Breaks when a quality is made up without truth; a consensus then is its first source."""
    root = tmp_path / "run"
    shutil.copytree(finished.config.run_root, root)
    other = {"quality": {**CHAIN["quality"], "min_boxed": HELD_OUT}}
    target = made(data, root, **other, psol={**CHAIN["psol"], "quality": "none", "min_quality": None})
    with caplog.at_level(logging.INFO):
        runs.execute(target)
    assert set(qualities(target).values()) == {None}
    assert {row["chosen"] for row in by_image(target, "consensus").values()} == {"one"}
    assert {row["flag"] for row in by_image(target, "good").values()} == {"low_quality"}
    said = [record.getMessage() for record in caplog.records if "unknown" in record.getMessage()]
    assert len(said) == len(SOURCES)
    assert "40 images of val have a true box, and 80 are needed" in said[0]


def test_quality_weights_need_qualities(data, tmp_path, finished):
    """Breaks when a regressor is trained by weights that nothing is known of."""
    root = tmp_path / "run"
    shutil.copytree(finished.config.run_root, root)
    target = made(data, root, psol={**CHAIN["psol"], "labels": "one", "min_quality": None})
    with pytest.raises(UsageError, match="of one as weight: none is known; a consensus has some"):
        runs.execute(target)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no label": ({"quality": {"labels": []}}, "stage quality: labels names no stage of pseudo boxes"),
    "a source twice": (
        {"consensus": {"labels": ["one", "one"]}},
        "stage consensus: labels names a stage twice",
    ),
    "a source that is not judged": (
        {"quality": {"labels": ["one"]}},
        "stage consensus: quality judges one, not two: add it to the labels of quality",
    ),
    "a chance above one": ({"consensus": {"labels": SOURCES, "min_quality": 2}}, "min_quality must be at most 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_before_anything_runs(case, data, tmp_path):
    """Breaks when a mistake shows only after the first stages were computed."""
    changed, said = REFUSED[case]
    with pytest.raises(UsageError, match=said):
        runs.execute(made(data, tmp_path / "run", **changed))
    assert not (tmp_path / "run" / "ingest").exists()


def test_the_same_run_gives_the_same_bytes(finished, data, tmp_path):
    """Breaks when the fit hangs on order or time."""
    root = tmp_path / "run"
    shutil.copytree(finished.config.run_root, root)
    shutil.rmtree(root / "quality")
    again = made(data, root)
    runs.execute(again, only="quality")
    (old,), (new,) = runs.dones(finished, "quality"), runs.dones(again, "quality")
    assert {name: entry.sha256 for name, entry in old.tables.items()} == {
        name: entry.sha256 for name, entry in new.tables.items()
    }
    assert not math.isnan(sum(row["quality"] for row in runs.rows(again, "quality", "qualities")))
