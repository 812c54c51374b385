import math
import tarfile

import pytest

from pipeline.base.errors import UsageError
from stages.ingest.listing import list_files
from stages.ingest.readers import voc_xml
from stages.ingest.readers.voc_xml import Object, half_open, parse_annotation, read_annotations
from tests.stages.ingest.readers.voc_replica import PERSON, annotation, write


def test_parts_of_persons_are_no_objects():
    """Breaks when names and boxes are sought at any depth: a head would be a class, or its box the person's."""
    said = parse_annotation(PERSON.encode(), "dataset: a.xml")
    person = Object("person", (45.70000076293945, 1, 292.20000076293945, 500), difficult=True)
    assert said == ("2008_008753.jpg", (500, 442), [person])


def test_the_published_ilsvrc_files(data_root, tmp_path):
    """Breaks when a field of a published file is read wrongly; the corners stand in the evaluator's metadata too."""
    with tarfile.open(data_root / "ilsvrc-annotations-sample.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    said = list(read_annotations(list_files(str(tmp_path))))
    assert [(each.filename, [(o.name, o.corners) for o in each.objects]) for each in said] == [
        ("n01440764_96", [("n01440764", (34, 128, 430, 305))]),
        ("ILSVRC2012_val_00000001", [("n01751748", (111, 108, 441, 193))]),
        ("ILSVRC2012_val_00026567", [("n02256656", (163, 200, 246, 269)), ("n02256656", (147, 43, 409, 329))]),
    ]
    assert all(each.size == (500, 375) for each in said)


@pytest.mark.parametrize(
    ("convention", "corners"),
    [("one_based", (1, 1, 3, 2)), ("zero_based", (0, 0, 2, 1)), ("half_open", (0, 0, 3, 2))],
)
def test_the_first_three_by_two_pixels_in_each_convention(convention, corners):
    """Breaks when a convention is off by one: the pixels are those of columns 0 to 2 and rows 0 and 1."""
    assert half_open(corners, convention) == (0, 0, 3, 2)


def test_many_files_come_back_in_their_order(tmp_path, monkeypatch):
    """Breaks when reading side by side, or in blocks, mixes up or loses files."""
    monkeypatch.setattr(voc_xml, "_AT_ONCE", 60)
    write(tmp_path, {f"{n:03d}.xml": annotation(f"{n}.jpg", [("cat", n, n, n + 5, n + 5)]) for n in range(150)})
    said = list(read_annotations(list_files(str(tmp_path))))
    assert [each.filename for each in said] == [f"{n}.jpg" for n in range(150)]
    assert [each.objects[0].corners[0] for each in said] == list(range(150))


def test_without_size_objects_or_filename():
    """Breaks when what other programs leave out, or write as 0 x 0, ends the run."""
    assert parse_annotation(b"<annotation/>", "x") == ("", None, [])
    assert parse_annotation(annotation("a.jpg", size=(0, 0)).encode(), "x").size is None
    assert parse_annotation(b"\xef\xbb\xbf<annotation><filename/><size/></annotation>", "x") == ("", None, [])
    utf16 = '<?xml version="1.0" encoding="utf-16"?><annotation><filename>\u00e9</filename></annotation>'.encode(
        "utf-16"
    )
    assert parse_annotation(utf16, "x").filename == "\u00e9"


BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><annotation><filename>&b;</filename></annotation>'


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (BOMB, "a DTD or entities"),
        ('<!DOCTYPE annotation SYSTEM "http://localhost/a.dtd"><annotation/>', "a DTD or entities"),
        ("<annotation>&file;</annotation>", "no XML: undefined entity"),
        ("", "no XML: no element found"),
        ("<annotation><object>", "no XML: no element found"),
        ('<?xml version="1.0" encoding="rot13"?><annotation/>', "no XML: "),
        ('<?xml version="1.0" encoding="gb2312"?><annotation/>', "no XML: multi-byte"),
        (b"<annotation><filename>caf\xe9</filename></annotation>", "no XML: not well-formed"),
        ("<root/>", "the root element is 'root', not 'annotation'"),
        ("<annotation><object/></annotation>", "object 1: its name is missing"),
        ("<annotation><object><name>cat</name></object></annotation>", r"object 1 \(cat\): its bndbox is missing"),
        (annotation("a", [("cat", 1, 2, "x", 4)]), r"object 1 \(cat\): xmax must be a number, not 'x'"),
        (annotation("a", [("cat", 1, 2, "", 4)]), r"object 1 \(cat\): xmax must be a number, not ''"),
        (
            annotation("a", [("dog", 1, 2, 3, 4), ("cat", math.nan, 2, 3, 4)]),
            r"object 2 \(cat\): xmin must be a number",
        ),
        (annotation("a", [("cat", 1, "1e999", 3, 4)]), r"object 1 \(cat\): ymin must be a number, not '1e999'"),
    ],
)
def test_a_bad_file_is_one_line(data, words):
    """Breaks when a hostile or damaged file is expanded, fetched, guessed at, or ends in a traceback."""
    with pytest.raises(UsageError, match=f"^dataset: a.xml: {words}") as refused:
        parse_annotation(data.encode() if isinstance(data, str) else data, "dataset: a.xml")
    assert "\n" not in str(refused.value)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    """Breaks when a file of any size is loaded and parsed."""
    write(tmp_path, {"a.xml": b"<a>" * 2**20})
    with pytest.raises(UsageError, match="dataset: a.xml: larger than 2 MiB"):
        list(read_annotations(list_files(str(tmp_path))))
