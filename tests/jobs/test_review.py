"""Boxes that a person draws: the page, the CSV, and what becomes of them once they are taken back."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from jobs.review_files import Drawn, files_of
from tests import chromium, runs

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BOX = ("3", "4", "40", "50")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demo images; those of test have boxes."""
    root = runs.make_data(tmp_path_factory.mktemp("data") / "demo")
    runs.rewrite_boxes(root, lambda line: [line] if line["image_id"].startswith("test/") else [])
    return root


@pytest.fixture
def config(data: Path, tmp_path: Path, weakbox: Any) -> str:
    """A run that lists the images."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**runs.config(data, tmp_path / "run"), "stages": {}}))
    assert weakbox("run", "--in-process", str(path))[0] == 0
    return str(path)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def drawn(path: Path, rows: list[dict[str, str]]) -> None:
    lines = [",".join((row["image_id"], *BOX)) for row in rows]
    path.write_text("\n".join(["image_id,x0,y0,x1,y1", *lines, ""]))


def opened(config: str, reviewed: Path | None = None) -> Any:
    """The run as it is listed with boxes that were drawn."""
    said = yaml.safe_load(Path(config).read_text())
    own = {} if reviewed is None else {"reviewed": str(reviewed)}
    return runs.target_of({**said, "dataset": {**said["dataset"], **own}})


def splits(weakbox: Any, config: str, reviewed: Path | None = None) -> dict[str, str]:
    changes = () if reviewed is None else ("--set", f"dataset.reviewed={reviewed}")
    assert weakbox("run", "--in-process", config, *changes)[0] == 0
    rows = runs.rows(opened(config, reviewed), "ingest", "images")
    return {row["image_id"]: row["split"] for row in rows}


def test_pictures_come_from_dev_first_and_leave_train_once_they_have_a_box(config, tmp_path, weakbox):
    """Breaks when boxes of train become truth, a picture of dev leaves it, or one that was not drawn moves."""
    before = splits(weakbox, config)
    dev = {name for name, split in before.items() if split == "dev"}
    out = tmp_path / "review"
    code, said, _ = weakbox("review", config, "--sample", str(len(dev) + 5), "--out", str(out))
    assert code == 0
    assert f"--set dataset.reviewed={out}/review.csv" in said
    asked = [row["image_id"] for row in rows_of(out / "review.csv")]
    assert dev < set(asked)
    assert {before[name] for name in asked} == {"dev", "train"}
    drawn(out / "review.csv", rows_of(out / "review.csv")[:-1])
    after = splits(weakbox, config, out / "review.csv")
    assert {name for name, split in after.items() if split != before[name]} == set(asked[:-1]) - dev
    assert {name for name in asked[:-1] if after[name] != "dev"} == set()
    rows = runs.rows(opened(config, out / "review.csv"), "truth", "truth")
    truth = {row["image_id"]: row["boxes"] for row in rows if row["boxes"]}
    assert {tuple(truth[name][0].values()) for name in asked[:-1]} == {tuple(map(float, BOX))}


def test_a_csv_that_nobody_filled_changes_nothing(config, tmp_path, weakbox):
    """Breaks when a picture without a box becomes one without an object."""
    before = splits(weakbox, config)
    assert weakbox("review", config, "--sample", "4", "--out", str(tmp_path / "review"))[0] == 0
    assert splits(weakbox, config, tmp_path / "review/review.csv") == before


def test_boxes_that_were_drawn_are_never_written_over(config, tmp_path, weakbox):
    """Breaks when an hour of drawing is lost to the same command."""
    out = str(tmp_path / "review")
    assert weakbox("review", config, "--sample", "4", "--out", out)[0] == 0
    drawn(tmp_path / "review/review.csv", rows_of(tmp_path / "review/review.csv"))
    before = (tmp_path / "review/review.csv").read_bytes()
    code, _, said = weakbox("review", config, "--sample", "4", "--out", out)
    assert code == 2
    assert "is there already" in said
    assert (tmp_path / "review/review.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("none.jpg,1,2,3,4", "line 2: there is no image 'none.jpg'"),
        ("{train},5,2,3,4", "line 2: the box of .* has no area"),
        ("{train},1,2,,4", "line 2: four numbers were expected"),
        ("{test},1,2,30,40", "'{test}' has true boxes already"),
    ],
)
def test_a_bad_line_is_named(line, words, config, tmp_path, weakbox):
    """Breaks when a line that cannot be is dropped or taken."""
    names = {
        split: min(name for name, own in splits(weakbox, config).items() if own == split) for split in ("train", "test")
    }
    path = tmp_path / "boxes.csv"
    path.write_text(f"image_id,x0,y0,x1,y1\n{line.format(**names)}\n")
    code, _, said = weakbox("plan", config, "--set", f"dataset.reviewed={path}")
    assert code == 2
    assert re.search(words.format(**names), said)


def test_without_qualities_there_is_no_lowest(config, weakbox):
    """Breaks when the reader is told nothing, or gets a traceback."""
    code, _, said = weakbox("review", config)
    assert code == 2
    assert "no stage that gives qualities" in said


PICTURES = [
    Drawn('a,"b".jpg', "<cat>", np.full((300, 600, 3), 200, np.uint8)),
    Drawn("c/ü.jpg", "cat", np.full((1800, 1200, 3), 90, np.uint8)),
]


def test_files_name_what_is_asked():
    """Breaks when an odd name ends the script of the page, or splits a line of the CSV."""
    files = files_of(PICTURES, "</script><b>")
    assert [row["image_id"] for row in csv.DictReader(io.StringIO(files["review.csv"].decode()))] == [
        picture.image_id for picture in PICTURES
    ]
    assert b"</script><b>" not in files["review.html"]
    tasks = json.loads(files["labelstudio.json"])
    assert [task["data"]["image_id"] for task in tasks] == [picture.image_id for picture in PICTURES]


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    yield from chromium.opened()


@pytest.mark.browser
def test_a_box_is_drawn_saved_and_loaded_in_a_browser(browser: "Browser", tmp_path: Path) -> None:
    """Breaks when the page has an error, a box is in other pixels than the picture's, or one is lost on the way."""
    (tmp_path / "review.html").write_bytes(files_of(PICTURES, "review")["review.html"])
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"file://{tmp_path}/review.html")

    def draw(x0: float, y0: float, x1: float, y1: float) -> None:
        """From one corner to another, as shares of the picture."""
        frame = page.locator("#boxes").bounding_box()
        assert frame is not None
        page.mouse.move(frame["x"] + x0 * frame["width"], frame["y"] + y0 * frame["height"])
        page.mouse.down()
        page.mouse.move(frame["x"] + x1 * frame["width"], frame["y"] + y1 * frame["height"], steps=4)
        page.mouse.up()

    assert page.locator("#class").inner_text() == "<cat>"
    draw(0.75, 0.8, 0.25, 0.2)
    draw(0.1, 0.1, 0.2, 0.2)
    page.keyboard.press("Backspace")
    page.keyboard.press("ArrowRight")
    assert page.locator("#class").inner_text() == "cat"
    draw(0.5, 0.5, 1.5, 0.75)
    draw(0.2, 0.2, 0.2005, 0.2005)
    with page.expect_download() as download:
        page.locator("#save").click()
    path = tmp_path / "saved.csv"
    download.value.save_as(path)
    rows = [[row["image_id"], *(float(row[side]) for side in ("x0", "y0", "x1", "y1"))] for row in rows_of(path)]
    assert [row[0] for row in rows] == [picture.image_id for picture in PICTURES]
    assert rows[0][1:] == pytest.approx([150, 60, 450, 240], abs=2)
    assert rows[1][1:] == pytest.approx([600, 900, 1200, 1350], abs=4)
    page.reload()
    page.locator("#file").set_input_files(path)
    page.wait_for_function("document.getElementById('done').textContent.includes('2 with a box')")
    assert page.locator("#boxes rect").count() == 1
    page.set_viewport_size({"width": 390, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert said == []
    page.close()
