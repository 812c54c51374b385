"""Pictures and curves as text: geometry, orientation, determinism."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from stages.report.figures import HEAT_SIDE, THUMBNAIL, curve_plot, heat_uri, photo_uri


def pixels(uri: str) -> np.ndarray:
    """Decode a data URI to RGB."""
    data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    return np.array(Image.open(io.BytesIO(data)))


def test_photographs_keep_colours_aspect_and_small_sizes() -> None:
    """Breaks when channels are swapped, an image is squashed, or a small one is enlarged."""
    image = np.zeros((300, 600, 3), np.uint8)
    image[:] = (200, 60, 10)
    shown = pixels(photo_uri(image))
    assert shown.shape == (THUMBNAIL // 2, THUMBNAIL, 3)
    assert np.abs(shown.astype(int) - (200, 60, 10)).max() < 6
    assert pixels(photo_uri(image[:20, :30])).shape == (20, 30, 3)


def test_heat_is_red_where_the_map_is_high() -> None:
    """Breaks when the map is transposed, flipped, not min-maxed, or its colours are read as BGR."""
    image = np.full((80, 40, 3), 90, np.uint8)
    score_map = np.full((8, 4), -3.0, np.float16)
    score_map[0:2, 2:4] = 40.0
    shown = pixels(heat_uri(image, score_map)).astype(int)
    assert shown.shape == (HEAT_SIDE, HEAT_SIDE // 2, 3)
    red, blue = shown[:, :, 0], shown[:, :, 2]
    assert red[:20, 60:].mean() > blue[:20, 60:].mean() + 30
    assert red[100:].mean() < red[:20, 60:].mean() - 30
    assert red[:20, :20].mean() < red[:20, 60:].mean() - 30


@pytest.mark.parametrize("fill", [0.0, np.nan, np.inf])
def test_a_flat_or_broken_map_is_drawn_as_zeros(fill: float) -> None:
    """Breaks when a fallback map makes the report fail."""
    image = np.full((20, 20, 3), 90, np.uint8)
    assert heat_uri(image, np.full((3, 3), fill)) == heat_uri(image, np.zeros((3, 3)))


def test_a_curve_runs_left_to_right_with_its_best_point_marked() -> None:
    """Breaks when rows arrive in another order, the axis is upside down, or the dot is not at the maximum."""
    thresholds, values = np.array([1.0, 0.0, 0.5]), np.array([0.0, 40.0, 80.0])
    (line,) = curve_plot("t", [("cam", 0, thresholds, values)], top=80, width=100, height=50).lines
    assert line.points == "0.0,25.0 50.0,0.0 100.0,50.0"
    assert (line.best_x, line.best_y, line.best_threshold, line.best_value) == (50.0, 0.0, 0.5, 80.0)
