"""A folder of photos as ``closeup collect`` leaves it, made without a network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

GIVEN = ("url", "label", "group", "licence", "licence_url", "creator", "landing_page", "title",
         "attribution", "source")  # fmt: skip
BY = {
    "licence": "CC BY 4.0", "licence_url": "https://creativecommons.org/licenses/by/4.0/",
    "creator": "Ada", "landing_page": "https://photos.example/1", "title": "An ash",
    "source": "commons",
}  # fmt: skip


def saved(file: Path, root: Path, **given: str) -> dict[str, object]:
    """The row of a saved file of ``root/LABEL/``, with what the list gave of it."""
    data = file.read_bytes()
    url = f"https://photos.example/{file.name}"
    return {
        **dict.fromkeys(GIVEN, ""), "url": url, "label": file.parent.name, "final_url": url,
        "status": "saved", "http_status": 200, "reason": "", "robots": "allowed",
        "time": "2026-01-01T00:00:00+00:00", "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data), "type": "image/png", "width": 60, "height": 40,
        "path": file.relative_to(root).as_posix(), "attempts": 1, **given,
    }  # fmt: skip


def failed(url: str) -> dict[str, object]:
    """The row of an address that gave no photo."""
    return {
        **dict.fromkeys((*GIVEN, "final_url", "robots", "sha256", "type", "path"), ""), "url": url,
        "label": "ash", "status": "failed", "http_status": 404, "reason": "not found",
        "time": "2026-01-01T00:00:00+00:00", "bytes": 0, "width": 0, "height": 0, "attempts": 3,
    }  # fmt: skip


def write_collected(root: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write ``collected.parquet`` beside the photos."""
    file = root / "collected.parquet"
    pq.write_table(pa.Table.from_pylist([dict(one) for one in rows]), file)
    return file
