import io
import json
import shutil
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.base.errors import UsageError
from pipeline.store.files import Files
from stages.ingest.readers.dataset_card import has_data, read_card
from stages.ingest.readers.huggingface import HuggingfaceParams, HuggingfaceReader
from stages.ingest.readers.parquet import ParquetReader
from tests import runs
from tests.stages.ingest.readers.reading import labelled, picture, read, recognised

ANIMALS = ["ant", "bee", "cat"]


@pytest.fixture(scope="module")
def hf(tmp_path_factory):
    """The package `datasets`, without a network and with a cache of its own."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
            patch.setenv(name, "1")
        patch.setenv("HF_HOME", str(cache))
        import datasets

        patch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
        datasets.disable_progress_bars()
        yield datasets


def scan(root, **more):
    return HuggingfaceReader(HuggingfaceParams(root=str(root), **more)).scan()


def animals(hf, numbers, name="{}.jpg", **more):
    """A data set of small pictures of animals."""
    features = hf.Features({"image": hf.Image(), "label": hf.ClassLabel(names=ANIMALS)})
    rows = [{"image": {"bytes": picture(i), "path": name and name.format(i)}, "label": i % 3} for i in numbers]
    return hf.Dataset.from_list(rows, features=features)


def known(data):
    """(class, pixels) of each row, as `datasets` reads them."""
    names = data.features["label"].names
    return [(names[row["label"]], row["image"].tobytes()) for row in data]


def seen(root, found, split):
    """The same of what the reader lists, in its order."""
    images = [image for image in found.images if image.split == split]
    return [(image.label_name, Image.open(io.BytesIO(read(root, image))).tobytes()) for image in images]


def export(hf, root):
    """A replica of a data set of the Hub, as push_to_hub lays it out: shards, a card with configs and features."""
    (root / "data").mkdir(parents=True)
    animals(hf, range(4)).to_parquet(root / "data" / "train-00000-of-00002.parquet")
    animals(hf, range(4, 7)).to_parquet(root / "data" / "train-00001-of-00002.parquet")
    animals(hf, range(7, 9)).to_parquet(root / "data" / "validation-00000-of-00001.parquet")
    animals(hf, range(9, 12)).to_parquet(root / "data" / "test-00000-of-00001.parquet")
    (root / "README.md").write_text("""---
license: mit
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': ant
          '1': bee
          '2': cat
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - split: validation
    path: data/validation-*
  - split: test
    path: data/test-*
---

# Animals
""")
    (root / ".gitattributes").write_text("*.parquet filter=lfs")
    return root


def test_an_export_is_what_the_package_reads(hf, tmp_path):
    """Breaks when a class, a split or the pixels of an image differ from what `datasets` reads of the same folder."""
    root = export(hf, tmp_path / "animals")
    data, found = hf.load_dataset(str(root)), scan(root)
    assert {split: seen(root, found, split) for split in ("train", "val", "test")} == {
        "train": known(data["train"]), "val": known(data["validation"]), "test": known(data["test"]),
    }  # fmt: skip
    assert found.classes == ANIMALS
    assert {image.image_id for image in found.images} == {f"{i}.jpg" for i in range(12)}
    assert found.left_out == ["1 files that are no images (1 .md)"]
    assert HuggingfaceReader(HuggingfaceParams()).displayed
    (root / "README.md").unlink()
    assert labelled(scan(root)) == labelled(found)


def test_a_remote_export_reads_the_same(hf, tmp_path):
    """Breaks when a card or a table in a bucket is opened as a local file."""
    root = export(hf, tmp_path / "animals")
    files = Files("memory://animals")
    for path in (path for path in root.rglob("*") if path.is_file()):
        files.put(str(path.relative_to(root)), path.read_bytes())
    local, remote = scan(root), scan("memory://animals")
    assert labelled(local) == labelled(remote)
    assert all(read("memory://animals", image) == picture(int(image.image_id[:-4])) for image in remote.images)
    assert recognised(HuggingfaceReader, "memory://animals") == recognised(HuggingfaceReader, root)


def test_classes_of_the_card_where_tables_do_not_say(hf, tmp_path):
    """Breaks when tables that another program wrote have numbers for classes, although the card names them."""
    root = export(hf, tmp_path / "animals")
    for path in root.rglob("*.parquet"):
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    assert scan(root).classes == ANIMALS
    assert recognised(HuggingfaceReader, root) == ("data/test-00000-of-00001.parquet with README.md", "")
    assert recognised(ParquetReader, root) is None


def test_configs_and_splits_of_the_card(hf, tmp_path):
    """Breaks when the files of all configs are mixed, or tables of other splits vanish in silence."""
    root = tmp_path / "in"
    for number, name in enumerate(("a/train", "a/unlabeled", "b/x")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        animals(hf, [number]).to_parquet(root / f"{name}.parquet")
    head = (
        "---\nconfigs:\n- config_name: a\n  data_files:\n  - {split: train, path: a/train.parquet}\n"
        "  - {split: unlabeled, path: [a/unlab*]}\n- config_name: b\n  data_files: 'b/*.parquet'\n"
    )
    (root / "README.md").write_text(head + "---\n")
    with pytest.raises(UsageError, match="README.md: configs a, b: set `config` to one"):
        scan(root)
    with pytest.raises(UsageError, match="README.md: there is no config 'c' among a, b"):
        scan(root, config="c")
    assert labelled(scan(root, config="b")) == {"2.jpg": ("cat", "train")}
    found = scan(root, config="a")
    assert labelled(found) == {"0.jpg": ("ant", "train")}
    assert "2 tables that config 'a' does not name as train, validation or test" in found.left_out
    (root / "README.md").write_text(head + "  default: true\n---\n")
    assert labelled(scan(root)) == {"2.jpg": ("cat", "train")}


def test_objects_are_read_as_the_package_writes_them(hf, tmp_path):
    """Breaks when one of the two forms of objects is not read, or a box [x, y, width, height] is taken for corners."""
    box = hf.Sequence(hf.Value("float32"), length=4)
    kinds = {
        "columns": hf.Sequence({"bbox": box, "category": hf.ClassLabel(names=ANIMALS)}),
        "objects": hf.List({"bbox": box, "category": hf.ClassLabel(names=ANIMALS)}),
    }
    for name, kind in kinds.items():
        features = hf.Features({"image": hf.Image(), "objects": kind})
        objects: Any = [[{"bbox": [1.5, 2, 10, 20.25], "category": 1}, {"bbox": [0, 0, 5, 5], "category": 1}], []]
        if name == "columns":
            objects = [{key: [each[key] for each in own] for key in ("bbox", "category")} for own in objects]
        rows = [{"image": {"bytes": picture(i), "path": f"{i}.jpg"}, "objects": own} for i, own in enumerate(objects)]
        (tmp_path / name).mkdir()
        hf.Dataset.from_list(rows, features=features).to_parquet(tmp_path / name / "train.parquet")
        found = scan(tmp_path / name)
        assert [(image.label_name, image.boxes) for image in found.images] == [
            ("bee", [(1.5, 2, 11.5, 22.25), (0, 0, 5, 5)])
        ]
        assert found.left_out == ["1 images without a class"]


def folder(root, kind, rows, at=("train", "validation")):
    """An imagefolder with metadata in each split."""
    for number, split in enumerate(at):
        (root / split).mkdir(parents=True, exist_ok=True)
        own = [{"file_name": f"{i}.png", **rows[i]} for i in range(number, len(rows), len(at))]
        for row in own:
            path = root / split / row["file_name"]
            path.write_bytes(picture(int(path.stem), "PNG"))
        path = root / split / f"metadata.{kind}"
        if kind == "csv":
            lines = [",".join(map(str, row.values())) for row in own]
            path.write_text("\n".join([",".join(own[0]), *lines]) + "\n")
        elif kind == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in own))
        else:
            pq.write_table(pa.Table.from_pylist(own), path)
    return root


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_an_image_folder_with_metadata_is_what_the_package_reads(hf, tmp_path, kind):
    """Breaks when a class of metadata, a split or an image differs from what `datasets` reads."""
    root = folder(tmp_path / "in", kind, [{"label": ANIMALS[i % 3], "note": "x"} for i in range(5)])
    data, found = hf.load_dataset(str(root)), scan(root)
    for split, own in (("train", "train"), ("validation", "val")):
        assert seen(root, found, own) == [(row["label"], row["image"].tobytes()) for row in data[split]]
    assert found.images[0].image_id == "train/0.png"
    assert found.left_out == []
    assert recognised(HuggingfaceReader, root) == (f"train/metadata.{kind}", "")


def test_objects_of_metadata_are_those_that_the_package_reads(hf, tmp_path):
    """Breaks when the documented form of detection is not read, or images of several categories get a class unasked."""
    rows = [
        {"objects": {"bbox": [[302.0, 109.0, 73.0, 52.0]], "categories": [0]}},
        {"objects": {"bbox": [[810.0, 100.0, 57.0, 28.0]], "categories": [1]}},
        {"objects": {"bbox": [[160.0, 31.0, 248.0, 616.0], [741.0, 68.0, 202.0, 401.0]], "categories": [2, 2]}},
        {"objects": {"bbox": [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 3.0]], "categories": [0, 1]}},
    ]
    root = folder(tmp_path / "in", "jsonl", rows, at=("train",))
    data = hf.load_dataset(str(root))["train"]
    found = scan(root, names=ANIMALS)
    assert [image.label_name for image in found.images] == ANIMALS
    for image, row in zip(found.images, data, strict=False):
        assert [(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in image.boxes] == [
            tuple(b) for b in row["objects"]["bbox"]
        ]
    assert found.left_out == ["1 images with objects of several categories (multi_label)"]


def test_metadata_at_the_root_and_classes_of_folders(tmp_path):
    """Breaks when names below the file of metadata are not found, or class folders do not count without a column."""
    for name in ("train/dog/a.png", "train/cat/b.png", "test/dog/c.png", "train/dog/other.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    lines = "file_name,caption\ntrain/dog/a.png,x\ntrain/cat/b.png,x\ntest/dog/c.png,x\n"
    (tmp_path / "metadata.csv").write_text(lines)
    found = scan(tmp_path)
    assert labelled(found) == {
        "train/dog/a.png": ("dog", "train"), "train/cat/b.png": ("cat", "train"), "test/dog/c.png": ("dog", "test"),
    }  # fmt: skip
    assert found.left_out == ["1 files that the tables do not name"]
    (tmp_path / "train" / "d.png").write_bytes(b"x")
    (tmp_path / "metadata.csv").write_text(lines + "train/d.png,x\nnone/e.png,x\n")
    with pytest.raises(UsageError, match="metadata.csv, line 6: its image lies in no folder of a split"):
        scan(tmp_path)
    (tmp_path / "metadata.csv").write_text(lines + "train/d.png,x\ntrain/dog/none.png,x\n")
    found = scan(tmp_path)
    assert {image.image_id: image.trouble for image in found.images}["train/dog/none.png"] == "there is no such file"
    assert "1 images without a class" in found.left_out


def test_rows_of_json_that_lack_a_class_have_none(tmp_path):
    """Breaks when a line without the class that others have gets the name of its folder, or numbers keep no names."""
    for name in ("a", "b", "c"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / f"{name}.png").write_bytes(b"x")
    lines = [{"file_name": f"photos/{name}.png", **said} for name, said in {
        "a": {"label": "1"}, "b": {}, "c": {"label": "bee"},
    }.items()]  # fmt: skip
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = scan(tmp_path, names=("ant", "bee"))
    assert labelled(found) == {"photos/a.png": ("bee", "train"), "photos/c.png": ("bee", "train")}
    assert found.left_out == ["1 images without a class"]


@pytest.mark.parametrize("splits", [True, False])
def test_a_saved_data_set_is_what_the_package_loads(hf, tmp_path, splits):
    """Breaks when a range of an Arrow file is not the image that `datasets` reads: in batches, slices, shuffled."""
    data = animals(hf, range(10)).shuffle(seed=0).select(range(2, 9))
    saved = hf.DatasetDict({"train": data, "validation": animals(hf, [11, 12])}) if splits else data
    root = tmp_path / "saved"
    saved.save_to_disk(root)
    loaded, found = hf.load_from_disk(str(root)), scan(root)
    parts = {"train": loaded["train"], "val": loaded["validation"]} if splits else {"train": loaded}
    assert {split: seen(root, found, split) for split in parts} == {split: known(own) for split, own in parts.items()}
    assert found.images[0].offset is not None
    assert recognised(HuggingfaceReader, root) == ("dataset_dict.json" if splits else "state.json", "")


def test_a_saved_data_set_of_several_files_and_without_names(hf, tmp_path):
    """Breaks when the rows of a second file or batch are those of the first, or images without a path have no id."""
    data = animals(hf, range(9), name=None)
    data.save_to_disk(tmp_path / "saved", num_shards=2)
    found = scan(tmp_path / "saved")
    assert [image.image_id for image in found.images][4:6] == [
        "data-00000-of-00002.arrow#4", "data-00001-of-00002.arrow#0",
    ]  # fmt: skip
    assert seen(tmp_path / "saved", found, "train") == known(hf.load_from_disk(str(tmp_path / "saved")))


def test_saved_data_sets_that_cannot_be_read_in_place(hf, tmp_path):
    """Breaks when a compressed, damaged or remote one gives wrong ranges or a raw error, not the way out."""
    root = tmp_path / "saved"
    animals(hf, range(3)).save_to_disk(root)
    (path,) = root.glob("*.arrow")
    whole = path.read_bytes()
    files = Files("memory://saved")
    for each in root.iterdir():
        files.put(each.name, each.read_bytes())
    with pytest.raises(UsageError, match="this machine's disk alone: export it with Dataset.to_parquet"):
        scan("memory://saved")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="dataset: data-00000-of-00001.arrow: no Arrow stream, or damaged"):
        scan(root)
    table = pa.ipc.open_stream(whole).read_all()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema, options=options) as writer:
        writer.write_table(table)
    with pytest.raises(UsageError, match="it is compressed: export it with Dataset.to_parquet"):
        scan(root)
    path.unlink()
    with pytest.raises(UsageError, match="state.json: names data-00000-of-00001.arrow, which is not there"):
        scan(root)
    (root / "state.json").write_text("{")
    with pytest.raises(UsageError, match="state.json: no JSON"):
        scan(root)
    (root / "dataset_dict.json").write_text('{"splits": ["train"]}')
    with pytest.raises(UsageError, match="dataset_dict.json: split 'train' has no folder with state.json"):
        scan(root)


BAD = {
    "no name": ("csv", "file,label\na.png,x\n", "there is no column file_name"),
    "two names": ("csv", "a_file_name,b_file_name\na,x\n", "a_file_name, b_file_name name files: set `image` to one"),
    "climbs": ("csv", "file_name,label\n../../a.png,x\n", "line 2: '../../a.png' climbs out of the root"),
    "too few": ("csv", "file_name,label\na.png\n", "line 2: 2 columns were expected"),
    "twice": ("csv", "file_name,label\na.png,x\n./a.png,x\n", "line 3: './a.png' is named twice"),
    "no JSON": ("jsonl", '{"file_name": "a.png"', "line 1: no JSON"),
    "no object": ("jsonl", "[1]\n", "line 1: an object was expected"),
    "deep": ("jsonl", "[" * 99999, "line 1: no JSON"),
    "a name that is none": ("jsonl", '{"file_name": 1, "label": "x"}\n', "line 1: a file name must be a text"),
    "objects that are none": ("jsonl", '{"file_name": "a", "objects": [1]}\n', "line 1: objects must have bbox"),
    "a box of NaN": (
        "jsonl", '{"file_name": "a", "objects": {"bbox": [[NaN, 1, 2, 3]], "category": ["x"]}}\n', "line 1: a box of",
    ),
    "no class": ("csv", "file_name,caption\na.png,x\n", "no image has a class"),
    "damaged": ("parquet", "text", "metadata.parquet: no Parquet, or damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_metadata_is_named_in_one_line(tmp_path, case):
    """Breaks when bad metadata are taken, or the line is not told."""
    kind, text, words = BAD[case]
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / f"metadata.{kind}").write_text(text)
    with pytest.raises(UsageError, match=words) as refused:
        scan(tmp_path)
    assert str(refused.value).startswith((f"dataset: train/metadata.{kind}", "dataset: root "))
    assert "\n" not in str(refused.value)


CARDS: dict[str, tuple[str, tuple[str, list[tuple[str, str]], dict[str, Any]]]] = {
    "no head": ("# Animals\n", ("default", [], {})),
    "a head of other things": ("---\nlicense: mit\n---\n", ("default", [], {})),
    "a glob": (
        "---\nconfigs:\n- config_name: x\n  data_files: '*.parquet'\n---\n",
        ("x", [("train", "*.parquet")], {}),
    ),
    "globs": ("---\nconfigs:\n- data_files: [a, ./b]\n---\n", ("default", [("train", "a"), ("train", "b")], {})),
    "a folder": (
        "---\nconfigs:\n- data_dir: ./d\n  data_files:\n  - split: test\n    path: a\n---\n",
        ("default", [("test", "d/a")], {}),
    ),
    "a folder alone": ("---\r\nconfigs:\r\n- data_dir: d\r\n---\r\n", ("default", [("", "d/**")], {})),
}


@pytest.mark.parametrize("case", CARDS)
def test_heads_of_cards(case):
    """Breaks when one of the documented forms of `data_files` is not understood."""
    text, expected = CARDS[case]
    config = read_card(text, None)
    assert (config.name, list(config.patterns), dict(config.features)) == expected
    assert has_data(text) == bool(expected[1])


BAD_CARDS = {
    "no YAML": ("---\na: [\n---\n", "README.md: no YAML: while parsing"),
    "a Python object": ("---\na: !!python/object/apply:os.system ['x']\n---\n", "README.md: no YAML"),
    "deep": ("---\na: " + "[" * 500 + "\n---\n", "README.md: no YAML"),
    "a number for files": ("---\nconfigs:\n- data_files: 7\n---\n", "config 'default': a split and globs"),
    "a URI": ("---\nconfigs:\n- data_files: hf://x/y\n---\n", "config 'default': a split and globs"),
    "no path": ("---\nconfigs:\n- data_files:\n  - split: train\n---\n", "config 'default': a split and globs"),
}


@pytest.mark.parametrize("case", BAD_CARDS)
def test_bad_cards_are_refused_in_one_line(tmp_path, case):
    """Breaks when a stranger's card runs code, recurses without end, or is guessed at."""
    text, words = BAD_CARDS[case]
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(UsageError, match=words) as refused:
        scan(tmp_path)
    assert "\n" not in str(refused.value)


def test_recognition_of_what_is_no_data_set_of_images(tmp_path):
    """Breaks when any README or metadata.csv makes a folder one of Hugging Face, or a card without files is none."""
    assert recognised(HuggingfaceReader, tmp_path / "none") is None
    (tmp_path / "README.md").write_text("# Photographs\n")
    (tmp_path / "metadata.csv").write_text("id,name\n1,x\n")
    assert recognised(HuggingfaceReader, tmp_path) is None
    (tmp_path / "README.md").write_text("---\nconfigs:\n- data_files: x\n---\n")
    assert recognised(HuggingfaceReader, tmp_path) == ("README.md with configs", "Parquet files or metadata of images")


def test_a_run_over_an_export(hf, tmp_path):
    """Breaks when the catalog does not know the reader, or `auto` takes another for an export."""
    root = export(hf, tmp_path / "animals")
    dataset = {"reader": "auto", "root": str(root), "dev_fraction": 0.0}
    target = runs.target_of({"run_root": str(tmp_path / "run"), "dataset": dataset, "stages": {}})
    runs.execute(target)
    rows = runs.rows(target, "ingest", "images")
    assert {(row["split"], row["label_name"], row["width"]) for row in rows} >= {
        ("val", "bee", 12),
        ("test", "ant", 12),
    }
    assert len(rows) == 12
    shutil.rmtree(root / "data")
