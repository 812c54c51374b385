"""The standard evaluator's fixtures in a run, by stage `import`: what `weakbox score` says of them, to the bit."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from jobs.results import metric_rows
from tests import runs
from tests.parity.test_score import decode, save_maps, save_metadata, scored

NAME = "Golden"


def counted(root: Path, reader: str, maps: Path, **more: Any) -> dict[tuple[str, float | None], float]:
    """(metric, IoU) -> value, of a run that imports the maps, sweeps and evaluates them."""
    stages = {
        "theirs": {"stage": "import", "maps": str(maps), **more},
        "sweep": {"maps": "theirs"},
        "evaluate": {"counts": ["sweep"], "splits": ["test"]},
    }
    dataset = {"reader": reader, "root": str(root), "metadata": f"metadata/{NAME}", "dev_fraction": 0}
    target = runs.target_of({"run_root": str(root.parent / "run"), "dataset": dataset, "stages": stages})
    runs.execute(target)
    return by_metric(metric_rows(target), "theirs")


def by_metric(rows: list[dict[str, Any]], method: str) -> dict[tuple[str, float | None], float]:
    return {(row["metric"], row["iou"]): row["value"] for row in rows if row["method"] == method}


def save_images(root: Path, ids: list[str], sizes: np.ndarray) -> None:
    for image_id, (width, height) in zip(ids, sizes.tolist(), strict=True):
        path = root / "dataset" / NAME / image_id
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (width, height)).save(path)


@pytest.mark.golden("eval_boxes")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_boxes_of_imported_maps(golden, tmp_path, dtype):
    """Breaks when an imported map is enlarged, stretched or rounded before it is cut."""
    arrays, root = golden.arrays, tmp_path / "data"
    ids = save_maps(tmp_path / "maps", decode(arrays["scoremap_u8"]).astype(dtype))
    owners = np.repeat(np.arange(len(ids)), arrays["gt_count"])
    boxes = [[ids[owner], *box] for owner, box in zip(owners, arrays["gt_boxes"].tolist(), strict=True)]
    save_images(root, ids, arrays["image_sizes_wh"])
    metadata = root / "metadata" / NAME / "test"
    metadata.parent.mkdir(parents=True)
    save_metadata(metadata, ids, arrays["image_sizes_wh"].tolist(), boxes)
    arguments = ("--maps", str(tmp_path / "maps"), "--metadata", str(metadata), "--method", "theirs")
    said = by_metric(scored(*arguments, out=tmp_path / "rows.json"), "theirs")
    found = counted(root, "wsol", tmp_path / "maps")
    assert {key: value for key, value in said.items() if key[0].startswith("max_box")} == found
    assert found["max_box_acc", 0.5] == pytest.approx(
        float(arrays["acc_percent_single"][1]), abs=golden.tolerance("acc")
    )
    stretched = counted(root, "wsol", tmp_path / "maps", frame="min_max")
    assert stretched != found, "some of these maps do not reach 0 and 1"


@pytest.mark.golden("eval_masks")
def test_pixels_of_imported_maps(golden, tmp_path):
    """Breaks when instances, or regions that are not scored, count otherwise in a run than for `weakbox score`."""
    arrays, root = golden.arrays, tmp_path / "data"
    ids = save_maps(tmp_path / "maps", decode(arrays["scoremap_u8"]))
    streams = np.split(arrays["src_mask_bits"], np.cumsum(arrays["src_mask_bytes"])[:-1])
    localization: list[list[str]] = []
    for index, (stream, (number, height, width)) in enumerate(zip(streams, arrays["src_nmask_h_w"], strict=True)):
        masks = np.unpackbits(stream)[: (number + 1) * height * width].reshape(number + 1, height, width)
        names = [f"{index}_{instance}.png" for instance in range(number + 1)]
        for name, mask in zip(names, masks, strict=True):
            path = root / "dataset" / NAME / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), mask * 255)
        localization += [[ids[index], name, names[-1]] for name in names[:-1]]
    sizes = arrays["src_nmask_h_w"][:, :0:-1]
    save_images(root, ids, sizes)
    metadata = root / "metadata" / NAME / "test"
    metadata.parent.mkdir(parents=True)
    save_metadata(metadata, ids, sizes.tolist(), localization)
    folders = {"--maps": tmp_path / "maps", "--metadata": metadata, "--masks": root / "dataset" / NAME}
    arguments = [text for option, folder in folders.items() for text in (option, str(folder))]
    said = by_metric(scored(*arguments, "--method", "theirs", out=tmp_path / "rows.json"), "theirs")
    found = counted(root, "openimages", tmp_path / "maps")
    assert found == {key: value for key, value in said.items() if key[0] in ("pxap", "peak_iou")} != {}
