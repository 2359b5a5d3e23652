from __future__ import annotations

import io
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from closeup.core.errors import PhotoError
from closeup.photos.kinds import begins_like_a_photo, is_side_file, is_system_folder, what_it_is
from closeup.photos.raw import LEAST_PREVIEW
from closeup.photos.reading import read_photo
from tests.corpus.encode import encode, plain, smooth

HEIC = Path(__file__).parent.parent / "fixtures" / "turned.heic"
"""64 x 48, red left and blue right, to be turned by 90 degrees (EXIF orientation 6)."""


def message(data: bytes) -> tuple[str, str]:
    with pytest.raises(PhotoError) as caught:
        read_photo(data)
    return caught.value.code, caught.value.message


def tiff(
    first: dict[int, tuple[int, ...]], *subs: tuple[dict[int, tuple[int, ...]], bytes]
) -> bytes:
    """A TIFF file with a first directory, and one below it for each of `subs` with its strip.

    All values are stored as 32-bit numbers.
    """
    strip = bytes(48)
    here = 8
    first = {**first, 273: (0,), 279: (len(strip),)}
    if subs:
        first[330] = tuple(range(len(subs)))
    size = 6 + 12 * len(first) + 4 * (len(subs) if len(subs) > 1 else 0)
    at = here + size
    first[273] = (at,)
    at += len(strip)
    places, parts = [], [strip]
    for tags, data in subs:
        tags = {**tags, 273: (at,), 279: (len(data),)}
        places.append(at + len(data))
        parts += [data, directory(tags, at + len(data))]
        at += len(data) + len(parts[-1])
    if subs:
        first[330] = tuple(places)
    return struct.pack("<2sHI", b"II", 42, here) + directory(first, here) + b"".join(parts)


def directory(tags: dict[int, tuple[int, ...]], at: int) -> bytes:
    rest = b""
    body = struct.pack("<H", len(tags))
    behind = at + 6 + 12 * len(tags)
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            body += struct.pack("<HHII", tag, 4, len(values), behind + len(rest))
            rest += packed
        else:
            body += struct.pack("<HHI", tag, 4, 1) + packed
    return body + struct.pack("<I", 0) + rest


THUMBNAIL = {254: (1,), 256: (4,), 257: (4,), 258: (8,), 259: (1,), 262: (2,), 277: (3,),
             278: (4,), 50706: (0x00000401,)}  # fmt: skip
SENSOR = {254: (0,), 256: (4000,), 257: (3000,), 258: (16,), 259: (7,), 262: (32803,), 277: (1,)}
PREVIEW = {254: (1,), 259: (7,), 262: (6,)}


def dng(side: int, turn: int = 1) -> bytes:
    large, small = (encode(smooth(w, w * 3 // 4), "JPEG") for w in (side, side // 4))
    return tiff({**THUMBNAIL, 274: (turn,)}, (SENSOR, b"\xff\xd8sensor"),
                (PREVIEW, small), (PREVIEW, large))  # fmt: skip


def test_the_largest_preview_of_a_raw_photo_stands_for_it() -> None:
    assert read_photo(dng(LEAST_PREVIEW)).shape == (768, 1024, 3)
    assert read_photo(dng(LEAST_PREVIEW, turn=6)).shape == (1024, 768, 3)


def test_a_raw_photo_is_never_its_thumbnail() -> None:
    code, text = message(dng(400))
    assert code == "unsupported"
    assert text == (
        "this is a raw photo, whose embedded preview is only 400 x 300 pixels; export it as JPEG"
    )
    bare = tiff(THUMBNAIL, (SENSOR, b"\xff\xd8sensor"))
    assert "preview is missing" in message(bare)[1]
    with pytest.raises(PhotoError, match="more than the 1,000"):
        read_photo(dng(LEAST_PREVIEW), max_pixels=1000)


def test_a_raw_photo_cut_anywhere_is_refused_or_read() -> None:
    whole = dng(LEAST_PREVIEW)
    for end in (*range(8, 400, 7), *range(400, len(whole), len(whole) // 40)):
        with suppress(PhotoError):  # and nothing else
            read_photo(whole[:end])


def test_other_tiff_files_are_no_raw_photos() -> None:
    pages = io.BytesIO()
    smooth().save(pages, "TIFF", save_all=True, append_images=[smooth(48, 36)])
    assert read_photo(pages.getvalue()).shape == (72, 96, 3)
    assert read_photo(encode(smooth(), "TIFF", compression="jpeg")).shape == (72, 96, 3)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\0\0\0\x1cftypisom\0\0\2\0isomiso2avc1mp41" + bytes(40), "a film (MP4), not a photo"),
        (b"\0\0\0\x14ftypqt  \0\0\2\0qt  " + bytes(40), "a film (MP4), not a photo"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "a web page, not a photo"),
        (b"PK\x03\x04" + bytes(40), "a ZIP archive, not a photo"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "a Git LFS pointer"),
        (b"\xff\x0a" + bytes(40), "a JPEG XL photo, which cannot be read here"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "a JPEG XL photo, which cannot be read here"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(40), "a raw photo (CR3)"),
        (b"FUJIFILMCCD-RAW 0201" + bytes(40), "a raw photo (RAF)"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
    ],
)
def test_what_is_no_photo_is_named(data: bytes, what: str) -> None:
    code, text = message(data)
    assert what in text
    assert code == ("unsupported" if "cannot be read here" in text else "not_an_image")


def test_a_photo_is_read_by_its_content_whatever_it_is_called(tmp_path: Path) -> None:
    for kind in ("PNG", "WEBP", "AVIF", "GIF"):
        (tmp_path / "a.jpg").write_bytes(plain(kind))
        assert read_photo(tmp_path / "a.jpg").shape == (72, 96, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "JPEG2000"])
def test_photos_are_known_by_their_beginning(kind: str) -> None:
    assert begins_like_a_photo(plain(kind)[:32])


def test_other_files_are_not_taken_for_photos() -> None:
    for start in (b"", b"BM and other words", b"P5 is a road", b"a,b\n1,2\n", b"\x7fELF\2\1\1"):
        assert not begins_like_a_photo(start)
        assert not what_it_is(start)
    assert begins_like_a_photo(HEIC.read_bytes()[:32])
    assert not begins_like_a_photo(b"\0\0\0\x1cftypisom\0\0\2\0isom")


def test_names_of_side_files_and_system_folders() -> None:
    for name in ("README", "readme.dataset", "a.TXT", "x.jpg.xmp", "data.yaml", "LICENSE"):
        assert is_side_file(Path(name)) == (name != "readme.dataset"), name
    for name in ("@eaDir", "__MACOSX", "$RECYCLE.BIN", "#recycle", "lost+found", ".git"):
        assert is_system_folder(name)
    assert not is_system_folder("rolex")


def test_heic_without_its_reader_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pi_heif", None)
    code, text = message(HEIC.read_bytes())
    assert code == "unsupported"
    assert "pip install -e '.[heif]'" in text


def test_heic_is_read_upright() -> None:
    pytest.importorskip("pi_heif")
    pixels = read_photo(HEIC)
    assert pixels.shape == (64, 48, 3)
    red, blue = (np.array(Image.fromarray(half).resize((1, 1)))[0, 0] for half in
                 (pixels[:32, :24], pixels[32:, :24]))  # fmt: skip
    assert red[0] > 150 > red[2]
    assert blue[2] > 150 > blue[0]
    for end in range(40, HEIC.stat().st_size, 29):
        with suppress(PhotoError):  # and nothing else
            read_photo(HEIC.read_bytes()[:end])
