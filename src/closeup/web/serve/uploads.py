"""Read photos from a request: one as its body, in JSON, or one or more as the files of a form."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.requests import Request

from closeup.core.errors import PhotoError
from closeup.web.limits import limited
from closeup.web.refusal import Refusal

# curl sends --data-binary as a form by default; a real form would not be a picture.
JSON = "application/json"
_FORM = f'{JSON} {{"image": "<base64>"}}'
_RAW = ("", "application/octet-stream", "application/x-www-form-urlencoded")


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What one request may contain, and how long it may take to arrive."""

    most_bytes: int = 32_000_000
    most_photos: int = 32
    seconds: float = 30


async def read_photos(request: Request, limits: UploadLimits) -> list[tuple[str, bytes]]:
    """The photos of a request, at least one: each a file name (``""`` if it has none) and content.

    Raises a Refusal: 400 if the form is broken or has no file or the JSON is not base64, 408 and
    413 beyond the limits, which are checked before anything is decoded, 415 if the body is neither
    a form, nor JSON with an image, nor a picture.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    bounded = limited(request, most_bytes=limits.most_bytes, seconds=limits.seconds)
    if kind == "multipart/form-data":
        return await _read_form(bounded, limits)
    if kind == JSON:
        try:
            body = await bounded.body()
            return [("", await asyncio.to_thread(photo_in_json, body))]
        except PhotoError as err:
            raise Refusal(415 if err.code == "unsupported" else 400, err.code, err.message) from err
    if not kind.startswith("image/") and kind not in _RAW:
        raise Refusal(
            415, "unsupported", f"{kind} is not a photo; send a picture file as the body "
            "(image/jpeg, application/octet-stream), as the files of multipart/form-data, or in "
            f"base64 as {_FORM}",
        )  # fmt: skip
    return [("", await bounded.body())]


def photo_in_json(body: bytes) -> bytes:
    """The picture file in ``{"image": "<base64>"}``, which may be a ``data:`` URL.

    Raises a PhotoError: `unsupported` if the body is something else, `damaged` if it is not base64.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    text = found.get("image") if isinstance(found, dict) else None
    if not isinstance(text, str):
        raise PhotoError("unsupported", f"the body is not {_FORM}")
    if text[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise PhotoError("unsupported", "the image is a data: URL without base64")
    try:
        return base64.b64decode(text.encode("ascii").translate(None, b" \t\r\n"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as err:
        raise PhotoError("damaged", f"the image is not base64 ({err})") from err


async def _read_form(request: Request, limits: UploadLimits) -> list[tuple[str, bytes]]:
    # One more file than allowed, so that the message below can say what is wrong.
    async with request.form(
        max_files=limits.most_photos + 1, max_fields=16, max_part_size=10_000
    ) as form:
        files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        if not files:
            raise Refusal(
                400, "no_photo", "the form has no file; send each photo as a field `photo` "
                "with a file name (curl: -F photo=@new.jpg)",
            )  # fmt: skip
        if len(files) > limits.most_photos:
            raise Refusal(413, "too_many", f"a request may contain {limits.most_photos} "
                          "photos; send the rest in further requests")  # fmt: skip
        return [(file.filename or "", await file.read()) for file in files]
