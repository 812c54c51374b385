import numpy as np
import pytest
import torch
from PIL import Image

from stages.vision.batches import to_batch
from stages.vision.decoding import jpeg
from stages.vision.images import ImageError, decode, resize
from stages.vision.preprocessing import IMAGENET
from tests.stages.vision.decoding.made_files import by_pillow, encoded, photo


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("options", [{"quality": 40}, {"quality": 95}, {"progressive": True}, {"optimize": True}])
def test_fast_path_equals_pillow(subsampling, options):
    """A fast DCT, fast upsampling or BGR order in the fast decoder would change pixels, and with them every number."""
    data = encoded(photo(), "JPEG", subsampling=subsampling, **options)
    np.testing.assert_array_equal(decode(data), by_pillow(data))


def test_fast_path_is_taken_and_optional(monkeypatch):
    """Without simplejpeg the same pixels must come from Pillow; with it, Pillow must not be asked."""
    pytest.importorskip("simplejpeg")
    data = encoded(photo(), "JPEG")
    with monkeypatch.context() as patch:
        patch.setattr(jpeg, "opened", None)
        fast = decode(data)
    monkeypatch.setattr(jpeg, "simplejpeg", None)
    np.testing.assert_array_equal(fast, decode(data))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_jpeg_modes(mode):
    """Grey must become three equal channels; CMYK must be converted, not read as if it were RGB."""
    data = encoded(Image.fromarray(photo()).convert(mode), "JPEG")
    result = decode(data)
    assert result.shape == (61, 83, 3)
    np.testing.assert_array_equal(result, by_pillow(data))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "RGB"])
def test_png_modes(mode):
    """A mode left unconverted has another number of channels or another dtype."""
    data = encoded(Image.fromarray(photo()).convert(mode), "PNG")
    result = decode(data)
    assert result.shape == (61, 83, 3)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, by_pillow(data))


def test_sixteen_bit_grey_is_scaled():
    """Pillow's own conversion clips 16-bit grey at 255: the image would be white."""
    values = np.array([[0, 256], [0x8000, 0xFFFF]], dtype=np.uint16)
    np.testing.assert_array_equal(decode(encoded(values, "PNG"))[:, :, 0], [[0, 1], [128, 255]])


def test_orientation_is_ignored():
    """Turning by EXIF unasked would leave the data sets' boxes on the wrong side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(photo(), "JPEG", exif=exif)
    assert decode(data).shape == (61, 83, 3)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\xff\xd8\xff", b"\xff\xd8\xff" + bytes(100), b"\x89PNG\r\n\x1a\n", bytes(64)]
)
def test_bad_content_is_an_image_error(data):
    """Any other exception would take a bad file for a broken program."""
    with pytest.raises(ImageError):
        decode(data)


def test_reasons_are_short_and_telling():
    """The reason is what a user reads in the quarantine table."""
    with pytest.raises(ImageError, match="^empty file$"):
        decode(b"")
    with pytest.raises(ImageError, match="^not an image$"):
        decode(b"plain text")
    with pytest.raises(ImageError, match="^truncated: "):
        decode(encoded(photo(), "JPEG", quality=95)[:-400])


def test_resize_does_not_alias():
    """Stepping over pixels turns a fine checkerboard black or white instead of grey."""
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = resize(np.repeat(board[:, :, None], 3, axis=2), 32)
    assert small.shape == (32, 32, 3)
    assert np.abs(small.astype(int) - 127).max() <= 1


def test_resize_keeps_place():
    """A shift by half a pixel at the border would move every box."""
    for height, width in ((64, 64), (50, 200), (400, 300), (16, 20)):
        ramp = np.repeat(np.linspace(0, 255, width)[None, :, None], height, axis=0)
        image = np.repeat(ramp, 3, axis=2).round().astype(np.uint8)
        row = resize(image, 64)[32, :, 0].astype(float)
        np.testing.assert_allclose(row, 255 - row[::-1], atol=2)
    assert resize(image, 64).dtype == np.uint8


def test_to_batch_normalises():
    """Channels in the wrong order, or bytes not scaled by 255, give plausible but wrong features."""
    pixels = photo(8, 8)
    batch = to_batch([pixels, photo(8, 8, seed=1)], IMAGENET)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = ((torch.from_numpy(pixels).float() / 255 - mean) / std).permute(2, 0, 1)
    assert batch.shape == (2, 3, 8, 8)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(batch[0], expected)


def test_to_batch_refuses_mixed_sizes():
    """The message must name the shapes, not numpy's stacking."""
    with pytest.raises(ValueError, match="differ in shape"):
        to_batch([photo(8, 8), photo(8, 9)], IMAGENET)
    with pytest.raises(ValueError, match="empty"):
        to_batch([], IMAGENET)
