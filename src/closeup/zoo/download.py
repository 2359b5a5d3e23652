"""Fetch one file from a model hub: resumed where it broke off, checked, put in place at once.

huggingface_hub finds the file (endpoint, token, mirrors) and transfers it; what is added here is
that a transfer broken by the end of the process goes on where it stopped, and that the content is
hashed.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from closeup.engine import cache_folder
from closeup.errors import NetworkDamaged, NetworkMissing
from closeup.progress import Progress, silent
from closeup.zoo.cache import file_hash

if TYPE_CHECKING:
    from huggingface_hub.file_download import HfFileMetadata

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BAR = "huggingface_hub.http_get"
_AS_IS = {"Accept-Encoding": "identity"}  # a compressed answer cannot be resumed
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
    endpoint: str | None = None,
    offline: bool | None = None,
) -> Path:
    """One file of a hub repository, downloaded unless it is on disk already.

    It is looked for in Closeup's cache (``downloads/REPO/REVISION/FILE``), then in
    huggingface_hub's, then on the hub.

    Parameters
    ----------
    repo, filename, revision
        As on the hub: ``"timm/resnet50.a1_in1k"``, ``"model.safetensors"``.
    sha256
        What the content must hash to; None takes the hub's own word where it gives one.
    progress
        Called with bytes done and in all.
    endpoint
        The hub's address; None takes ``HF_ENDPOINT``, else the public hub.
    offline
        Never ask the hub; None asks the environment.

    Raises
    ------
    NetworkMissing
        Where the file is not on disk, and the hub cannot be asked or does not have it, or it
        cannot be written.
    NetworkDamaged
        Where the content's hash is wrong, on disk or after a download.
    """
    place = cache_folder() / "downloads" / repo.replace("/", "--") / revision / filename
    for file in (place, _hub_cache(repo, filename, revision)):
        if file is not None and file.is_file():
            _check(file, sha256, mine=file == place)
            return file
    missing = f"{filename} of {repo} is not on disk"
    put = f"put the file at {place}"
    if is_offline() if offline is None else offline:
        raise NetworkMissing(f"{missing} and downloads are switched off; go online, or {put}")
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, HTTPError, RepositoryNotFoundError

    endpoint = endpoint or os.environ.get("HF_ENDPOINT") or None
    url = hf_hub_url(repo, filename, revision=revision, endpoint=endpoint)
    try:
        about = get_hf_file_metadata(url, endpoint=endpoint)
        promised = about.etag if about.etag and _SHA256.fullmatch(about.etag) else None
        _transfer(about, url, place, sha256 or promised, progress)
    except (EntryNotFoundError, RepositoryNotFoundError) as err:
        raise NetworkMissing(f"{missing} and {url} does not exist; {put}") from err
    except (HTTPError, OSError) as err:
        reason = str(err).strip().splitlines() or [type(err).__name__]
        raise NetworkMissing(
            f"{missing} and {url} cannot be fetched ({reason[0]}); "
            f"try again (a broken download goes on where it stopped), or {put}"
        ) from err
    return place


def _hub_cache(repo: str, filename: str, revision: str) -> Path | None:
    """The file in huggingface_hub's own cache, where another tool has fetched it already."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, filename, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _transfer(
    about: HfFileMetadata, url: str, place: Path, sha256: str | None, progress: Progress
) -> None:
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import (
        WeakFileLock,
        build_hf_headers,
        disable_progress_bars,
        enable_progress_bars,
    )

    place.parent.mkdir(parents=True, exist_ok=True)
    # Named after the content, so that a file changed on the hub is never glued to an old half.
    mark = hashlib.sha256((about.etag or about.location).encode()).hexdigest()[:12]
    part = place.with_name(f"{place.name}.{mark}.part")
    # The hub sends large files on to another host, which must not see the user's token.
    same_host = urlsplit(about.location).netloc == urlsplit(url).netloc
    headers = {**build_hf_headers(token=None if same_host else False), **_AS_IS}
    with WeakFileLock(f"{part}.lock"):
        if place.is_file():  # another process has fetched it meanwhile
            return
        with _Reporting(part, f"download {place.name}", about.size or 0, progress) as target:
            disable_progress_bars(_BAR)
            try:
                size = target.tell()
                http_get(
                    about.location,
                    target,
                    resume_size=size,
                    headers=headers,
                    expected_size=about.size,
                )
            finally:
                enable_progress_bars(_BAR)
        _check(part, sha256, mine=True)
        part.replace(place)


class _Reporting(io.FileIO):
    """A file opened for appending that reports how much of it is written."""

    def __init__(self, file: Path, stage: str, total: int, progress: Progress) -> None:
        super().__init__(file, "ab")
        self._stage, self._total, self._progress = stage, total, progress
        self._report()

    def write(self, data: Any) -> int:
        count = super().write(data)
        self._report()
        return count

    def _report(self) -> None:
        self._progress(self._stage, self.tell(), self._total)


def _check(file: Path, sha256: str | None, *, mine: bool) -> None:
    """Compare hashes; a wrong file of Closeup's own cache is deleted."""
    if sha256 is None or (found := file_hash(file)) == sha256:
        return
    if mine:
        file.unlink()
    raise NetworkDamaged(
        f"{file} is not the expected file: expected SHA-256 {sha256}, found {found}; "
        + ("it was deleted, try again" if mine else "delete it and try again")
    )
