"""Read photos from a request: one as its body, or one or more as the files of a form."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.requests import Request

from closeup.web.limits import limited
from closeup.web.refusal import Refusal

# curl sends --data-binary as a form by default; a real form would not be a picture.
_RAW = ("", "application/octet-stream", "application/x-www-form-urlencoded")


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What one request may contain, and how long it may take to arrive."""

    most_bytes: int = 32_000_000
    most_photos: int = 32
    seconds: float = 30


async def read_photos(request: Request, limits: UploadLimits) -> list[tuple[str, bytes]]:
    """The photos of a request, at least one: each a file name (``""`` for a bare body) and content.

    Raises a Refusal: 400 if the form is broken or has no file, 408 and 413 beyond the limits, 415
    if the type of the body is neither a form nor a picture.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    bounded = limited(request, most_bytes=limits.most_bytes, seconds=limits.seconds)
    if kind == "multipart/form-data":
        return await _read_form(bounded, limits)
    if not kind.startswith("image/") and kind not in _RAW:
        raise Refusal(
            415, "unsupported", f"{kind} is not a photo; send a picture file as the body "
            "(image/jpeg, application/octet-stream), or as the files of multipart/form-data",
        )  # fmt: skip
    return [("", await bounded.body())]


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
