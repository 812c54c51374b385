"""Image files of many kinds, made by hand where no encoder makes them."""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Literal

import cv2
import numpy as np
from PIL import Image

Order = Literal["<", ">"]
TIFF_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}


def photo(height: int = 61, width: int = 83, seed: int = 0) -> np.ndarray:
    """A smooth coloured image with some texture, so that chroma subsampling and quantisation matter."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def grey16(height: int = 61, width: int = 83) -> np.ndarray:
    """A grey image of all 16 bits."""
    return (photo(height, width)[:, :, 0].astype(np.uint16) << 8) | photo(height, width, 1)[:, :, 0]


def encoded(picture: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    """A picture as a file that Pillow writes."""
    buffer = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    """What Pillow makes of a file, converted to RGB."""
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def heic(picture: np.ndarray | Image.Image, orientation: int = 1, **options: object) -> bytes:
    """A HEIC file, turned by its properties irot and imir."""
    import pillow_heif

    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = pillow_heif.from_pillow(image)
    file.info["exif"] = exif(orientation)
    buffer = io.BytesIO()
    file.save(buffer, **{"quality": 95, "chroma": 444, **options})
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    """EXIF data that name an orientation, as Pillow writes them."""
    tags = Image.Exif()
    tags[274] = orientation
    return tags.tobytes()


def chunk(kind: bytes, contents: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))


def png(width: int, height: int, depth: int, colours: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG file of filtered rows. more: chunks before the image data."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0))
    parts = [header, *more, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_of(picture: np.ndarray) -> bytes:
    """A PNG file of a uint8 or uint16 array ``(H, W)`` or ``(H, W, 1 to 4)``, every bit of it."""
    height, width = picture.shape[:2]
    colours = {1: 0, 2: 4, 3: 2, 4: 6}[picture.reshape(height, width, -1).shape[2]]
    rows = picture.reshape(height, -1).astype(picture.dtype.newbyteorder(">"))
    return png(width, height, 8 * picture.itemsize, colours, b"".join(b"\0" + row.tobytes() for row in rows))


def tiff(tags: Mapping[int, tuple[int, Sequence[int]]], body: bytes, order: Order = "<", big: bool = False) -> bytes:
    """A TIFF file: its header, one directory, the values that do not fit into it, then `body`.

    tags: tag -> (type, values). The values of tag 273 count from the start of the body.
    """
    count, entry, offset = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    room = struct.calcsize("<" + offset)
    start = 16 if big else 8
    after = start + struct.calcsize(order + count) + len(tags) * (struct.calcsize(order + entry) + room) + room
    packed = {tag: struct.pack(f"{order}{len(v)}{TIFF_TYPES[kind]}", *v) for tag, (kind, v) in tags.items()}
    ends = after + sum(len(values) for values in packed.values() if len(values) > room)
    places = [ends + place for place in tags[273][1]] if 273 in tags else []
    if places:
        packed[273] = struct.pack(f"{order}{len(places)}{TIFF_TYPES[tags[273][0]]}", *places)
    entries, outside = b"", b""
    for tag in sorted(tags):
        values = packed[tag]
        inside = values.ljust(room, b"\0") if len(values) <= room else struct.pack(order + offset, after + len(outside))
        entries += struct.pack(order + entry, tag, tags[tag][0], len(tags[tag][1])) + inside
        outside += values if len(values) > room else b""
    mark = {"<": b"II", ">": b"MM"}[order]
    head = mark + struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, start) if big else (42, start)))
    return head + struct.pack(order + count, len(tags)) + entries + bytes(room) + outside + body


def tiff_of(picture: np.ndarray, order: Order = "<", big: bool = False, **more: tuple[int, Sequence[int]]) -> bytes:
    """An uncompressed TIFF file of an array ``(H, W)`` or ``(H, W, C)``. more: t258=(3, (12,)) sets tag 258."""
    height, width = picture.shape[:2]
    samples = picture.reshape(height, width, -1).shape[2]
    body = picture.astype(picture.dtype.newbyteorder(order)).tobytes()
    kind = {"u": 1, "i": 2, "f": 3}[picture.dtype.kind]
    tags: dict[int, tuple[int, Sequence[int]]] = {
        256: (4, (width,)),
        257: (4, (height,)),
        258: (3, (8 * picture.itemsize,) * samples),
        259: (3, (1,)),
        262: (3, (2 if samples > 2 else 1,)),
        273: (4, (0,)),
        277: (3, (samples,)),
        278: (4, (height,)),
        279: (4, (len(body),)),
        339: (3, (kind,) * samples),
    }
    return tiff({**tags, **{int(name[1:]): value for name, value in more.items()}}, body, order, big)


def progressive_jpeg(side: int, scans: int, sampling: int = 0x11) -> bytes:
    """A grey progressive JPEG of three components, `scans` more passes over all of it in a few hundred bytes each.

    sampling: factors of the first component, horizontal and vertical.
    """
    blocks = (-(-side // 8)) ** 2
    runs, spare = divmod(blocks, 2**15 - 1)
    bits = "0" + "1" * 14
    packed = (bits * (runs + bool(spare))).ljust(-(-15 * (runs + bool(spare)) // 8) * 8, "1")
    refinement = int(packed, 2).to_bytes(len(packed) // 8).replace(b"\xff", b"\xff\0")
    parts = [b"\xff\xd8", _segment(0xDB, b"\0" + b"\1" * 64)]
    parts += [_segment(0xC2, struct.pack(">BHHB", 8, side, side, 3) + bytes([1, sampling, 0, 2, 17, 0, 3, 17, 0]))]
    parts += [_segment(0xC4, table + b"\1" + bytes(15) + code) for table, code in ((b"\0", b"\0"), (b"\x10", b"\xe0"))]
    parts += [_segment(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 0, 0])), bytes(blocks)]
    for number in range(scans):
        parts += [_segment(0xDA, bytes([1, 1 + number % 3, 0, 1, 63, 0])), refinement]
    return b"".join(parts) + b"\xff\xd9"


def with_segment(jpeg: bytes, marker: int, contents: bytes) -> bytes:
    """A JPEG file with a segment more at its beginning."""
    return jpeg[:2] + _segment(marker, contents) + jpeg[2:]


def _segment(marker: int, contents: bytes) -> bytes:
    return struct.pack(">BBH", 255, marker, len(contents) + 2) + contents


def jpeg_2000(side: int, layers: int = 1, precincts: int = 0xFF, components: int = 1) -> bytes:
    """A JPEG 2000 codestream without data: one tile, one resolution. precincts: log2 of their sides, as in COD."""
    size = struct.pack(">HIIIIIIIIH", 0, side, side, 0, 0, side, side, 0, 0, components) + b"\7\1\1" * components
    style = bytes([1, 0]) + struct.pack(">H", layers) + bytes([0, 0, 4, 4, 0, 1, precincts])
    parts = [b"\xff\x4f", _segment(0x51, size), _segment(0x52, style), _segment(0x5C, b"\x40\x40")]
    tile = _segment(0x90, struct.pack(">HIBB", 0, 12 + 2 + 64, 0, 1)) + b"\xff\x93" + bytes(64)
    return b"".join(parts) + tile + b"\xff\xd9"


def bitmap(width: int, height: int, compression: int, body: bytes) -> bytes:
    """A BMP file of 256 colours (16 for compression 2): greys, which run lengths name."""
    bits = 4 if compression == 2 else 8
    palette = b"".join(bytes([value] * 3 + [0]) for value in range(0, 256, 1 if bits == 8 else 16))
    start = 54 + len(palette)
    head = struct.pack("<IHHI", start + len(body), 0, 0, start)
    size = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(body), 0, 0, 1 << bits, 0)
    return b"BM" + head + size + palette + body
