"""Fetch one file from a model hub: resumed where it broke off, checked, put in place at once.

huggingface_hub finds the file and makes the connection. Its own ``hf_hub_download`` checks no hash
and loses what it has received when the process ends.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from closeup.core.errors import NetworkDamaged, NetworkMissing
from closeup.core.progress import Progress, silent
from closeup.networks.engine import cache_folder, file_hash

if TYPE_CHECKING:
    from huggingface_hub.file_download import HfFileMetadata

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PATIENCE = 30.0  # seconds without an answer
_MOST_DROPS = 3  # in a row, with nothing received between them
_PARTIAL = 206
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def is_offline() -> bool:
    """Whether the environment forbids downloads (``HF_HUB_OFFLINE=1``)."""
    return any(os.environ.get(key, "").upper() in {"1", "ON", "YES", "TRUE"} for key in _OFFLINE)


def download(
    repo: str,
    filename: str,
    *,
    revision: str = "main",
    sha256: str | None = None,
    progress: Progress = silent,
    offline: bool | None = None,
) -> Path:
    """One file of a hub repository, downloaded unless it is on disk already.

    It is looked for in Closeup's cache (``downloads/REPO/REVISION/FILE``), then in
    huggingface_hub's, then on the hub (``HF_ENDPOINT``, else the public one).

    Parameters
    ----------
    repo, filename, revision
        As on the hub: ``"timm/resnet50.a1_in1k"``, ``"model.safetensors"``.
    sha256
        What the content must hash to; None takes the hash that the hub states, if any.
    progress
        Called with the bytes done and the total.
    offline
        Never contact the hub; None follows the environment.

    Raises
    ------
    NetworkMissing
        Where the file is neither on disk nor downloadable, or cannot be written.
    NetworkDamaged
        Where the content's hash is wrong, on disk or after a download.
    """
    from huggingface_hub import hf_hub_url, try_to_load_from_cache

    place = cache_folder() / "downloads" / repo.replace("/", "--") / revision / filename
    # Another tool may have fetched the file already.
    shared = try_to_load_from_cache(repo, filename, revision=revision)
    if not place.is_file() and isinstance(shared, str) and Path(shared).is_file():
        _check(Path(shared), sha256, ours=False)
        return Path(shared)
    endpoint = os.environ.get("HF_ENDPOINT") or None  # the library reads it when imported only
    url = hf_hub_url(repo, filename, revision=revision, endpoint=endpoint)
    return _fetch(url, place, f"{filename} of {repo}", sha256, progress, offline)


def download_url(
    url: str, place: Path, *, sha256: str, progress: Progress = silent, offline: bool | None = None
) -> Path:
    """The file at a plain address, downloaded to `place` unless it is there; see :func:`download`.

    `sha256` may be the first digits alone. The user's hub token is not sent.
    """
    return _fetch(url, place, place.name, sha256, progress, offline, token=False)


def _fetch(
    url: str,
    place: Path,
    what: str,
    sha256: str | None,
    progress: Progress,
    offline: bool | None,
    *,
    token: bool | None = None,
) -> Path:
    if place.is_file():
        _check(place, sha256)
        return place
    missing, put = f"{what} is not on disk", f"put the file at {place}"
    if is_offline() if offline is None else offline:
        raise NetworkMissing(f"{missing} and downloads are switched off; go online, or {put}")
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.errors import EntryNotFoundError, HTTPError, RepositoryNotFoundError

    try:
        about = get_hf_file_metadata(url, token=token)
        if sha256 is None and _SHA256.fullmatch(about.etag or ""):
            sha256 = about.etag
        # The hub sends large files on to another host, which must not see the user's token.
        if urlsplit(about.location).netloc != urlsplit(url).netloc:
            token = False
        _transfer(about, place, sha256, progress, token)
    except (EntryNotFoundError, RepositoryNotFoundError) as err:
        raise NetworkMissing(f"{missing} and {url} does not exist; {put}") from err
    except (HTTPError, OSError) as err:
        reason = str(err).strip().splitlines() or [type(err).__name__]
        raise NetworkMissing(
            f"{missing} and {url} cannot be fetched ({reason[0]}); "
            f"try again (a broken download resumes where it stopped), or {put}"
        ) from err
    return place


def _transfer(
    about: HfFileMetadata, place: Path, sha256: str | None, progress: Progress, token: bool | None
) -> None:
    from huggingface_hub.utils import WeakFileLock, build_hf_headers

    place.parent.mkdir(parents=True, exist_ok=True)
    # Named after the content, so that a file changed on the hub is never glued to an old half.
    mark = hashlib.sha256((about.etag or about.location).encode()).hexdigest()[:12]
    part = place.with_name(f"{place.name}.{mark}.part")
    # A compressed answer could not be resumed.
    headers = {**build_hf_headers(token=token), "Accept-Encoding": "identity"}
    total = about.size or 0
    with WeakFileLock(f"{part}.lock"):
        if place.is_file():  # another process has fetched it meanwhile
            return
        with part.open("ab") as target:
            for done in _receive(about.location, headers, target, total):
                progress(f"download {place.name}", done, total)
        if total and part.stat().st_size != total:
            part.unlink()
            raise NetworkDamaged(f"{about.location} is not {total} bytes long; try again")
        _check(part, sha256)
        part.replace(place)


def _receive(url: str, headers: dict[str, str], target: BinaryIO, total: int) -> Iterator[int]:
    """Append to `target` what it lacks of `url`, resuming lost connections; yields its size."""
    from huggingface_hub import get_session
    from huggingface_hub.errors import HfHubHTTPError, HTTPError
    from huggingface_hub.utils import hf_raise_for_status

    yield target.tell()
    drops = 0
    while not total or target.tell() < total:
        start = target.tell()
        wanted = {**headers, "Range": f"bytes={start}-"} if start else headers
        try:
            with get_session().stream(
                "GET", url, headers=wanted, timeout=_PATIENCE, follow_redirects=True
            ) as response:
                hf_raise_for_status(response)
                if start and response.status_code != _PARTIAL:  # all of it, from the beginning
                    target.seek(0)
                    target.truncate()
                for piece in response.iter_bytes():
                    target.write(piece)
                    yield target.tell()
            return
        except HfHubHTTPError:
            raise
        except HTTPError:
            drops = 0 if target.tell() > start else drops + 1
            if drops > _MOST_DROPS:
                raise
            time.sleep(drops)


def _check(file: Path, sha256: str | None, *, ours: bool = True) -> None:
    """Compare hashes; a wrong file of Closeup's own cache is deleted."""
    if sha256 is None or (found := file_hash(file)).startswith(sha256):
        return
    if ours:
        file.unlink()
    raise NetworkDamaged(
        f"{file} is not the expected file: expected SHA-256 {sha256}, found {found}; "
        + ("it was deleted, try again" if ours else "delete it and try again")
    )
