"""Small copies of what the standard evaluator keeps: metadata/<data set>/<split>/*.txt and the files that they name.

Names, labels, boxes and the missing line end at the end of a file are those of the original.
"""

from collections.abc import Mapping
from pathlib import Path

Texts = Mapping[str, str]

ILSVRC: Texts = {
    "train/image_ids.txt": "train/n01440764/n01440764_10026.JPEG\ntrain/n01443537/n01443537_10007.JPEG\n"
    "train/n01440764/n01440764_10027.JPEG",
    "train/class_labels.txt": "train/n01440764/n01440764_10026.JPEG,0\ntrain/n01443537/n01443537_10007.JPEG,1\n"
    "train/n01440764/n01440764_10027.JPEG,0",
    "train/image_ids_proxy.txt": "train/n01440764/n01440764_10026.JPEG",
    "train/image_sizes.txt": "",
    "train/localization.txt": "",
    "val/image_ids.txt": "val2/0/0.jpeg\nval2/1/8.jpeg",
    "val/class_labels.txt": "val2/0/0.jpeg,0\nval2/1/8.jpeg,1",
    "val/image_sizes.txt": "val2/0/0.jpeg,500,375\nval2/1/8.jpeg,500,375",
    "val/localization.txt": "val2/0/0.jpeg,156,163,318,230\nval2/1/8.jpeg,28,94,485,303",
    "val/mapping.txt": "0/0.jpeg, 0/a31041fd31109279f69ba5827fe508eee00abd75.jpeg\n",
    "test/image_ids.txt": "val/ILSVRC2012_val_00000001.JPEG\nval/ILSVRC2012_val_00000002.JPEG",
    "test/class_labels.txt": "val/ILSVRC2012_val_00000001.JPEG,1\nval/ILSVRC2012_val_00000002.JPEG,0",
    "test/image_sizes.txt": "val/ILSVRC2012_val_00000001.JPEG,500,375\nval/ILSVRC2012_val_00000002.JPEG,500,375",
    "test/localization.txt": "val/ILSVRC2012_val_00000001.JPEG,111,108,441,193\n"
    "val/ILSVRC2012_val_00000002.JPEG,45,49,499,162\nval/ILSVRC2012_val_00000002.JPEG,2,69,437,207",
}
OPENIMAGES: Texts = {
    "train/image_ids.txt": "train/01226z/ed9d2feb6d44cff3.jpg\ntrain/0138tl/d762413ad905af7f.jpg",
    "train/class_labels.txt": "train/01226z/ed9d2feb6d44cff3.jpg,0\ntrain/0138tl/d762413ad905af7f.jpg,1",
    "test/image_ids.txt": "test/01226z/7af766bd43da900b.jpg\ntest/0138tl/973645e9516726b3.jpg",
    "test/class_labels.txt": "test/01226z/7af766bd43da900b.jpg,0\ntest/0138tl/973645e9516726b3.jpg,1",
    "test/image_sizes.txt": "",
    "test/localization.txt": "test/01226z/7af766bd43da900b.jpg,test/01226z/7af766bd43da900b_m01226z_6554d965.png,"
    "test/01226z/7af766bd43da900b_ignore.png\n"
    "test/01226z/7af766bd43da900b.jpg,test/01226z/7af766bd43da900b_m01226z_8856c605.png,\n"
    "test/0138tl/973645e9516726b3.jpg,test/0138tl/973645e9516726b3_m0138tl_9ad378d4.png,",
}


def ids(texts: Texts, *splits: str) -> list[str]:
    """The image ids of some splits, or of all."""
    named = [text for path, text in texts.items() if path.endswith("image_ids.txt")]
    some = [texts[f"{split}/image_ids.txt"] for split in splits]
    return [line for text in (some or named) for line in text.splitlines()]


def masks(texts: Texts) -> list[str]:
    """The paths of all masks and ignored regions."""
    lines = [line for path, text in texts.items() if path.endswith("localization.txt") for line in text.splitlines()]
    return sorted({name for line in lines for name in line.split(",")[1:] if name.endswith(".png")})


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Write texts below a folder."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def touch(folder: Path, paths: list[str]) -> Path:
    """Write files that a scan never opens."""
    return write(folder, dict.fromkeys(paths, "x"))


def cut(folder: Path, cut_to: Path, kept_ids: set[str]) -> Path:
    """The metadata of a split with the rows of some images alone."""
    cut_to.mkdir(parents=True)
    for path in folder.glob("*.txt"):
        kept = [line for line in path.read_text().splitlines() if line.split(",")[0] in kept_ids]
        (cut_to / path.name).write_text("\n".join(kept))
    return cut_to
