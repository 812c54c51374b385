"""The commands `score` and `baselines` on three images whose numbers can be counted by hand."""

import json

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.scoring.cuts.quantized import quantize
from stages.scoring.foreign.map_folder import MapFolder

IDS = ("a/one.jpg", "a/two.jpg", "b/three.jpg")
SIZES = ((224, 224), (448, 224), (224, 224))
# Inclusive corners, as the files have them: half-open (40, 60, 100, 120) and so on.
BOXES = ((40, 60, 99, 119), (80, 20, 399, 199), (100, 100, 199, 199))
LABELS = (3, 5, 3)


@pytest.fixture
def metadata(tmp_path):
    folder = tmp_path / "SET" / "test"
    folder.mkdir(parents=True)
    write(folder, "image_ids", [[image_id] for image_id in IDS])
    write(folder, "class_labels", [[image_id, label] for image_id, label in zip(IDS, LABELS, strict=True)])
    write(folder, "image_sizes", [[image_id, *size] for image_id, size in zip(IDS, SIZES, strict=True)])
    write(folder, "localization", [[image_id, *box] for image_id, box in zip(IDS, BOXES, strict=True)])
    return folder


def write(folder, name, rows) -> None:
    (folder / f"{name}.txt").write_text("".join(",".join(map(str, row)) + "\n" for row in rows))


@pytest.fixture
def maps(tmp_path):
    """Maps that are one inside the box in the frame of 224 x 224 and zero outside."""
    for image_id, (width, height), (x0, y0, x1, y1) in zip(IDS, SIZES, BOXES, strict=True):
        score_map = np.zeros((224, 224), np.float32)
        x, y = 224 / width, 224 / height
        score_map[int(y0 * y) : int(y1 * y) + 1, int(x0 * x) : int(x1 * x) + 1] = 1
        save(tmp_path / "maps", image_id, score_map)
    return tmp_path / "maps"


def save(folder, image_id, score_map) -> None:
    path = folder / f"{image_id}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, score_map)


def rows_of(answer, **wanted):
    code, out, err = answer
    assert code == 0, err
    return [row for row in json.loads(out) if wanted.items() <= row.items()]


def value(answer, **wanted):
    (row,) = rows_of(answer, **wanted)
    return row["value"]


def test_perfect_maps_score_100(weakbox, metadata, maps):
    """Breaks when a map's box and the ground truth are compared in two frames, or rows lack a column."""
    answer = weakbox("score", "--maps", str(maps), "--metadata", str(metadata), "--json", "-")
    for metric in ("max_box_acc", "max_box_acc_v2"):
        assert value(answer, method="maps", metric=metric) == 100
    assert value(answer, method="maps", metric="gt_known", iou=0.5) == 100
    assert value(answer, method="maps", metric="gt_delta", iou=0.9) == 100
    (row, *_) = rows_of(answer)
    assert row.keys() == {
        "run", "dataset", "split", "method", "source", "seed", "metric", "iou", "protocol", "threshold",
        "threshold_choice", "value", "n", "ci_low", "ci_high",
    }  # fmt: skip
    assert (row["dataset"], row["split"], row["n"]) == ("SET", "test", 3)
    methods = {row["method"] for row in rows_of(answer)}
    assert methods == {"maps", "whole_image", "centred_square", "centred_gaussian"}
    assert {row["protocol"] for row in rows_of(answer) if row["iou"]} == {"wsolevaluation"}
    assert not rows_of(answer, metric="top1_loc"), "no classes were given"


@pytest.mark.parametrize("protocol", ["original", "psol", "first_box"])
def test_perfect_maps_score_100_under_every_protocol(weakbox, metadata, maps, protocol):
    """Breaks when a protocol's frame is applied to the truth alone."""
    arguments = ("--maps", str(maps), "--metadata", str(metadata), "--protocol", protocol)
    answer = weakbox("score", *arguments, "--json", "-")
    assert value(answer, method="maps", metric="max_box_acc") == 100
    assert not rows_of(answer, method="maps", metric="max_box_acc_v2")
    assert {row["protocol"] for row in rows_of(answer, method="maps") if row["iou"]} == {protocol}


def test_classes_give_top_k_rows_and_errors(weakbox, metadata, maps, tmp_path):
    """Breaks when ranks and boxes of different images are joined; errors must sum to the top1_loc error."""
    path = tmp_path / "classes.csv"
    path.write_text("image_id,class1,class2\nb/three.jpg,3,1\na/one.jpg,7,3\na/two.jpg,1,2\n")
    answer = weakbox("score", "--maps", str(maps), "--metadata", str(metadata), "--classes", str(path), "--json", "-")
    assert value(answer, metric="cls_top1") == pytest.approx(100 / 3)
    assert value(answer, metric="cls_top5") == pytest.approx(200 / 3)
    assert value(answer, method="maps", metric="top1_loc") == pytest.approx(100 / 3)
    assert value(answer, method="maps", metric="top5_loc") == pytest.approx(200 / 3)
    errors = [row["value"] for row in rows_of(answer, method="maps") if row["metric"].startswith("err_")]
    assert len(errors) == 5
    assert sum(errors) == pytest.approx(200 / 3)


def test_a_fixed_threshold_is_kept(weakbox, metadata, maps):
    """Breaks when --threshold is ignored, or its rows are still called oracle."""
    save(maps, IDS[0], np.where(np.load(maps / f"{IDS[0]}.npy") > 0, 1, 0.5).astype(np.float32))
    arguments = ("--maps", str(maps), "--metadata", str(metadata), "--threshold", "0.4", "--json", "-")
    answer = weakbox("score", *arguments)
    (row,) = rows_of(answer, method="maps", metric="gt_known")
    assert (row["threshold"], row["threshold_choice"]) == (0.4, "fixed")
    assert row["value"] == pytest.approx(200 / 3)
    assert value(answer, method="maps", metric="max_box_acc") == 100


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_boxes_of_a_file(weakbox, metadata, tmp_path, suffix):
    """Breaks when the best score does not win, or an image without a box is dropped instead of counted as wrong."""
    columns = {
        "image_id": [IDS[0], IDS[0], IDS[2]],
        "x0": [0.0, 40.0, 100.0],
        "y0": [0.0, 60.0, 100.0],
        "x1": [10.0, 100.0, 200.0],
        "y1": [10.0, 120.0, 200.0],
        "score": [0.1, 0.9, 0.5],
    }
    path = tmp_path / f"found{suffix}"
    if suffix == ".csv":
        lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
        path.write_text("\n".join(lines) + "\n")
    else:
        pq.write_table(pa.table(columns), path)
    answer = weakbox("score", "--boxes", str(path), "--metadata", str(metadata), "--json", "-")
    assert value(answer, method="found", metric="gt_known") == pytest.approx(200 / 3)
    assert "1 of 3 images have no box" in answer[2]
    (row,) = rows_of(answer, method="found", metric="gt_delta", iou=0.9)
    assert (row["protocol"], row["n"], row["threshold"]) == ("original", 3, None)


def test_masks_give_pixel_metrics(weakbox, metadata, maps, tmp_path):
    """Breaks when PxAP or Peak-IoU of perfect maps is not 100, or their rows lack a protocol."""
    for image_id in IDS:
        path = tmp_path / "masks" / image_id.replace(".jpg", ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), (np.load(maps / f"{image_id}.npy") * 255).astype(np.uint8))
    arguments = ("--maps", str(maps), "--metadata", str(metadata), "--masks", str(tmp_path / "masks"), "--json", "-")
    answer = weakbox("score", *arguments)
    assert value(answer, metric="pxap") == pytest.approx(100)
    peaks = rows_of(answer, metric="peak_iou")
    assert {row["protocol"] for row in peaks} == {"pooled_ge", "pooled_gt", "per_image_ge", "per_image_gt"}
    assert all(row["value"] == pytest.approx(100) for row in peaks)
    assert all(0 <= row["value"] <= 255 for row in rows_of(answer, metric="peak_t"))


def test_maps_of_a_feature_grid_and_of_the_image_s_own_size(weakbox, metadata, maps, tmp_path):
    """Breaks when only 224 x 224 is understood, or a map that is not square is transposed."""
    for image_id, (width, height) in zip(IDS, SIZES, strict=True):
        score_map = np.load(maps / f"{image_id}.npy")
        save(tmp_path / "own", image_id, cv2.resize(score_map, (width, height), interpolation=cv2.INTER_NEAREST))
        save(tmp_path / "grid", image_id, 7 * cv2.resize(score_map, (28, 28), interpolation=cv2.INTER_AREA) - 3)
    for name in ("own", "grid"):
        answer = weakbox("score", "--maps", str(tmp_path / name), "--metadata", str(metadata), "--json", "-")
        assert value(answer, method=name, metric="max_box_acc") == 100


def rows_per_image(values) -> list[list[object]]:
    return [[image_id, *value] for image_id, value in zip(IDS, values, strict=True)]


def spoiled_map(good, what):
    """A map with one thing wrong."""
    if what == "nan":
        good[3, 3] = np.nan
    return {
        "nan": good,
        "shape": good[:100],
        "axes": good[None],
        "range": good * 2,
        "integers": np.ones((224, 224), np.uint8),
    }[what]


METADATA = {
    "no size": ("image_sizes", [[IDS[0], 10, 10]]),
    "two sizes": ("image_sizes", [*rows_per_image(SIZES), [IDS[0], 9, 9]]),
    "crossed box": ("localization", rows_per_image([(9, 9, 3, 20)] * 3)),
    "bare line": ("localization", [["no comma at all"]]),
    "half a label": ("class_labels", rows_per_image([(0.5,)] * 3)),
    "listed twice": ("image_ids", [[image_id] for image_id in (*IDS, IDS[2])]),
}


def spoil(metadata, maps, what) -> None:
    """Damage one input."""
    path = maps / f"{IDS[1]}.npy"
    if what in METADATA:
        write(metadata, *METADATA[what])
    elif what == "no file":
        (metadata / "class_labels.txt").unlink()
    elif what == "missing":
        path.unlink()
    elif what == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    elif what == "objects":
        np.save(path, np.array([{"a": 1}]), allow_pickle=True)
    else:
        np.save(path, spoiled_map(np.load(path), what))


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("nan", IDS[1]),
        ("shape", IDS[1]),
        ("axes", IDS[1]),
        ("range", IDS[1]),
        ("integers", IDS[1]),
        ("missing", IDS[1]),
        ("truncated", IDS[1]),
        ("objects", IDS[1]),
        ("no size", IDS[1]),
        ("crossed box", IDS[0]),
        ("no file", "class_labels.txt"),
        ("bare line", "no comma at all"),
        ("two sizes", IDS[0]),
        ("half a label", IDS[0]),
        ("listed twice", IDS[2]),
    ],
)
def test_bad_input_is_one_line_that_names_it(weakbox, metadata, maps, tmp_path, what, named):
    """Breaks when bad input gives a traceback, another exit code than 2, or leaves a file behind."""
    spoil(metadata, maps, what)
    target = tmp_path / "rows.json"
    code, out, err = weakbox("score", "--maps", str(maps), "--metadata", str(metadata), "--json", str(target))
    assert (code, out) == (2, "")
    assert not target.exists()
    lines = [line for line in err.splitlines() if line.startswith("weakbox: error")]
    assert len(lines) == 1
    assert named in lines[0]
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("image_id,x0,y0,x1,y1\nnobody.jpg,1,1,2,2\n", "nobody.jpg: an id without ground truth"),
        ("image_id,x0,y0,x1,y1\na/one.jpg,5,1,2,2\n", "a/one.jpg: box 5,1,2,2 has x1 < x0"),
        ("image_id,x0,y0,x1,y1\na/one.jpg,1,1,nan,2\n", "a/one.jpg: x1 is no number"),
        ("image_id,x0,y0,x1,y1\na/one.jpg,1,1,two,2\n", "column x1 holds string"),
        ("image_id,x0,y0,x1\na/one.jpg,1,1,2\n", "there is no column y1"),
        ("image_id,x0,y0,x1,y1\n", "there is no row"),
        (None, "there is no such file"),
    ],
)
def test_bad_boxes_are_one_line(weakbox, metadata, tmp_path, text, named):
    """Breaks when a bad row of a file is guessed at, or shown with a library's traceback."""
    path = tmp_path / "boxes.csv"
    if text is not None:
        path.write_text(text)
    code, out, err = weakbox("score", "--boxes", str(path), "--metadata", str(metadata))
    assert (code, out) == (2, "")
    assert named in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("image_id,class1\na/one.jpg,0.9\n", "a/one.jpg: class1 is 0.9, no class index"),
        ("image_id,class1\na/one.jpg,cat\n", "column class1 holds string"),
        ("image_id,class1\na/one.jpg,1\na/one.jpg,2\n", "a/one.jpg is listed twice"),
        ("image_id,label\na/one.jpg,1\n", "there is no column class1"),
    ],
)
def test_bad_classes_are_one_line(weakbox, metadata, maps, tmp_path, text, named):
    """Breaks when a class that is no index is cut down to one and counted."""
    path = tmp_path / "classes.csv"
    path.write_text(text)
    code, out, err = weakbox("score", "--maps", str(maps), "--metadata", str(metadata), "--classes", str(path))
    assert (code, out) == (2, "")
    assert named in err


def test_masks_are_read_as_grey(weakbox, metadata, maps, tmp_path):
    """Breaks when Peak-IoU counts the faint rim of a smoothed mask, or a coloured mask is empty."""
    for image_id in IDS:
        path = tmp_path / "masks" / image_id.replace(".jpg", ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        inside = np.load(maps / f"{image_id}.npy") > 0
        rim = cv2.dilate(inside.astype(np.uint8), np.ones((5, 5))) > 0
        picture = np.zeros((224, 224, 3), np.uint8)
        picture[rim], picture[inside] = (0, 60, 0), (0, 255, 0)
        cv2.imwrite(str(path), picture)
    arguments = ("--maps", str(maps), "--metadata", str(metadata), "--masks", str(tmp_path / "masks"), "--json", "-")
    answer = weakbox("score", *arguments)
    assert value(answer, metric="peak_iou", protocol="pooled_ge") == pytest.approx(100), "the rim is not above 128"
    assert 0 < value(answer, metric="pxap") < 100, "wsolevaluation takes everything that is not black"


def test_an_image_without_a_box_is_never_right(weakbox, metadata, tmp_path):
    """Breaks when the empty box of a missing row becomes a pixel of a protocol's frame and meets a tiny object."""
    write(metadata, "localization", [[image_id, 0, 0, 1, 1] for image_id in IDS])
    path = tmp_path / "boxes.csv"
    path.write_text("image_id,x0,y0,x1,y1\nb/three.jpg,100,100,200,200\n")
    arguments = ("--boxes", str(path), "--metadata", str(metadata), "--json", "-")
    for protocol in ("wsolevaluation", "original", "psol", "first_box"):
        answer = weakbox("score", *arguments, "--protocol", protocol)
        assert value(answer, method="boxes", metric="gt_delta", iou=0.3) == 0, protocol


def test_maps_are_quantised_in_their_own_precision(metadata, maps):
    """Breaks when float16 maps are widened first: half of the levels then come out one lower than in the reference."""
    levels = np.resize(np.arange(256), (224, 224))
    save(maps, IDS[0], (levels / 255).astype(np.float16))
    read = MapFolder(maps).read(IDS[0])
    np.testing.assert_array_equal(quantize(read), (np.load(maps / f"{IDS[0]}.npy") * 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "give either --maps or --boxes"),
        (("--maps", "m", "--boxes", "b"), "give either --maps or --boxes"),
        (("--boxes", "b", "--masks", "m"), "--masks and --threshold go with --maps"),
        (("--maps", "nowhere"), "there is no such folder"),
        (("--maps", "m", "--json", "nowhere/rows.json"), "no folder that can be written to"),
        (("--maps", "m", "--json", "/"), "no file that can be written to"),
        (("--maps", "m", "--protocol", "mine"), "mine"),
        (("--maps", "m", "--threshold", "1"), "1"),
    ],
)
def test_wrong_usage_is_one_line(weakbox, metadata, arguments, named):
    """Breaks when options that exclude each other are silently ignored."""
    code, out, err = weakbox("score", "--metadata", str(metadata), *arguments)
    assert (code, out) == (2, "")
    assert named in err
    assert len(err.strip().splitlines()) == 1


def test_an_id_may_not_lead_out_of_the_folder(weakbox, metadata, maps):
    """Breaks when a metadata file can make the command read any file."""
    for path in metadata.iterdir():
        path.write_text(path.read_text().replace(IDS[0], "../../outside.jpg"))
    code, _, err = weakbox("score", "--maps", str(maps), "--metadata", str(metadata))
    assert code == 2
    assert "leads out of the folder" in err


def test_baselines_print_and_give_json(weakbox, metadata):
    """Breaks when the table or the JSON lacks a row; first_box repeats original where no image has two boxes."""
    code, out, err = weakbox("baselines", "--metadata", str(metadata))
    assert code == 0, err
    assert len(out.strip().splitlines()) == 1 + 4 * 3
    code, out, _ = weakbox("baselines", "--metadata", str(metadata), "--json", "-")
    rows = json.loads(out)
    assert [tuple(row) for row in rows] == [("predictor", "protocol", "iou", "value")] * 12
    (whole,) = [r for r in rows if (r["predictor"], r["protocol"], r["iou"]) == ("whole_image", "original", 0.3)]
    assert whole["value"] == pytest.approx(100 / 3), "57,600 of 100,352 pixels; the others are far smaller"


def test_baselines_of_a_folder_that_is_none(weakbox, tmp_path):
    """Breaks when a missing file is a traceback."""
    code, _, err = weakbox("baselines", "--metadata", str(tmp_path / "nothing"))
    assert code == 2
    assert "image_ids.txt" in err
