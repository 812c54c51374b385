"""The page of a made run: what it says, what it must not show, and that it stands alone."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.base.errors import UsageError
from pipeline.store.records import Recipe, Upstream
from pipeline.store.store import Store
from stages.report.options import ReportParams
from stages.report.stage import Report
from tests.stages.report.sample import build, report


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One run for the whole module."""
    return build(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(store: Store) -> str:
    """Its report."""
    return report(store).decode()


class Tags(HTMLParser):
    """Collects every tag, its attributes and the texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "

    def count(self, name: str, word: str) -> int:
        """Tags of that name whose class has the word."""
        return sum(tag == name and word in (attrs.get("class") or "").split() for tag, attrs in self.tags)


def test_figures_thresholds_and_intervals_are_there(page: str) -> None:
    """Breaks when a figure is lost, rounded to whole numbers, or stands without its threshold and interval."""
    text = " ".join(Tags(page).text.split())
    assert "weakbox: folder:digits" in text
    assert "run 0123abcd" in text
    for said in (
        "78.1",
        "71.2 validated",
        "68.5 to 73.9",
        "τ 0.42 · original",
        "72.0 oracle",
        "τ 0.12 · wsolevaluation",
    ):
        assert said in text
    assert "+51.6 points" in text
    assert "centred_square, 26.5 %" in text
    assert "78.12" in text


def test_a_class_name_with_markup_is_text(page: str) -> None:
    """Breaks when a name from the data becomes markup of the page."""
    assert "&lt;b&gt;&amp;" in page
    assert "truncated: &lt;i&gt;" in page
    tags = Tags(page)
    assert "<b>&" in tags.text
    assert "<i>" in tags.text


def test_the_page_stands_alone(page: str) -> None:
    """Breaks when a script, a style sheet, a font or a picture is loaded from elsewhere, or another script may run."""
    tags = Tags(page)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", page.split("base64")[0])
    assert not any(tag in ("iframe", "object", "embed") for tag, _ in tags.tags)
    assert [attrs for tag, attrs in tags.tags if tag == "script"] == [{}]
    (script,) = re.findall(r"<script>(.*)</script>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(attrs["content"] or "" for tag, attrs in tags.tags if "http-equiv" in attrs)
    assert policy.endswith(f"script-src 'sha256-{digest}'")
    addresses = [attrs[key] or "" for _, attrs in tags.tags for key in ("href", "src") if key in attrs]
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)


def places(page: str) -> list[dict[str, int]]:
    """Set -> place of each card, in the order of the page."""
    cards = (attrs for tag, attrs in Tags(page).tags if tag == "figure" and attrs.get("class") == "card")
    return [json.loads(attrs["data-places"] or "") for attrs in cards]


def test_images_boxes_and_heat_maps(page: str) -> None:
    """Breaks when the page loses images, a source of boxes has no layer, or heat maps stand with other images."""
    tags = Tags(page)
    number = tags.count("figure", "card")
    assert number == 27, "24 by hash, and 3 more among the 12 lowest and highest of 29"
    assert {name: sum(name in own for own in places(page)) for name in ("sample", "worst", "best")} == {
        "sample": 24, "worst": 12, "best": 12,
    }  # fmt: skip
    small = tags.count("span", "small")
    assert small == 3 * 4
    assert tags.count("div", "frame") == number * 3
    assert tags.count("g", "pseudo") == number * 2
    assert tags.count("g", "predicted") == number + small
    assert tags.count("label", "predicted") == 1, "a pure classifier has no boxes to show"
    assert tags.count("g", "layer-truth") == number * 3
    assert tags.count("figure", "plot") == 6
    assert "train/0.jpg" not in page


def test_wrong_classes_are_named(page: str) -> None:
    """Breaks when a classifier's first class is not compared with the label."""
    cards = page.split('id="images"')[1].split('id="classes"')[0].split('<figure class="card"')[1:]
    assert all(("classified as cat" in card) == ("<b>cat</b>" not in card) for card in cards)
    assert any("classified as cat" in card for card in cards)


def test_the_lowest_and_the_highest_are_the_headline_methods(page: str) -> None:
    """Breaks when the worst are sorted the other way, or belong to another method."""
    cards = page.split('id="images"')[1].split('id="classes"')[0].split('<figure class="card"')[1:]
    ious = [float(re.findall(r"psol (\d\.\d\d)", card)[0]) for card in cards]
    found = places(page)
    for name, sign in (("worst", 1), ("best", -1)):
        ordered = [
            iou for _, iou in sorted((own[name], iou) for own, iou in zip(found, ious, strict=True) if name in own)
        ]
        assert len(ordered) == 12
        assert ordered == sorted(ordered, key=lambda iou: sign * iou)
    assert min(ious) == min(iou for own, iou in zip(found, ious, strict=True) if "worst" in own)
    assert max(ious) == max(iou for own, iou in zip(found, ious, strict=True) if "best" in own)


def test_stages_above_those_read_are_listed_with_their_parameters(page: str) -> None:
    """Breaks when the page cannot say how the classifier behind its maps was trained."""
    run = " ".join(Tags(page.split('id="run"')[1]).text.split())
    assert "classifier classify, version 1 epochs 30" in run
    assert "cam cam, version 3 reads model classifier input_size 448" in run
    assert re.search(r"torch \d+\.", run)
    assert re.search(r"pyarrow \d+\.", run)


def test_quarantined_images_are_listed_once(page: str) -> None:
    """Breaks when a bad image disappears, or is listed for every stage that reads the same part."""
    section = Tags(page.split('id="quarantine"')[1].split('id="run"')[0]).text
    assert section.count("test/broken.jpg") == 1
    assert "ingest" in section


def test_same_run_same_bytes(store: Store, page: str) -> None:
    """Breaks when a time stamp, a set's order or a random id gets into the page."""
    assert report(store).decode() == page


def test_without_maps_labels_and_predictions_the_page_still_renders(store: Store) -> None:
    """Breaks on a run that has only metrics."""
    bare = report(store, maps=(), labels=(), predictions=(), samples=3, title="A & B").decode()
    assert "<title>A &amp; B</title>" in bare
    assert Tags(bare).count("figure", "card") == 3
    assert [set(own) for own in places(bare)] == 3 * [{"sample"}], "nothing tells the worst from the best"
    assert 'id="images"' not in report(store, samples=0).decode()


def test_an_image_that_went_bad_is_quarantined_not_fatal(tmp_path: Path) -> None:
    """Breaks when an image that changed after ingest stops the report."""
    store = build(tmp_path, images=6)
    (tmp_path / "test" / "3.jpg").write_bytes(b"no image")
    tags = Tags(report(store, samples=5).decode())
    assert tags.count("figure", "card") == 4
    assert "changed since it was listed" in tags.text


def test_a_page_takes_so_many_pictures_and_no_more(store: Store, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks when a run with many maps makes a page that no browser opens, or pictures are left out without a word."""
    assert "had no room" not in page
    monkeypatch.setattr("stages.report.cards.MOST", 200_000)
    small = report(store).decode()
    cards = Tags(small).count("figure", "card")
    assert 0 < cards < 27
    assert f"{27 - cards + 3 * 4} more images had no room" in small
    assert sum(map(len, re.findall(r"data:image/jpeg;base64,[^\"]+", small))) < 300_000


def test_a_negative_number_of_samples_is_refused() -> None:
    """Breaks when it is found only after the run has computed everything else."""
    with pytest.raises(UsageError, match="samples"):
        Report("report", ReportParams(samples=-1)).check()


def test_the_legend_names_ground_truth_only_where_there_is_some(page: str, tmp_path: Path) -> None:
    """Breaks when a data set without boxes has a tick that hides and shows nothing."""
    without = report(build(tmp_path, images=4, truth=False)).decode()
    assert 'id="show-layer-truth"' in page
    assert 'id="show-layer-truth"' not in without
    assert 'id="show-layer-0"' in without


def test_equal_pictures_are_counted_and_the_odd_ones_named(page: str, store: Store) -> None:
    """Breaks when the page hides what was trained on and scored, or which pictures contradict each other."""
    text = " ".join(Tags(page).text.split())
    assert "Equal pictures" in text
    assert "Groups of Groups Images Across splits Under several classes equal pictures 3 7 1 1" in text
    assert "1 group of equal pictures across splits" in text
    assert "test/1.jpg test, cat train/leak.jpg train, cat, used as test train/x.jpg train, cat, used as test" in text
    assert "1 group of equal pictures under several classes" in text
    assert "train/<a>.jpg train, cat, left out train/b.jpg train, <b>&, left out" in text
    assert "train/c.jpg" not in text, "nothing is odd about it"
    without = " ".join(Tags(report(store, duplicates=None).decode()).text.split())
    assert "Equal pictures" not in without


def test_equal_pictures_of_other_images_are_refused() -> None:
    """Breaks when a page shows what is equal in another data set."""
    stage = Report("report", ReportParams())
    of = {name: Upstream(name, Recipe("x", 1, {}), (), {}) for name in ("ingest", "other", "evaluate")}
    said = {
        name: replace(of["ingest"], name=name, inputs={"images": (of["ingest"],)}) for name in ("truth", "duplicates")
    }
    inputs = {"images": (of["ingest"],), "truth": (said["truth"],), "duplicates": (said["duplicates"],)}
    stage.check_inputs(inputs)
    stage.check_inputs({**inputs, "duplicates": ()})
    wrong = {"images": (of["other"],), "truth": (), "duplicates": (said["duplicates"],)}
    with pytest.raises(UsageError, match="stage report: duplicates 'duplicates' is that of 'ingest', not of 'other'"):
        stage.check_inputs(wrong)
