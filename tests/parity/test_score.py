"""The command `weakbox score` on the fixtures of the standard evaluator, through files as others would write them."""

import json

import cv2
import numpy as np
import pytest

from jobs.cli import main


def decode(maps: np.ndarray) -> np.ndarray:
    return np.where(maps == 0, 0.0, np.where(maps == 255, 1.0, (maps + 0.5) / 255))


def save_maps(folder, maps: np.ndarray) -> list[str]:
    ids = [f"images/{index}.jpg" for index in range(len(maps))]
    (folder / "images").mkdir(parents=True)
    for image_id, score_map in zip(ids, maps, strict=True):
        np.save(folder / f"{image_id}.npy", score_map)
    return ids


def save_metadata(folder, ids, sizes, localization) -> None:
    folder.mkdir()
    for name, rows in {
        "image_ids": [[image_id] for image_id in ids],
        "class_labels": [[image_id, 0] for image_id in ids],
        "image_sizes": [[image_id, *size] for image_id, size in zip(ids, sizes, strict=True)],
        "localization": localization,
    }.items():
        (folder / f"{name}.txt").write_text("".join(",".join(map(str, row)) + "\n" for row in rows))


def scored(*arguments: str, out) -> list[dict]:
    with pytest.raises(SystemExit) as ended:
        main(["score", *arguments, "--json", str(out)])
    assert ended.value.code == 0
    return json.loads(out.read_text())


@pytest.mark.golden("eval_boxes")
def test_max_box_acc(golden, tmp_path):
    """Breaks when files change what the evaluator sees: another dtype, threshold grid or maximum."""
    arrays = golden.arrays
    ids = save_maps(tmp_path / "maps", decode(arrays["scoremap_u8"]))
    owners = np.repeat(np.arange(len(ids)), arrays["gt_count"])
    boxes = [[ids[owner], *box] for owner, box in zip(owners, arrays["gt_boxes"].tolist(), strict=True)]
    save_metadata(tmp_path / "test", ids, arrays["image_sizes_wh"].tolist(), boxes)
    arguments = ("--maps", str(tmp_path / "maps"), "--metadata", str(tmp_path / "test"))
    rows = {row["metric"]: row for row in scored(*arguments, out=tmp_path / "rows.json") if row["method"] == "maps"}
    atol = golden.tolerance("acc")
    assert rows["max_box_acc"]["value"] == pytest.approx(float(arrays["acc_percent_single"][1]), abs=atol)
    assert rows["max_box_acc_v2"]["value"] == pytest.approx(float(arrays["acc_percent_multi"].mean()), abs=atol)
    assert rows["gt_known"]["value"] == rows["max_box_acc"]["value"], "the boxes of the best threshold"


@pytest.mark.golden("eval_masks")
def test_pxap(golden, tmp_path):
    """Breaks when masks lose pixels on their way through PNG files, or ignored regions are not found."""
    arrays = golden.arrays
    ids = save_maps(tmp_path / "maps", decode(arrays["scoremap_u8"]))
    streams = np.split(arrays["src_mask_bits"], np.cumsum(arrays["src_mask_bytes"])[:-1])
    localization: list[list[str]] = []
    (tmp_path / "masks").mkdir()
    for index, (stream, (number, height, width)) in enumerate(zip(streams, arrays["src_nmask_h_w"], strict=True)):
        masks = np.unpackbits(stream)[: (number + 1) * height * width].reshape(number + 1, height, width)
        names = [f"{index}_{instance}.png" for instance in range(number + 1)]
        for name, mask in zip(names, masks, strict=True):
            cv2.imwrite(str(tmp_path / "masks" / name), mask * 255)
        localization += [[ids[index], name, names[-1]] for name in names[:-1]]
    save_metadata(tmp_path / "test", ids, [(10, 10)] * len(ids), localization)
    folders = {"--maps": tmp_path / "maps", "--metadata": tmp_path / "test", "--masks": tmp_path / "masks"}
    arguments = [text for option, folder in folders.items() for text in (option, str(folder))]
    (row,) = scored(*arguments, out=tmp_path / "rows.json")
    assert (row["metric"], row["protocol"], row["n"]) == ("pxap", "wsolevaluation", len(ids))
    assert row["value"] == pytest.approx(float(arrays["pxap_001"]), abs=golden.tolerance("pxap"))
