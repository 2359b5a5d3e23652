from __future__ import annotations

import io
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo

from closeup.core.errors import PhotoError, ProjectError
from closeup.core.types import Box, Photo, PhotoState
from closeup.photos import reading as images
from closeup.photos.kinds import photo_suffixes
from closeup.photos.reading import CODES, hash_file, read_photo, read_picture_again, turn_of
from tests.conftest import save_photo


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def smooth(size: tuple[int, int] = (64, 48), seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def oriented(value: object) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def code_of(source: images.Source, **options: int) -> str:
    with pytest.raises(PhotoError) as caught:
        read_photo(source, **options)
    assert caught.value.code in CODES
    assert caught.value.message
    return caught.value.code


# What cannot be read


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    assert code_of(tmp_path / "none.jpg") == "missing"
    assert code_of(tmp_path / "loop.jpg") == "missing"
    assert code_of(tmp_path / ("x" * 300)) == "missing"
    assert code_of("a\0b.jpg") == "missing"
    assert code_of(tmp_path / "empty.jpg" / "x.jpg") == "missing"
    assert code_of(tmp_path / "pipe.jpg") == "not_a_file"
    assert code_of(tmp_path / "folder.jpg") == "not_a_file"
    assert code_of(tmp_path / "empty.jpg") == "empty"
    assert code_of(b"") == "empty"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    save_photo(tmp_path / "a.jpg").chmod(0)
    assert code_of(tmp_path / "a.jpg") == "no_permission"


def test_permission_error_has_its_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    file = save_photo(tmp_path / "a.jpg")
    monkeypatch.setattr(Path, "open", refuse)
    assert code_of(file) == "no_permission"


def test_not_an_image() -> None:
    assert code_of(b"just text, no picture") == "not_an_image"
    assert code_of(b"%PDF-1.4 a document") == "not_an_image"
    for start in (b"x", b"xx", b"abc", b"\xff\xd8", b"\x89PN"):
        assert code_of(start) == "not_an_image"
    assert code_of(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == "not_an_image"


def test_heic_is_told_apart() -> None:
    broken = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"  # unsupported without its reader
    assert code_of(broken) in {"unsupported", "damaged"}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "GIF"])
def test_truncated(kind: str) -> None:
    data = encode(smooth(), kind)
    assert code_of(data[: len(data) * 2 // 3]) == "truncated"


def test_truncated_webp_is_refused() -> None:
    data = encode(smooth(), "WEBP")
    assert code_of(data[: len(data) // 2]) == "damaged"


def test_broken_header() -> None:
    assert code_of(encode(smooth(), "JPEG")[:20]) in ("damaged", "truncated")
    assert code_of(b"\x89PNG\r\n\x1a\n" + b"garbage" * 9) in ("damaged", "truncated")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "AVIF"])
def test_damage_of_every_kind_has_a_code(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    random = np.random.default_rng(1)
    data = np.frombuffer(encode(smooth(), kind, **exif_for(kind)), np.uint8)
    codes = set()
    for _ in range(60):
        broken = data.copy()
        places = random.integers(0, min(len(data), 200), 6)
        broken[places] = random.integers(0, 256, 6)
        try:
            pixels = read_photo(broken.tobytes(), max_pixels=10**6)
        except PhotoError as err:
            codes.add(err.code)
        else:
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == 3
    assert codes
    assert codes <= set(CODES)


def exif_for(kind: str) -> dict[str, Image.Exif]:
    return {"exif": oriented(6)} if kind in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF") else {}


def test_too_large_is_seen_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(smooth((60, 50)), "PNG")
    assert read_photo(data, max_pixels=3000).shape == (50, 60, 3)
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    assert code_of(data, max_pixels=2999) == "too_large"


def test_own_limit_holds_not_that_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # 3,000 pixels would be a "bomb"
    assert read_photo(encode(smooth((60, 50)), "JPEG")).shape == (50, 60, 3)


# Colours


def test_single_pixel() -> None:
    image = Image.new("RGB", (1, 1), (10, 20, 30))
    assert read_photo(encode(image, "PNG")).tolist() == [[[10, 20, 30]]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP", "PPM", "JPEG", "JPEG2000"])
def test_formats(kind: str) -> None:
    image = smooth()
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
    pixels = read_photo(encode(image, kind, **lossless.get(kind, {})))
    close = 12 if kind == "JPEG" else 0
    assert np.abs(pixels.astype(int) - np.asarray(image)).max() <= close


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_turned_once() -> None:
    pixels = read_photo(encode(smooth((64, 48)), "AVIF", exif=oriented(6)))
    assert pixels.shape == (64, 48, 3)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_the_turn_of_an_avif_is_known_whatever_its_brand(tmp_path: Path) -> None:
    data = encode(smooth((64, 48)), "AVIF", exif=oriented(6))
    (tmp_path / "1.avif").write_bytes(data.replace(b"ftypavif", b"ftypmif1", 1))
    assert turn_of(tmp_path / "1.avif") == Image.Transpose.ROTATE_270


def test_first_frame_of_a_gif() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert read_photo(data)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (2, 2), (255, 0, 0, 0)), [255, 255, 255]),
        (Image.new("RGBA", (2, 2), (0, 0, 0, 51)), [204, 204, 204]),
        (Image.new("LA", (2, 2), (0, 0)), [255, 255, 255]),
        (Image.new("L", (2, 2), 77), [77, 77, 77]),
        (Image.new("1", (2, 2), 1), [255, 255, 255]),
        (Image.new("P", (2, 2), 0), [0, 0, 0]),
        (Image.new("CMYK", (2, 2), (255, 0, 0, 0)), [0, 255, 255]),
        (Image.new("YCbCr", (2, 2), (128, 128, 128)), [128, 128, 128]),
        (Image.fromarray(np.full((2, 2), 0x8180, np.uint16)), [0x81] * 3),
        (Image.fromarray(np.full((2, 2), 200, np.int32)), [200] * 3),
        (Image.fromarray(np.full((2, 2), 0x8180, np.int32)), [0x81] * 3),
        (Image.fromarray(np.array([[0, 1 << 20]], np.int32)), [0, 0, 0]),
        (Image.fromarray(np.full((2, 2), 0.5, np.float32)), [127] * 3),
        (Image.fromarray(np.full((2, 2), 100.0, np.float32)), [100] * 3),
        (Image.fromarray(np.array([[-5.0, np.nan, 1000.0]], np.float32)), [0, 0, 0]),
    ],
)
def test_modes(image: Image.Image, expected: list[int]) -> None:
    pixels = read_photo(image)
    assert pixels.shape == (image.height, image.width, 3)
    assert pixels.dtype == np.uint8
    assert pixels[0, 0].tolist() == expected


def test_16_bit_png_keeps_its_range() -> None:
    dark = np.linspace(0, 0x2FFF, 64, dtype=np.uint16).reshape(8, 8)
    assert read_photo(encode(Image.fromarray(dark), "PNG")).max() == 0x2F


def test_transparent_palette() -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    pixels = read_photo(encode(image, "PNG", transparency=0))
    assert pixels.tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_transparent_colour_of_an_rgb_png() -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    pixels = read_photo(encode(image, "PNG", transparency=(1, 2, 3)))
    assert pixels.tolist() == [[[255, 255, 255], [9, 9, 9]]]


def test_cmyk_jpeg_is_not_inverted() -> None:
    data = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100)
    red = read_photo(data)[8, 8]
    assert red[0] > 245
    assert red[1:].max() < 10


@pytest.mark.parametrize("mode", ["LAB", "HSV", "PA", "RGBX", "RGBa", "La", "I;16B"])
def test_rare_modes(mode: str) -> None:
    assert read_photo(Image.new(mode, (2, 3))).shape == (3, 2, 3)


# Orientation


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(kind: str, orientation: int) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8] = 255  # white top left corner
    back = {1: [], 2: [2], 3: [3], 4: [4], 5: [5], 6: [8], 7: [7], 8: [6]}[orientation]
    stored = Image.fromarray(upright)
    for step in back:
        stored = stored.transpose(images._TURNS[step])
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(kind, {})
    data = encode(stored, kind, exif=oriented(orientation), **lossless)
    for source in (data, Image.open(io.BytesIO(data))):
        pixels = read_photo(source)
        assert pixels.shape == upright.shape
        assert np.abs(pixels.astype(int) - upright).mean() < 3


def test_corrupt_exif_does_no_harm() -> None:
    data = encode(smooth(), "JPEG", exif=oriented(6))
    at = data.index(b"Exif\0\0") + 6
    for tiff in (b"XX", b"II*\0\xff\xff\xff\x7f"):
        broken = data[:at] + tiff + data[at + len(tiff) :]
        assert read_photo(broken).shape == (48, 64, 3)


def test_odd_orientation_is_none() -> None:
    assert read_photo(encode(smooth(), "JPEG", exif=oriented(99))).shape == (48, 64, 3)


# Arrays


def test_arrays() -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert read_photo(grey).shape == (2, 3, 3)
    assert read_photo(grey[:, :, None])[1, 2].tolist() == [5, 5, 5]
    rgb = np.dstack([grey] * 3)
    assert np.array_equal(read_photo(rgb[:, ::-1]), rgb[:, ::-1])
    clear = np.zeros((2, 3, 4), np.uint8)
    assert read_photo(clear).min() == 255


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2, 3), np.uint16),
        np.zeros((2, 2, 2), np.uint8),
        np.zeros((2, 2, 5), np.uint8),
        np.zeros((1, 2, 2, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_arrays_of_another_kind_are_refused(array: np.ndarray) -> None:
    assert code_of(array) == "unsupported"


def test_array_limits() -> None:
    assert code_of(np.zeros((0, 5, 3), np.uint8)) == "empty"
    assert code_of(np.zeros((5, 5, 3), np.uint8), max_pixels=24) == "too_large"


# Around it


def test_threads_leave_warnings_as_they_were() -> None:
    broken = encode(smooth(), "TIFF").replace(b"II*\0", b"II*\0", 1)
    data = encode(smooth(), "JPEG", exif=oriented(6))
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        shapes = {p.shape for p in pool.map(read_photo, [data, broken] * 40)}
    assert shapes == {(64, 48, 3), (48, 64, 3)}
    assert warnings.filters == before


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "PNG"])
def test_what_a_file_says_beside_its_pixels_is_not_handed_on(kind: str) -> None:
    """A comment of 100 kB would be too long for the JPEG file of a close-up."""
    text = b"long" * 16_000 if kind == "JPEG" else b"long" * 25_000
    options: dict[str, object] = {"comment": text}
    if kind == "PNG":
        about = PngInfo()
        about.add_itxt("comment", text.decode())
        options = {"pnginfo": about}
    given = Image.open(io.BytesIO(encode(smooth(), kind, **options)))
    for source in (encode(smooth(), kind, **options), given):
        picture = images.read_picture(source)
        assert picture.upright.info == {}
        assert picture.crop(Box(0, 0, 9, 9)).info == {}
    assert given.info  # the caller's own is left alone


def test_a_file_that_grows_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.png"
    smooth().save(file)
    before = os.stat_result((0,) * 6 + (5,) + (0,) * 3)
    monkeypatch.setattr(images.os, "fstat", lambda _: before)  # five bytes, it said
    with file.open("rb") as stream:
        picture, found = images.read_and_hash(file, stream, 10**6)
    assert (picture.size, found) == ((64, 48), hash_file(file))


@pytest.mark.parametrize("at_once", [1 << 20, 10])
def test_a_photo_and_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(images, "AT_ONCE", at_once)
    file = tmp_path / "a.png"
    smooth().save(file)
    with file.open("rb") as stream:
        picture, found = images.read_and_hash(file, stream, 10**6)
    assert found == hash_file(file)
    assert np.array_equal(picture.pixels(), read_photo(file))
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open("rb") as stream, pytest.raises(PhotoError) as caught:
        images.read_and_hash(tmp_path / "empty", stream, 10**6)
    assert caught.value.code == "empty"


def test_hash_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert hash_file(tmp_path / "a").startswith("ba7816bf")
    with pytest.raises(PhotoError, match="no such file"):
        hash_file(tmp_path / "b")


def test_suffixes() -> None:
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".bmp", ".gif", ".heic"} <= photo_suffixes()
    assert not {".pdf", ".mpg", ".eps", ".h5", ".txt", ".csv"} & photo_suffixes()


def test_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    save_photo(file, (20, 10))
    photo = Photo("a-1", str(tmp_path), "a.png", "", "", "", PhotoState.READABLE, "", "", 20, 10,
                  1, 1, hash_file(file))  # fmt: skip
    assert read_picture_again(photo).size == (20, 10)  # the time may be another, the bytes not
    Image.new("RGB", (20, 10), (1, 2, 3)).save(file)
    with pytest.raises(ProjectError, match="a different photo of 20 x 10"):
        read_picture_again(photo)
    for size in ((10, 20), (10, 10), (40, 40)):
        save_photo(tmp_path / "a.png", size)
        with pytest.raises(ProjectError, match="changed"):
            read_picture_again(photo)
    (tmp_path / "a.png").unlink()
    with pytest.raises(ProjectError, match="no such file"):
        read_picture_again(photo)
