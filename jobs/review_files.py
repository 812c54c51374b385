"""What a person needs to draw boxes on some pictures: a page, a CSV to fill, and tasks for Label Studio."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.formats.review_csv import to_fill

__all__ = ["Drawn", "files_of"]

_TEMPLATES = Path(__file__).parent / "templates"
_SIDE, _QUALITY = 900, 85
"""Longest side and JPEG quality of a picture on the page; its boxes are in pixels of the picture itself."""


class Drawn(NamedTuple):
    """A picture to draw boxes on. pixels: ``(H, W, 3)`` uint8 RGB, as weakbox uses it."""

    image_id: str
    class_name: str
    pixels: np.ndarray


def files_of(pictures: Sequence[Drawn], title: str) -> dict[str, bytes]:
    """The files of a review: file name -> content."""
    return {
        "review.html": _page(pictures, title).encode(),
        "review.csv": to_fill(picture.image_id for picture in pictures).encode(),
        "labelstudio.json": json.dumps([_task(picture) for picture in pictures], indent=1).encode(),
    }


def _page(pictures: Sequence[Drawn], title: str) -> str:
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    images = [
        {
            "id": picture.image_id,
            "class_name": picture.class_name,
            "width": picture.pixels.shape[1],
            "height": picture.pixels.shape[0],
            "src": _uri(picture.pixels),
        }
        for picture in pictures
    ]
    return environment.get_template("review.html.j2").render(images=images, title=title)


def _task(picture: Drawn) -> dict[str, object]:
    """A task of Label Studio, the picture inside; a template with Image and RectangleLabels fits it."""
    return {"data": {"image": _uri(picture.pixels), "image_id": picture.image_id, "class_name": picture.class_name}}


def _uri(pixels: np.ndarray) -> str:
    factor = min(1.0, _SIDE / max(pixels.shape[:2]))
    size = max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if factor < 1 else pixels
    _, encoded = cv2.imencode(".jpg", np.ascontiguousarray(small[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"
