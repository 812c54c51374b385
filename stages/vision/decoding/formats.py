"""The format of a file by its first bytes, and messages for formats that are not decoded.

The allow-list is short, because every decoder is an attack surface. File names and extensions are ignored.
"""

from typing import Literal, get_args

from stages.vision.decoding.budget import MAX_BYTES
from stages.vision.decoding.errors import ImageError

Format = Literal["JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "PNM", "JPEG 2000", "AVIF", "HEIC"]
FORMATS: tuple[Format, ...] = get_args(Format)

_STARTS: tuple[tuple[bytes, Format], ...] = (
    (b"\x89PNG", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
)
_PNM = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf")

_CONVERT = "{} image: not supported, convert it"
_RAW = "{} (a camera's raw file): not supported, convert it"
_REFUSED: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\x0a", _CONVERT.format("JPEG XL")),
    (0, b"\0\0\0\x0cJXL ", _CONVERT.format("JPEG XL")),
    (0, b"8BPS", _CONVERT.format("Photoshop (PSD)")),
    (0, b"gimp xcf", _CONVERT.format("GIMP (XCF)")),
    (0, b"%PDF", "PDF document: not supported, convert its pages"),
    (0, b"%!", "PostScript document: not supported, convert it"),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript document: not supported, convert it"),
    (0, b"MM\0+", _CONVERT.format("big-endian BigTIFF")),
    (0, b"\0\0\1\0", _CONVERT.format("Windows icon (ICO)")),
    (0, b"\0\0\2\0", _CONVERT.format("Windows cursor (CUR)")),
    (0, b"icns", _CONVERT.format("Apple icon (ICNS)")),
    (8, b"CR\x02", _RAW.format("CR2")),
    (0, b"FUJIFILMCCD-RAW", _RAW.format("RAF")),
    (0, b"IIRO", _RAW.format("ORF")),
    (0, b"IIRS", _RAW.format("ORF")),
    (0, b"MMOR", _RAW.format("ORF")),
    (0, b"IIU\0", _RAW.format("RW2")),
    (6, b"HEAPCCDR", _RAW.format("CRW")),
    (0, b"FOVb", _RAW.format("X3F")),
    (0, b"II\xbc", _CONVERT.format("JPEG XR")),
    (0, b"DDS ", _CONVERT.format("DirectDraw surface (DDS)")),
    (0, b"v/1\x01", _CONVERT.format("OpenEXR")),
    (0, b"#?RADIANCE", _CONVERT.format("Radiance HDR")),
    (0, b"#?RGBE", _CONVERT.format("Radiance HDR")),
    (0, b"SIMPLE  =", _CONVERT.format("FITS")),
    (128, b"DICM", _CONVERT.format("DICOM")),
    (0, b"qoif", _CONVERT.format("QOI")),
    (0, b"BPG\xfb", _CONVERT.format("BPG")),
    (0, b"FLIF", _CONVERT.format("FLIF")),
    (0, b"AT&TFORM", _CONVERT.format("DjVu")),
    (0, b"\x8aMNG", _CONVERT.format("MNG")),
    (0, b"\x8bJNG", _CONVERT.format("JNG")),
    (0, b"P7\n", _CONVERT.format("PAM")),
    (0, b"PF\n", _CONVERT.format("PFM")),
    (0, b"\xd7\xcd\xc6\x9a", _CONVERT.format("Windows metafile (WMF)")),
    (40, b" EMF", _CONVERT.format("Windows metafile (EMF)")),
    (0, b"\x59\xa6\x6a\x95", _CONVERT.format("Sun raster")),
    (0, b"PK\3\4", "not an image: a ZIP archive"),
    (0, b"\x1f\x8b", "not an image: gzip data"),
    (0, b"Rar!", "not an image: a RAR archive"),
    (0, b"version https://git-lfs", "not an image: a Git LFS pointer, its file was not fetched"),
    (8, b"AVI ", "not an image: a video"),
)
_VIDEO = frozenset({b"isom", b"iso2", b"mp41", b"mp42", b"qt  ", b"M4V ", b"avc1", b"3gp4", b"3gp5", b"dash"})
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_AVIF = frozenset({b"avif", b"avis"})
_HEAD = 1024


def recognised(data: bytes) -> Format:
    """The format of a file, if it is decoded. Raises ImageError for others, with the name of the format if known."""
    found = _format(data)
    if found is None:
        raise ImageError(_what_else(data))
    if len(data) > MAX_BYTES:
        raise ImageError(f"too large: a file of {len(data) / 1e6:.0f} MB, the limit is {MAX_BYTES / 1e6:.0f} MB")
    return found


def _format(data: bytes) -> Format | None:
    if data.startswith(b"\xff\xd8"):
        return "JPEG"
    if data.startswith(_PNM) and data[2:3].isspace():
        return "PNM"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        return _of_brands(_brands(data))
    if data.startswith(b"BM") and data[15:18] == b"\0\0\0":
        return "BMP"
    if data[8:11] == b"CR\x02":
        return None
    return next((name for start, name in _STARTS if data.startswith(start)), None)


def _brands(data: bytes) -> list[bytes]:
    """The brands of an ISO base media file, its main one first."""
    end = min(int.from_bytes(data[:4]), len(data), _HEAD)
    return [data[8:12], *(data[at : at + 4] for at in range(16, end, 4))]


def _of_brands(brands: list[bytes]) -> Format | None:
    if brands[0] in _AVIF or (brands[0] not in _HEIC - {b"mif1", b"msf1"} and _AVIF.intersection(brands)):
        return "AVIF"
    return "HEIC" if _HEIC.intersection(brands) else None


def _what_else(data: bytes) -> str:
    if not data:
        return "empty file"
    for at, mark, words in _REFUSED:
        if data.startswith(mark, at):
            return words
    if data[4:8] == b"ftyp":
        return _of_other_brand(data[8:12])
    return _of_text(data[:_HEAD].removeprefix(b"\xef\xbb\xbf").lstrip().lower()) or _of_nothing(data)


def _of_other_brand(brand: bytes) -> str:
    if brand == b"crx ":
        return _RAW.format("CR3")
    return "not an image: a video" if brand in _VIDEO else "not an image"


def _of_text(head: bytes) -> str | None:
    if head.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in head:
        return "SVG drawing: not supported, convert it"
    return "not an image: an HTML page" if head.startswith((b"<!doctype html", b"<html")) else None


def _of_nothing(data: bytes) -> str:
    return "not an image" if data.strip(b"\0") else "not an image: only zero bytes"
