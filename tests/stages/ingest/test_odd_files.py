"""One ingest run over every kind of odd file that we know: each is decoded right, or quarantined with its reason."""

import logging
import os
import re
import socket
import time
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.worker.local_context import LocalContext
from stages.ingest import worker
from stages.ingest.recognition import Tree
from stages.vision.decoding.turning import turned
from stages.vision.image_reading import load
from stages.vision.image_rows import ImageRow
from tests import runs
from tests.stages.vision.decoding.made_files import (
    bitmap,
    by_pillow,
    chunk,
    encoded,
    exif,
    grey16,
    heic,
    jpeg_2000,
    photo,
    png,
    png_of,
    progressive_jpeg,
    tiff_of,
    with_segment,
)

LIMIT_S = 10.0
"""No file may take longer."""

PHOTO = photo()
GREY = PHOTO[:, :, 0]
JPEG = encoded(PHOTO, "JPEG", quality=95)
PNG = encoded(PHOTO, "PNG")
INKS = Image.fromarray(np.dstack([PHOTO, GREY // 2]), "CMYK")
PALETTED = Image.fromarray(PHOTO).quantize(64)
ROWS = b"".join(b"\0" + row.tobytes() for row in PHOTO)


class Good(NamedTuple):
    """A file that is an image, and its pixels; close: as far as a lossy codec of another library lets them be told."""

    data: bytes
    pixels: np.ndarray
    close: bool = False


class Bad(NamedTuple):
    """A file that is none, and the reason, a pattern."""

    data: bytes
    reason: str


def more() -> list[Image.Image]:
    """Further frames; new ones each time, for Pillow keeps settings of an encoder in them."""
    return [Image.fromarray(photo(seed=each)) for each in (1, 2)]


def three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)


def as_pillow(data: bytes) -> Good:
    return Good(data, by_pillow(data))


def part(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def zeroed(data: bytes) -> bytes:
    """With a hole in its body."""
    half = len(data) // 2
    return data[:half] + bytes(300) + data[half + 300 :]


def ycck() -> bytes:
    data = encoded(INKS, "JPEG", quality=95)
    at = data.index(b"Adobe") + 11
    return data[:at] + b"\2" + data[at + 1 :]


def lab() -> bytes:
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    image = ImageCms.applyTransform(Image.fromarray(PHOTO), to_lab)
    assert image is not None
    return encoded(image, "TIFF")


def wrong_checksum() -> bytes:
    at = len(PNG) // 2
    return PNG[:at] + bytes([PNG[at] ^ 1]) + PNG[at + 1 :]


def run_lengths() -> Good:
    """Rows of runs, a row of literal bytes, and the end; from the bottom up."""
    grey = np.repeat(np.arange(5, dtype=np.uint8)[:, None] * 40, 6, axis=1)
    grey[0] = np.arange(6)
    body = b"".join(b"\6" + bytes([row[0]]) + b"\0\0" for row in grey[:0:-1]) + b"\0\6" + grey[0].tobytes() + b"\0\1"
    return Good(bitmap(6, 5, 1, body), three(grey))


def text_ppm() -> bytes:
    return b"P3\n# by hand\n83 61\n255\n" + b" ".join(b"%d" % value for value in PHOTO.ravel())


FLOATS = (GREY / 255).astype(np.float32)
TWELVE_BITS = tiff_of(np.full((8, 12), 0x88, np.uint8), t256=(4, (8,)), t258=(3, (12,)))

FILES: dict[str, Good | Bad] = {
    # JPEG
    "baseline.jpg": as_pillow(JPEG),
    "progressive.jpg": as_pillow(encoded(PHOTO, "JPEG", progressive=True)),
    "grey.jpg": as_pillow(encoded(GREY, "JPEG")),
    "one pixel.jpg": as_pillow(encoded(PHOTO[:1, :1], "JPEG")),
    "rgb.jpg": as_pillow(encoded(PHOTO, "JPEG", keep_rgb=True)),
    "cmyk.jpg": as_pillow(encoded(INKS, "JPEG", quality=95)),
    "ycck.jpg": as_pillow(ycck()),
    "two pictures (MPO).jpg": as_pillow(encoded(PHOTO, "MPO", save_all=True, append_images=more())),
    "a video behind it.jpg": Good(JPEG + b"\0\0\0\x18ftypmp42" + bytes(999), by_pillow(JPEG)),
    "damaged profile.jpg": Good(with_segment(JPEG, 0xE2, b"ICC_PROFILE\0\1\2junk"), by_pillow(JPEG)),
    "scans in its preview.jpg": Good(with_segment(JPEG, 0xE1, b"Exif\0\0" + b"\xff\xda" * 999), by_pillow(JPEG)),
    "turned.jpg": Good(encoded(PHOTO, "JPEG", quality=95, exif=exif(6)), turned(by_pillow(JPEG), 6)),
    "mirrored.jpg": Good(encoded(PHOTO, "JPEG", quality=95, exif=exif(5)), turned(by_pillow(JPEG), 5)),
    "hostile exif.jpg": Good(with_segment(JPEG, 0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff"), by_pillow(JPEG)),
    "start alone.jpg": Bad(JPEG[:3], "^(truncated|damaged): "),
    "cut in the header.jpg": Bad(JPEG[:100], "^truncated: "),
    "cut in the middle.jpg": Bad(part(JPEG, 0.5), "^truncated: Premature end"),
    "cut at the end.jpg": Bad(JPEG[:-2], "^truncated: Premature end"),
    "hole.jpg": Bad(zeroed(JPEG), "^damaged: Corrupt JPEG data"),
    "hundred scans.jpg": Bad(progressive_jpeg(9400, 106), "^too slow to decode: .* in 107 scans"),
    # PNG
    "rgb.png": Good(PNG, PHOTO),
    "grey.png": Good(png_of(GREY), three(GREY)),
    "grey and alpha.png": Good(png_of(np.dstack([GREY, GREY[::-1]])), three(GREY)),
    "alpha.png": Good(png_of(np.dstack([PHOTO, GREY])), PHOTO),
    "palette.png": Good(encoded(PALETTED, "PNG"), np.array(PALETTED.convert("RGB"))),
    "transparent palette.png": Good(
        encoded(PALETTED, "PNG", transparency=bytes(range(64))), np.array(PALETTED.convert("RGB"))
    ),
    "one bit.png": as_pillow(encoded(Image.fromarray(GREY).convert("1"), "PNG")),
    "16 bit grey.png": Good(png_of(grey16()), three((grey16() >> 8).astype(np.uint8))),
    "16 bit.png": Good(png_of(np.dstack([grey16()] * 3)), three((grey16() >> 8).astype(np.uint8))),
    "16 bit and alpha.png": Good(png_of(np.dstack([grey16()] * 4)), three((grey16() >> 8).astype(np.uint8))),
    "animated.png": Good(encoded(PHOTO, "PNG", save_all=True, append_images=more()), PHOTO),
    "turned.png": Good(encoded(PHOTO, "PNG", exif=exif(8)), turned(PHOTO, 8)),
    "text bomb.png": Good(png(83, 61, 8, 2, ROWS, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26)))), PHOTO),
    "signature alone.png": Bad(PNG[:8], "^truncated: "),
    "cut in the header.png": Bad(PNG[:20], "^truncated: "),
    "cut in the middle.png": Bad(part(PNG, 0.5), "^truncated: it ends inside of its chunk 'IDAT'"),
    "cut at the end.png": Bad(PNG[:-12], "^truncated: "),
    "checksum.png": Bad(wrong_checksum(), "^damaged: the checksum of its chunk 'IDAT'"),
    "copied as text.png": Bad(PNG.replace(b"\r\n", b"\n"), "^damaged: its first bytes were changed"),
    "too large.png": Bad(png(60_000, 60_000, 8, 2, b""), "^too large: 60000x60000 pixels"),
    "too few rows.png": Bad(png(83, 61, 8, 2, ROWS[: len(ROWS) // 2]), "^truncated: "),
    # WebP, GIF, BMP
    "lossy.webp": as_pillow(encoded(PHOTO, "WEBP")),
    "lossless.webp": Good(encoded(PHOTO, "WEBP", lossless=True), PHOTO),
    "alpha.webp": Good(encoded(np.dstack([PHOTO, GREY]), "WEBP", lossless=True, exact=True), PHOTO),
    "animated.webp": Good(encoded(PHOTO, "WEBP", lossless=True, save_all=True, append_images=more()), PHOTO),
    "turned.webp": Good(encoded(PHOTO, "WEBP", lossless=True, exif=exif(3)), turned(PHOTO, 3)),
    "cut.webp": Bad(part(encoded(PHOTO, "WEBP"), 0.6), "^truncated: "),
    "picture.gif": as_pillow(encoded(PHOTO, "GIF")),
    "transparent.gif": Good(encoded(PALETTED, "GIF", transparency=5), np.array(PALETTED.convert("RGB"))),
    "animated.gif": as_pillow(encoded(PHOTO, "GIF", save_all=True, append_images=more())),
    "cut.gif": Bad(part(encoded(PHOTO, "GIF"), 0.6), "^truncated: "),
    "picture.bmp": Good(encoded(PHOTO, "BMP"), PHOTO),
    "palette.bmp": Good(encoded(PALETTED, "BMP"), np.array(PALETTED.convert("RGB"))),
    "run lengths.bmp": run_lengths(),
    "cut.bmp": Bad(part(encoded(PHOTO, "BMP"), 0.6), "^truncated: "),
    # TIFF
    "plain.tif": Good(encoded(PHOTO, "TIFF"), PHOTO),
    "lzw.tif": Good(encoded(PHOTO, "TIFF", compression="tiff_lzw"), PHOTO),
    "deflated.tif": Good(encoded(PHOTO, "TIFF", compression="tiff_adobe_deflate"), PHOTO),
    "jpeg inside.tif": as_pillow(encoded(PHOTO, "TIFF", compression="jpeg")),
    "fax.tif": as_pillow(encoded(Image.fromarray(GREY).convert("1"), "TIFF", compression="group4")),
    "big-endian.tif": Good(tiff_of(PHOTO, ">"), PHOTO),
    "BigTIFF.tif": Good(tiff_of(PHOTO, big=True), PHOTO),
    "16 bit.tif": Good(tiff_of(grey16()), three((grey16() >> 8).astype(np.uint8))),
    "12 bit.tif": Good(TWELVE_BITS, np.full((8, 8, 3), 0x88, np.uint8)),
    "floats.tif": Good(tiff_of(FLOATS), three(GREY)),
    "white is zero.tif": Good(tiff_of(grey16(), t262=(3, (0,))), three(255 - (grey16() >> 8).astype(np.uint8))),
    "cmyk.tif": as_pillow(encoded(INKS, "TIFF")),
    "two pages.tif": Good(encoded(PHOTO, "TIFF", save_all=True, append_images=more()), PHOTO),
    "turned.tif": Good(tiff_of(PHOTO, t274=(3, (7,))), turned(PHOTO, 7)),
    "cut.tif": Bad(part(tiff_of(PHOTO), 0.6), "^truncated: "),
    "cut in the directory.tif": Bad(tiff_of(PHOTO)[:40], "^truncated: "),
    "integers.tif": Good(tiff_of(GREY.astype(np.int32) * 257), three(GREY)),
    "wide integers.tif": Bad(tiff_of(GREY.astype(np.int32) * 999), "^32-bit integers from .*: no known scale"),
    "signed.tif": Bad(tiff_of(GREY.astype(np.int16)), "^signed 16-bit integers: no known scale"),
    "heights.tif": Bad(tiff_of(FLOATS * 903 - 3), "^32-bit float values from -3 to 900: no known scale"),
    "lab.tif": Bad(lab(), "^LAB colours: not supported"),
    "raw.dng": Bad(tiff_of(PHOTO, t50706=(1, (1, 4, 0, 0))), "a camera's raw file"),
    # PNM, AVIF, JPEG 2000, HEIC
    "binary.ppm": Good(encoded(PHOTO, "PPM"), PHOTO),
    "text.ppm": Good(text_ppm(), PHOTO),
    "16 bit.pgm": Good(
        b"P5\n83 61\n65535\n" + grey16().astype(">u2").tobytes(), three((grey16() >> 8).astype(np.uint8))
    ),
    "one bit.pbm": as_pillow(encoded(Image.fromarray(GREY).convert("1"), "PPM")),
    "floats.pfm": Good(encoded(Image.fromarray(FLOATS), "PPM"), three(GREY)),
    "cut.ppm": Bad(part(encoded(PHOTO, "PPM"), 0.6), "^truncated: "),
    "picture.avif": as_pillow(encoded(PHOTO, "AVIF")),
    "turned.avif": Good(encoded(PHOTO, "AVIF", exif=exif(6)), turned(by_pillow(encoded(PHOTO, "AVIF")), 6)),
    "cut.avif": Bad(part(encoded(PHOTO, "AVIF"), 0.6), "^truncated: "),
    "picture.jp2": Good(encoded(PHOTO, "JPEG2000"), PHOTO),
    "16 bit.jp2": Good(encoded(Image.fromarray(grey16()), "JPEG2000"), three((grey16() >> 8).astype(np.uint8))),
    "cut.jp2": Bad(part(encoded(PHOTO, "JPEG2000"), 0.6), "^truncated: "),
    "layers.j2k": Bad(jpeg_2000(4000, 65535, 0x55), "^too slow to decode: "),
    "phone.heic": Good(heic(PHOTO), PHOTO, close=True),
    "turned phone.HEIC": Good(heic(PHOTO, 6), turned(PHOTO, 6), close=True),
    "cut.heic": Bad(part(heic(PHOTO), 0.6), "^truncated: "),
    # no images
    "empty.jpg": Bad(b"", "^empty file$"),
    "text.jpg": Bad(b"hello world", "^not an image$"),
    "zeros.jpg": Bad(bytes(4096), "^not an image: only zero bytes$"),
    "error page.jpg": Bad(b"<!DOCTYPE html><title>404</title>", "^not an image: an HTML page$"),
    "pointer.jpg": Bad(b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
    "archive.jpg": Bad(b"PK\3\4" + bytes(60), "a ZIP archive"),
    "video.jpg": Bad(b"\0\0\0\x18ftypisom" + bytes(60), "a video"),
    "drawing.svg": Bad(b'<svg xmlns="http://www.w3.org/2000/svg"/>', "^SVG drawing: not supported"),
    "program.jpg": Bad(b"%!PS-Adobe-3.0 EPSF-3.0\n{ } loop\n%%EOF\n", "^PostScript document: not supported"),
    "page.jpg": Bad(b"%PDF-1.7\n", "^PDF document: not supported"),
    "layers.psd": Bad(b"8BPS\0\1" + bytes(60), r"^Photoshop \(PSD\) image: not supported"),
    "favicon.ico": Bad(b"\0\0\1\0\1\0" + bytes(60), r"^Windows icon \(ICO\) image: not supported"),
    "new.jxl": Bad(b"\xff\x0a" + bytes(60), "^JPEG XL image: not supported, convert it$"),
    "raw.cr2": Bad(b"II*\0\x10\0\0\0CR\2\0" + bytes(60), r"^CR2 \(a camera's raw file\): not supported"),
}

NAMES = (
    "no extension",
    "png inside.jpg",
    "UPPER.JPG",
    "two.dots.jpg",
    "  spaces  .jpg",
    "-rf.jpg",
    "$(touch x);'\".jpg",
    "日本語😀.jpg",
    unicodedata.normalize("NFD", "café déjà.jpg"),
    "a" * 251 + ".jpg",
    "picture.weights",
    "trailing dot.",
    "100%20.jpg",
    "hash#fragment?.jpg",
)
"""Names of ordinary pictures, each to be found under this very name."""

ODD_NAMES: Mapping[bytes, tuple[str, str]] = {
    b"caf\xe9.jpg": (r"caf\xe9.jpg", "its name is no UTF-8"),
    b"new\nline.jpg": ("new\nline.jpg", "its name has a character"),
    b"back\\slash.jpg": ("back\\slash.jpg", "its name has a character"),
}
"""Bytes of a name -> how it is listed, and the reason."""

PIPES = ("metadata.csv", "metadata.jsonl", "README.md", "LOC_val_solution.csv")
"""Names that readers look into to tell a layout, beside the class folder."""

LEFT_OUT = ("boxes.xml", "Thumbs.db", "labels.csv", "download.part")


SPECIAL = {
    "broken link.jpg": "^a link to nothing$",
    "link to itself.jpg": "^cannot be read: Too many levels",
    "link to all": "^a link to a folder that holds it$",
    "endless.jpg": "^a device, no file$",
    "pipe.jpg": "^a pipe, no file$",
    "socket.jpg": "^a socket, no file$",
}
"""Entries that are no ordinary files, and the reasons."""


def make_special(folder: Path) -> None:
    (folder / "broken link.jpg").symlink_to("nowhere.jpg")
    (folder / "link to itself.jpg").symlink_to("link to itself.jpg")
    (folder / "link to all").symlink_to(folder)
    (folder / "endless.jpg").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.jpg")
    here = Path.cwd()
    os.chdir(folder)  # the kernel limits the path of a socket
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket.jpg")
    finally:
        os.chdir(here)


class Outcome(NamedTuple):
    """What a run made of a folder. pixels: as later stages see an image; seconds: of every call of decode."""

    images: Mapping[str, ImageRow]
    refused: Mapping[str, str]
    said: list[str]
    seconds: list[float]
    pixels: Callable[[str], np.ndarray]


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def ingested(data: Path, root: Path, patch: pytest.MonkeyPatch, **options: Any) -> Outcome:
    """Run the reader `folder` and stage ingest on a folder, in this process."""
    seconds: list[float] = []
    decode = worker.decode

    def timed(image: bytes, **how: bool) -> np.ndarray:
        begun = time.perf_counter()
        try:
            return decode(image, **how)
        finally:
            seconds.append(time.perf_counter() - begun)

    patch.setattr(worker, "decode", timed)
    logger, lines = logging.getLogger("weakbox.ingest"), Lines()
    level = logger.level
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    dataset = {"reader": "folder", "root": str(data), **options}
    target = runs.target_of({"run_root": str(root), "dataset": dataset, "max_quarantined": 1.0})
    try:
        runs.execute(target)
    finally:
        logger.removeHandler(lines)
        logger.setLevel(level)
    images = {row["image_id"]: cast(ImageRow, row) for row in runs.rows(target, "ingest", "images")}
    refused = {row["image_id"]: row["reason"] for row in runs.rows(target, "ingest", "quarantine")}
    read = LocalContext(target.store, roots={"ingest": str(data)}).read_image
    return Outcome(images, refused, lines.lines, seconds, lambda name: load(read, images[f"cat/{name}"]))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """The run over all of them."""
    folder = tmp_path_factory.mktemp("odd")
    data = folder / "data" / "cat"
    data.mkdir(parents=True)
    for name, made in FILES.items():
        (data / name).write_bytes(made.data)
    for name in NAMES:
        (data / name).write_bytes(PNG if name == "png inside.jpg" else JPEG)
    for raw in ODD_NAMES:
        (Path(os.fsdecode(os.fsencode(data) + b"/" + raw))).write_bytes(JPEG)
    for name in LEFT_OUT:
        (data / name).write_bytes(b"beside")
    (data / "link.jpg").symlink_to("baseline.jpg")
    for name in PIPES:
        os.mkfifo(folder / "data" / name)
    make_special(data)
    with pytest.MonkeyPatch.context() as patch:
        yield ingested(folder / "data", folder / "run", patch)


def test_every_file_is_an_image_or_quarantined(outcome):
    """Breaks when a file vanishes, counts twice, or ends the run: rows in = images + quarantine."""
    listed = [*FILES, *NAMES, *(name for name, _ in ODD_NAMES.values()), *SPECIAL, "link.jpg"]
    assert len(listed) > 120
    assert len(outcome.images) + len(outcome.refused) == len(listed)
    assert {*outcome.images, *outcome.refused} == {f"cat/{name}" for name in listed}


@pytest.mark.parametrize("name", [name for name, made in FILES.items() if isinstance(made, Good)])
def test_images_have_their_pixels(outcome, name):
    """Breaks when an unusual image is refused, or decoded to other pixels than the stated rule gives."""
    made, row = FILES[name], outcome.images.get(f"cat/{name}")
    assert isinstance(made, Good)
    assert row is not None, outcome.refused[f"cat/{name}"]
    pixels = outcome.pixels(name)
    assert (row["height"], row["width"], 3) == pixels.shape == made.pixels.shape
    assert not row["lenient"]
    if made.close:
        assert np.abs(pixels.astype(int) - made.pixels).mean() < 4
    else:
        np.testing.assert_array_equal(pixels, made.pixels)


@pytest.mark.parametrize("name", [name for name, made in FILES.items() if isinstance(made, Bad)])
def test_what_is_no_image_is_quarantined_with_its_reason(outcome, name):
    """Breaks when it passes for an image, or nobody can tell from the reason what to do."""
    made = FILES[name]
    assert isinstance(made, Bad)
    assert re.search(made.reason, outcome.refused.get(f"cat/{name}", "an image")), outcome.refused.get(f"cat/{name}")


@pytest.mark.parametrize("name", NAMES)
def test_names_are_kept_as_they_are(outcome, name):
    """Breaks when a name is normalised, quoted or cut, so that it names another file or none."""
    np.testing.assert_array_equal(outcome.pixels(name), PHOTO if name == "png inside.jpg" else by_pillow(JPEG))


@pytest.mark.parametrize("name", [*SPECIAL, *(name for name, _ in ODD_NAMES.values())])
def test_special_entries_are_rows(outcome, name):
    """Breaks when one of them is opened - and waits, or never ends - or when it ends the run."""
    reasons = {**SPECIAL, **dict(ODD_NAMES.values())}
    assert re.search(reasons[name], outcome.refused[f"cat/{name}"])


def test_a_link_to_an_image_is_that_image(outcome):
    """Breaks when links are not followed."""
    np.testing.assert_array_equal(outcome.pixels("link.jpg"), by_pillow(JPEG))


def test_files_beside_images_are_left_out_and_said(outcome):
    """Breaks when annotations become broken images, or are left out in silence."""
    said = next(line for line in outcome.said if "left out" in line)
    assert "8 files that are no images" in said
    for count in ("3 .csv", "1 .xml", "1 .db", "1 .part"):
        assert count in said


def test_no_file_takes_long(outcome):
    """Breaks when one file can keep a worker busy."""
    assert len(outcome.seconds) >= len(FILES)
    assert max(outcome.seconds) < LIMIT_S


def test_lenient_takes_in_what_is_damaged_and_says_so(tmp_path, monkeypatch):
    """Breaks when leniency takes in texts, leaves half an image out, or cannot be told from the row."""
    data = tmp_path / "data" / "cat"
    data.mkdir(parents=True)
    for name, made in FILES.items():
        (data / name).write_bytes(made.data)
    outcome = ingested(tmp_path / "data", tmp_path / "run", monkeypatch, lenient=True)
    mended = {f"cut {where}.{kind}" for where in ("in the middle", "at the end") for kind in ("jpg", "png")}
    mended |= {"hole.jpg", "checksum.png", "too few rows.png", "cut.gif", "cut.bmp", "cut.tif", "cut.ppm"}
    assert {name.removeprefix("cat/") for name, row in outcome.images.items() if row["lenient"]} == mended
    good = {name for name, made in FILES.items() if isinstance(made, Good)}
    assert {name.removeprefix("cat/") for name in outcome.images} == good | mended
    assert outcome.pixels("cut in the middle.jpg").shape == PHOTO.shape


def test_recognition_looks_at_regular_files_alone(tmp_path):
    """Breaks when a pipe by the name of a table is opened, which waits for ever, or a linked folder is a file."""
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data" / "train").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "a.jpg").write_bytes(JPEG)
    (tmp_path / "data" / "b.jpg").symlink_to(tmp_path / "elsewhere" / "a.jpg")
    os.mkfifo(tmp_path / "data" / "metadata.csv")
    make_special(tmp_path / "data")
    tree = Tree(str(tmp_path / "data"))
    assert tree.names() == (("link to all", "train"), ("b.jpg",))
    assert tree.files("train") == ("a.jpg",)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_a_row(tmp_path, monkeypatch):
    """Breaks when one file or folder of mode 000 ends the run."""
    data = tmp_path / "data" / "cat"
    (data / "closed").mkdir(parents=True)
    (data / "closed" / "a.jpg").write_bytes(JPEG)
    (data / "open.jpg").write_bytes(JPEG)
    (data / "secret.jpg").write_bytes(JPEG)
    (data / "secret.jpg").chmod(0)
    (data / "closed").chmod(0)
    try:
        outcome = ingested(tmp_path / "data", tmp_path / "run", monkeypatch)
    finally:
        (data / "closed").chmod(0o700)
    assert set(outcome.images) == {"cat/open.jpg"}
    assert outcome.refused["cat/secret.jpg"].startswith("cannot be read: Permission denied")
    assert outcome.refused["cat/closed"].startswith("a folder that cannot be listed: Permission denied")
