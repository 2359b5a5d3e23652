"""Photos out of a request: one as its body, or one or many as the files of a form."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.requests import Request

from closeup.web.limits import limited
from closeup.web.refusal import Refusal

# curl sends --data-binary as a form unless told otherwise; a real form would be no picture.
_RAW = ("", "application/octet-stream", "application/x-www-form-urlencoded")


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What one request may hold, and how long it may take to arrive."""

    most_bytes: int = 32_000_000
    most_photos: int = 32
    seconds: float = 30


async def read_photos(request: Request, limits: UploadLimits) -> list[tuple[str, bytes]]:
    """The photos of a request: the name given to each, ``""`` for a bare body, and its content.

    Returns
    -------
    photos
        At least one. Whether it is a picture has not been looked at.

    Raises
    ------
    Refusal
        400 where the form is broken or holds no file, 408 and 413 beyond the limits, 415 where the
        body is neither a form nor called a picture.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    sent = limited(request, most_bytes=limits.most_bytes, seconds=limits.seconds)
    if kind == "multipart/form-data":
        return await _read_form(sent, limits)
    if not kind.startswith("image/") and kind not in _RAW:
        raise Refusal(
            415, "unsupported", f"{kind} is no photo; send a picture file as the body "
            "(image/jpeg, application/octet-stream), or as the files of multipart/form-data",
        )  # fmt: skip
    return [("", await sent.body())]


async def _read_form(request: Request, limits: UploadLimits) -> list[tuple[str, bytes]]:
    # One file more than allowed is let in, to be counted and named below.
    async with request.form(
        max_files=limits.most_photos + 1, max_fields=16, max_part_size=10_000
    ) as form:
        files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        if not files:
            raise Refusal(
                400, "no_photo", "the form holds no file; send each photo as a field `photo` "
                "with a file name (curl: -F photo=@new.jpg)",
            )  # fmt: skip
        if len(files) > limits.most_photos:
            raise Refusal(413, "too_many", f"a request may hold {limits.most_photos} photos; "
                          "send the others in further ones")  # fmt: skip
        return [(file.filename or "", await file.read()) for file in files]
