"""The kinds of files in the corpus, and what each must end as."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from closeup.photos.reading import CODES
from tests.corpus import encode as e

Put = Callable[[bytes], None]

READABLE = "readable"
"""The outcome of a file that is read; any other is a code of `closeup.photos.reading.CODES`."""
PASSED_OVER = "passed over"
"""The outcome of what is no file of the collection and has no row."""
ANY = frozenset({READABLE, *CODES})
"""For files whose damage may or may not show."""

_BROKEN = frozenset({"truncated", "damaged", "not_an_image", "empty"})
_CUT = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")
_SUFFIX = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp", "TIFF": "tif", "BMP": "bmp"}


@dataclass(frozen=True, slots=True)
class Kind:
    """Files of one sort.

    `outcomes` are those that each of them may have; with `may_fail`, a file system or user that
    cannot make one does without it.
    """

    name: str
    outcomes: frozenset[str]
    files: Callable[[], Iterator[tuple[bytes, Put]]]
    may_fail: bool = False


def _write(data: bytes) -> Put:
    def put(place: bytes) -> None:
        with open(place, "wb") as stream:  # noqa: PTH123 (bytes)
            stream.write(data)

    return put


def _all(files: Callable[[], dict[str, bytes]]) -> Callable[[], Iterator[tuple[bytes, Put]]]:
    made = cache(files)  # when first asked for: some take half a second
    return lambda: ((os.fsencode(name), _write(data)) for name, data in made().items())


def _cut(kind: str) -> Iterator[tuple[bytes, Put]]:
    data = e.plain(kind)
    for tenth in range(10):
        yield f"{tenth}.{_SUFFIX[kind]}".encode(), _write(data[: len(data) * tenth // 10])


def _progressive() -> Iterator[tuple[bytes, Put]]:
    data = e.encode(e.smooth(), "JPEG", progressive=True, quality=90)
    for tenth in range(1, 10):
        yield f"{tenth}.jpg".encode(), _write(data[: len(data) * tenth // 10])


def _flipped(kind: str) -> Iterator[tuple[bytes, Put]]:
    data = e.plain(kind)
    for tenth in range(10):
        changed = bytearray(data)
        changed[len(data) * tenth // 10] ^= 0x55
        yield f"{tenth}.{_SUFFIX[kind]}".encode(), _write(bytes(changed))


def _flipped_png() -> Iterator[tuple[bytes, Put]]:
    data = e.plain("PNG")
    for place in range(45, len(data) - 20, max(1, (len(data) - 65) // 10)):
        changed = bytearray(data)
        changed[place] ^= 0x10
        yield f"{place}.png".encode(), _write(bytes(changed))


def _wrong_suffix() -> Iterator[tuple[bytes, Put]]:
    for kind in _CUT:
        for suffix in ("jpg", "png", "bmp"):
            if suffix != _SUFFIX[kind]:
                yield f"{kind}.{suffix}".encode(), _write(e.plain(kind))


def _other_files() -> dict[str, bytes]:
    return {
        "page.jpg": b"<!DOCTYPE html><html><body>404 not found</body></html>",
        "text.jpg": b"hello",
        "script.png": b"#!/bin/sh\necho\n",
        "zip.jpg": b"PK\x03\x04" + b"\0" * 60,
        "pdf.jpg": b"%PDF-1.7\n%%EOF\n",
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "svg.png": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "zeros.jpg": b"\0" * 4096,
        "ones.png": b"\xff" * 4096,
        "byte.gif": b"\x80",
        "elf.jpg": b"\x7fELF\x02\x01\x01" + b"\0" * 99,
        "json.jpg": b"[" * 9999,
    }


def _extremes() -> dict[str, bytes]:
    files = {}
    for width, height in ((1, 1), (1, 2), (2, 1), (1, 999), (999, 1), (30_000, 20), (20, 30_000)):
        picture = Image.new("RGB", (width, height), (200, 100, 50))
        for kind in ("JPEG", "PNG"):
            files[f"{width}x{height}.{_SUFFIX[kind]}"] = e.encode(picture, kind)
    return files


def _modes() -> dict[str, bytes]:
    grey = np.arange(72 * 96, dtype=np.uint16).reshape(72, 96) * 9
    deep = np.stack([grey] * 3, -1).astype(">u2")
    rows = b"".join(b"\0" + line.tobytes() for line in deep)
    palette = e.smooth().quantize(16)
    clear = Image.merge("RGBA", (*e.smooth().split(), Image.linear_gradient("L").resize((96, 72))))
    cmyk = e.encode(e.smooth().convert("CMYK"), "JPEG")
    adobe = cmyk.index(b"Adobe") + 11
    return {
        "grey16.png": e.encode(Image.fromarray(grey), "PNG"),
        "grey16.tif": e.encode(Image.fromarray(grey), "TIFF"),
        "rgb16.png": e.png(96, 72, e.png_chunk(b"IDAT", zlib.compress(rows)), depth=16),
        "grey.jpg": e.encode(e.smooth().convert("L"), "JPEG"),
        "bilevel.png": e.encode(e.smooth().convert("1"), "PNG"),
        "integers.tif": e.encode(Image.fromarray(grey.astype(np.int32)), "TIFF"),
        "floats.tif": e.encode(Image.fromarray(grey.astype(np.float32)), "TIFF"),
        "cmyk.jpg": cmyk,
        "ycck.jpg": cmyk[:adobe] + b"\x02" + cmyk[adobe + 1 :],
        "cmyk.tif": e.encode(e.smooth().convert("CMYK"), "TIFF"),
        "lab.tif": e.encode(Image.new("LAB", (96, 72)), "TIFF"),
        "palette.png": e.encode(palette, "PNG"),
        "palette-clear.png": e.encode(palette, "PNG", transparency=3),
        "palette-clear.gif": e.encode(palette, "GIF", transparency=3),
        "palette-clear-bytes.png": e.encode(palette, "PNG", transparency=bytes(range(16))),
        "clear.png": e.encode(clear, "PNG"),
        "clear.webp": e.encode(clear, "WEBP", lossless=True),
        "grey-clear.png": e.encode(clear.convert("LA"), "PNG"),
        "colour-key.png": e.encode(e.smooth(), "PNG", transparency=(1, 2, 3)),
        "subsampled.jpg": e.encode(e.smooth(), "JPEG", subsampling=2),
        "arithmetic-quality-1.jpg": e.encode(e.smooth(), "JPEG", quality=1),
    }


def _several() -> dict[str, bytes]:
    frames = [e.smooth(seed=n) for n in range(1, 4)]
    more = {"save_all": True, "append_images": frames}
    return {
        "film.gif": e.encode(e.smooth(), "GIF", **more),
        "film.webp": e.encode(e.smooth(), "WEBP", **more),
        "film.png": e.encode(e.smooth(), "PNG", **more),
        "pages.tif": e.encode(e.smooth(), "TIFF", **more),
        "pair.mpo": e.encode(e.smooth(), "MPO", **more),
        "pair.jpg": e.encode(e.smooth(), "MPO", **more),
        "sizes.ico": e.encode(e.smooth(), "ICO"),
    }


def _formats() -> dict[str, bytes]:
    rgb = ("TGA", "PPM", "JPEG2000", "QOI", "PCX", "SGI", "DIB", "AVIF")
    suffixes = {"TGA": "tga", "PPM": "ppm", "JPEG2000": "jp2", "SGI": "rgb"}
    return {f"a.{suffixes.get(k, k.lower())}": e.encode(e.smooth(), k) for k in rgb}


def _exif() -> dict[str, bytes]:
    data = e.plain("JPEG")
    odd = {str(n): e.exif(n) for n in (*range(10), 255, 65535)}
    odd["big-endian"] = e.exif(6, order=">")
    odd["wrong-type"] = e.exif(6, kind=2)
    odd["unknown-type"] = e.exif(6, kind=99)
    odd["many"] = e.exif(6, count=2**31)
    odd["none"] = e.exif(6, count=0)
    odd["cut"] = e.exif(6)[:14]
    odd["empty"] = b""
    odd["noise"] = b"\xff" * 400
    odd["endless"] = e.exif(6)[:-4] + struct.pack("<I", 8)  # its next directory is itself
    odd["far"] = b"II*\0" + struct.pack("<I", 2**32 - 2)
    odd["crowded"] = b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" * 9
    odd["huge"] = e.exif(6) + b"\0" * 65_400
    return {f"{name}.jpg": e.with_exif(data, block) for name, block in odd.items()} | {
        "in.png": e.with_chunk(e.plain("PNG"), e.png_chunk(b"eXIf", e.exif(6))),
        "noise.png": e.with_chunk(e.plain("PNG"), e.png_chunk(b"eXIf", b"\xff" * 99)),
    }


def _profiles() -> dict[str, bytes]:
    named = b"ICC_PROFILE\0\x01\x01"
    huge = e.plain("JPEG")
    for part in range(200, 0, -1):
        huge = e.with_segment(huge, 0xE2, b"ICC_PROFILE\0" + bytes([part, 200]) + b"\0" * 65_000)
    return {
        "noise.jpg": e.with_segment(e.plain("JPEG"), 0xE2, named + b"\xff" * 3000),
        "empty.jpg": e.with_segment(e.plain("JPEG"), 0xE2, named),
        "part-of-none.jpg": e.with_segment(e.plain("JPEG"), 0xE2, b"ICC_PROFILE\0\x09\x02zzzz"),
        "huge.jpg": huge,
        "noise.tif": e.encode(e.smooth(), "TIFF", icc_profile=b"\xff" * 3000),
        "huge.webp": e.encode(e.smooth(), "WEBP", icc_profile=b"\0" * 3_000_000),
        "xmp-noise.jpg": e.with_segment(
            e.plain("JPEG"), 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<x" * 9999
        ),
    }


def _packed_text() -> dict[str, bytes]:
    """Metadata that unpacks to 64 megabytes."""
    packed = zlib.compress(b"\0" * 64_000_000, 9)
    png = e.plain("PNG")
    return {
        "comment.png": e.with_chunk(png, e.png_chunk(b"zTXt", b"a\0\0" + packed)),
        "comments.png": e.with_chunk(
            png, *(e.png_chunk(b"zTXt", b"%d\0\0" % n + packed) for n in range(9))
        ),
        "international.png": e.with_chunk(png, e.png_chunk(b"iTXt", b"a\0\1\0\0\0" + packed)),
        "profile.png": e.with_chunk(png, e.png_chunk(b"iCCP", b"a\0\0" + packed)),
    }


_NAMES = (
    "line\nbreak", "carriage\rreturn", "tab\t", "bell\a", "\x1b[31mred\x1b[0m", "\x1b]0;title\a",
    "\x9b31m", "\u202egpj.evil", "\u2066isolate", "emoji 🍎👩‍👩‍👧",
    "'single'", '"double"', "back\\slash",
    "-dash", "--out", "$(touch x)", "`touch x`", ";semi", "star*", "what?", "[a]", "{b}", "%s%n",
    "<b>bold<b>", "<script>alert(1)<script>", "&amp;", "a b  c", " lead", "trail ", "dots..",
    "caf\u00e9", "cafe\u0301", "NUL", "con", "aux", "x" * 251, "é" * 125, "\u200bzero width",
    "[red]markup[-red]", "100%", "#hash", "comma,", "colon:", "pipe|", "C:", "~", "!",
)  # fmt: skip


def _names() -> Iterator[tuple[bytes, Put]]:
    for number, name in enumerate(_NAMES):
        data = e.encode(e.smooth(seed=100 + number), "JPEG")
        yield os.fsencode(f"{name}.jpg"), _write(data)


def _not_text() -> Iterator[tuple[bytes, Put]]:
    for name in (b"\xff.jpg", b"a\xc3.png", b"\xed\xa0\x80.jpg", b"\xc0\xaf.jpg"):
        yield name, _write(e.plain("JPEG"))


def _link(target: bytes) -> Put:
    return lambda place: Path(os.fsdecode(place)).symlink_to(os.fsdecode(target))


def _links() -> Iterator[tuple[bytes, Put]]:
    yield b"dangling.jpg", _link(b"nowhere.jpg")
    yield b"itself.jpg", _link(b"itself.jpg")
    yield b"there.jpg", _link(b"back.jpg")
    yield b"back.jpg", _link(b"there.jpg")
    yield b"long.jpg", _link(b"x" * 300)


def _special() -> Iterator[tuple[bytes, Put]]:
    yield b"pipe.jpg", os.mkfifo
    yield b"null.jpg", _link(b"/dev/null")
    yield b"zero.png", _link(b"/dev/zero")


def _folders() -> Iterator[tuple[bytes, Put]]:
    yield b"folder.jpg", os.mkdir
    yield b"up", _link(b"..")
    yield b"here.png", _link(b".")
    yield b".hidden.jpg", _write(e.plain("JPEG"))
    yield b"notes.txt", _write(b"not a photo")


def _locked() -> Iterator[tuple[bytes, Put]]:
    if os.geteuid() == 0:
        return  # root may read everything

    def put(place: bytes) -> None:
        _write(e.plain("JPEG"))(place)
        os.chmod(place, 0)  # noqa: PTH101

    yield b"locked.jpg", put


_ONE = frozenset({READABLE})
BOMBS = frozenset({"bombs", "packed-text"})
KINDS = (
    *(Kind(f"cut-{k}", frozenset({"empty", "truncated", "damaged"}), partial(_cut, k))
      for k in _CUT),
    Kind("cut-progressive", frozenset({"truncated", "damaged"}), _progressive),
    Kind("cut-nothing", frozenset({"empty"}), _all(lambda: {f"{n}.jpg": b"" for n in range(3)})),
    *(Kind(f"flipped-{k}", ANY - {"io_error"}, partial(_flipped, k)) for k in _CUT),
    Kind("flipped-checked", _BROKEN, _flipped_png),
    Kind("wrong-suffix", _ONE, _wrong_suffix),
    Kind("other-files", frozenset({"not_an_image", "damaged"}), _all(_other_files)),
    Kind("bombs", frozenset({"too_large", "damaged", "truncated"}), _all(e.bombs)),
    Kind("packed-text", ANY, _all(_packed_text)),
    Kind("extremes", _ONE, _all(_extremes)),
    Kind("modes", _ONE, _all(_modes)),
    Kind("several", _ONE, _all(_several)),
    Kind("formats", _ONE, _all(_formats)),
    Kind("exif", _ONE, _all(_exif)),
    Kind("profiles", _ONE, _all(_profiles)),
    Kind("names", _ONE, _names, may_fail=True),
    Kind("names-not-text", frozenset({"bad_name"}), _not_text, may_fail=True),
    Kind("links", frozenset({"missing"}), _links, may_fail=True),
    Kind("special", frozenset({"not_a_file"}), _special, may_fail=True),
    Kind("folders", frozenset({PASSED_OVER}), _folders, may_fail=True),
    Kind("locked", frozenset({"no_permission"}), _locked),
)  # fmt: skip
