"""Small valid pictures as bytes, and the headers of pictures that are not there."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image

SIDE = 60_000
"""Of the pictures that a bomb's header promises."""


@cache
def smooth(width: int = 96, height: int = 72, seed: int = 0) -> Image.Image:
    """A picture of smooth colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """`image` as a file of the format `kind`."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@cache
def plain(kind: str) -> bytes:
    """The smooth picture in a format, a few kilobytes."""
    options = {"WEBP": {"quality": 80}, "JPEG": {"quality": 90}}.get(kind, {})
    return encode(smooth(), kind, **options)


def png_chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file with its right checksum."""
    body = name + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG file whose header says this size, with the given chunks and an end."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    end = png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + b"".join(chunks) + end


def with_chunk(data: bytes, *chunks: bytes) -> bytes:
    """A PNG file with further chunks behind its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def with_segment(data: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG file with a further segment behind its start."""
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + data[2:]


def jpeg_of_size(data: bytes, width: int, height: int) -> bytes:
    """A JPEG file whose frame header says another size."""
    at = next(i for i in range(len(data)) if data[i : i + 2] in (b"\xff\xc0", b"\xff\xc2"))
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def exif(orientation: int, *, order: str = "<", kind: int = 3, count: int = 1) -> bytes:
    """EXIF data with an orientation of a type and count that may be wrong."""
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(f"{order}HI", 42, 8)
    value = struct.pack(f"{order}H2x", orientation)
    return head + struct.pack(f"{order}HHHI", 1, 0x0112, kind, count) + value + b"\0\0\0\0"


def with_exif(data: bytes, block: bytes) -> bytes:
    """A JPEG file with an EXIF segment."""
    return with_segment(data, 0xE1, b"Exif\0\0" + block)


def bombs() -> dict[str, bytes]:
    """Small files that promise huge pictures, by file name."""
    little, big = struct.pack("<II", SIDE, SIDE), struct.pack(">II", SIDE, SIDE)
    row = zlib.compress(b"\0" * 4096)
    tiff = plain("TIFF")
    canvas = (16_383).to_bytes(3, "little") * 2
    return {
        "bomb.png": png(SIDE, SIDE, png_chunk(b"IDAT", row)),
        "bomb-1bit.png": png(SIDE, SIDE, png_chunk(b"IDAT", row), depth=1, colour=0),
        "bomb-empty.png": png(SIDE, SIDE),
        "bomb-most.png": png(2**31 - 1, 2**31 - 1, png_chunk(b"IDAT", row)),
        "bomb.jpg": jpeg_of_size(plain("JPEG"), SIDE, SIDE),
        "bomb-progressive.jpg": jpeg_of_size(
            encode(smooth(), "JPEG", progressive=True), SIDE, SIDE
        ),
        "bomb.gif": b"GIF89a" + struct.pack("<HH", SIDE, SIDE) + plain("GIF")[10:],
        "bomb.bmp": plain("BMP")[:18] + struct.pack("<ii", SIDE, SIDE) + plain("BMP")[26:],
        "bomb.ppm": b"P6 60000 60000 255\n" + b"\0" * 999,
        "bomb.qoi": b"qoif" + big + b"\x03\0" + b"\xc0" * 999,
        "bomb.psd": b"8BPS\0\1" + b"\0" * 6 + b"\0\3" + big + b"\0\x08\0\3" + b"\0" * 99,
        "bomb.tif": _tiff_of_size(tiff),
        "bomb.webp": b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10)
        + b"\0" * 4 + canvas,
        "bomb.dds": b"DDS \x7c\0\0\0\x07\x10\0\0" + little + b"\0" * 108,
        "bomb.ico": _ico(png(SIDE, SIDE, png_chunk(b"IDAT", row))),
    }  # fmt: skip


def _tiff_of_size(data: bytes) -> bytes:
    """A TIFF file whose two size tags say more than is there."""
    (at,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[at : at + 2])
    changed = bytearray(data)
    for place in range(at + 2, at + 2 + 12 * count, 12):
        if struct.unpack("<H", data[place : place + 2])[0] in (0x100, 0x101):
            changed[place + 2 : place + 12] = struct.pack("<HII", 4, 1, SIDE)
    return bytes(changed)


def _ico(inside: bytes) -> bytes:
    """An icon of 16 x 16 by its directory, with a PNG inside that says otherwise."""
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inside), 22)
    return b"\0\0\1\0\1\0" + entry + inside
