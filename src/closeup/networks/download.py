"""Fetch files from a model hub: looked for all at once, resumed where they broke off, checked.

huggingface_hub finds a file and makes the connection. Its own ``hf_hub_download`` checks no hash
and loses what it has received when the process ends.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from closeup.core.errors import NetworkDamaged, NetworkMissing
from closeup.core.parallel import ordered_map
from closeup.core.progress import Progress, silent
from closeup.networks.engine import cache_folder, file_hash

if TYPE_CHECKING:
    from huggingface_hub.file_download import HfFileMetadata

NEWEST = "main"
"""The revision that moves: the hub is asked each time whether its files have changed."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOB = re.compile(r"[0-9a-f]{40}")  # how git names a file: what the hub states of small ones
_PATIENCE = 30.0  # seconds without an answer
_MOST_DROPS = 3  # in a row, with nothing received between them
_PARTIAL = 206
_NO_ACCESS, _NOT_FOUND = (401, 403), 404
_SWITCHED_OFF = "downloads are switched off"
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a hub repository, and what is known of its content: hash, size in bytes.

    `url` is its address where that is not a hub's; `repo` then only says where it is kept.
    """

    repo: str
    name: str
    revision: str = NEWEST
    sha256: str = ""
    bytes: int = 0
    url: str = ""

    @property
    def place(self) -> Path:
        """Where Closeup keeps it: ``downloads/REPO/REVISION/FILE`` in the cache."""
        folder = cache_folder() / "downloads" / self.repo.replace("/", "--")
        return folder / self.name if self.url else folder / self.revision / self.name

    @property
    def title(self) -> str:
        """How messages call it."""
        return self.name if self.url else f"{self.name} of {self.repo}"

    @property
    def address(self) -> str:
        """Where it is downloaded from (``HF_ENDPOINT``, else the public hub)."""
        if self.url:
            return self.url
        from huggingface_hub import hf_hub_url

        where = {"revision": self.revision, "endpoint": endpoint()}
        return str(hf_hub_url(self.repo, self.name, **where))


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was looked for and found: on disk at `path`, or on the hub as `about` says."""

    file: HubFile
    path: Path | None
    about: HfFileMetadata | None = None

    @property
    def bytes(self) -> int:
        """What is to be downloaded; 0 for a file on disk."""
        return 0 if self.path else (self.about and self.about.size) or self.file.bytes

    @property
    def commit(self) -> str:
        """The commit that it is of; ``""`` where only the hub could tell."""
        pinned = self.file.revision if _BLOB.fullmatch(self.file.revision) else ""
        return pinned or (self.about and self.about.commit_hash) or ""

    def fetch(self, progress: Progress = silent, label: str = "") -> Path:
        """Where it is, downloaded if need be; raises as :func:`download`.

        `progress` is told of ``download LABEL``: the file's own name, if none is given.
        """
        if self.path is not None:
            return self.path
        assert self.about is not None
        place = self.file.place
        try:
            _transfer(self.about, self.file, progress, label or place.name)
        except failures() as err:
            raise NetworkMissing(_not_had(self.file, why_not(self.file, err))) from err
        return place


def endpoint() -> str | None:
    """The hub that ``HF_ENDPOINT`` names, which its library reads when imported only."""
    return os.environ.get("HF_ENDPOINT") or None


def is_offline() -> bool:
    """Whether the environment forbids downloads (``HF_HUB_OFFLINE=1``)."""
    return any(os.environ.get(key, "").upper() in {"1", "ON", "YES", "TRUE"} for key in _OFFLINE)


def download(
    repo: str,
    filename: str,
    *,
    revision: str = NEWEST,
    sha256: str | None = None,
    progress: Progress = silent,
    offline: bool | None = None,
) -> Path:
    """One file of a hub repository, downloaded unless it is on disk already.

    It is looked for in Closeup's cache (``downloads/REPO/REVISION/FILE``), then in
    huggingface_hub's, then on the hub (``HF_ENDPOINT``, else the public one). A file of the newest
    revision is fetched again where the hub has another one by now.

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
    (source,) = look([HubFile(repo, filename, revision, sha256 or "")], offline=offline)
    return source.fetch(progress)


def download_url(
    url: str, folder: str, *, sha256: str, progress: Progress = silent, offline: bool | None = None
) -> Path:
    """The file at a plain address, kept in ``downloads/FOLDER``; see :func:`download`.

    `sha256` may be the first digits alone. The user's hub token is not sent.
    """
    file = HubFile(folder, url.rsplit("/", 1)[1], sha256=sha256, url=url)
    (source,) = look([file], offline=offline)
    return source.fetch(progress)


def look(files: Sequence[HubFile], *, offline: bool | None = None) -> list[Source]:
    """Find all of several files, on disk or on the hub, before any is downloaded.

    Raises NetworkMissing with every file that cannot be had, why not, and where to put it by hand
    (of several, a note for each: ``__notes__``); NetworkDamaged where one on disk is another file
    than expected, or the hub's is.
    """
    without_line = is_offline() if offline is None else offline
    found: list[Source] = []
    faults: list[tuple[HubFile, str]] = []
    for source, fault in ordered_map(lambda file: _look_for(file, without_line), files, workers=8):
        found.append(source)
        if fault:
            faults.append((source.file, fault))
    if len(faults) == 1:
        raise NetworkMissing(_not_had(*faults[0]))
    if faults:
        raise _all_missing(faults)
    return found


def _all_missing(faults: Sequence[tuple[HubFile, str]]) -> NetworkMissing:
    """One error for several files, with a note for each; a reason that all share is told once."""
    head = f"{len(faults)} files are not on disk and"
    reasons = {why for _, why in faults}
    shared = len(reasons) == 1
    why = f"{_with_advice(reasons.pop())}, or put them here:" if shared else "cannot be downloaded:"
    err = NetworkMissing(f"{head} {why}")
    for file, why in faults:
        put = file.place if shared else f"{why}, or put it at {file.place}"
        err.add_note(f"  {file.title}: {put}")
    return err


def _with_advice(why: str) -> str:
    return f"{why}; go online" if why == _SWITCHED_OFF else why


def _look_for(file: HubFile, offline: bool) -> tuple[Source, str]:
    """Where a file is, or why it cannot be had."""
    here = _on_disk(file)
    moves = file.revision == NEWEST and not file.sha256
    if offline or (here and not moves):
        return Source(file, here), "" if here else _SWITCHED_OFF
    from huggingface_hub import get_hf_file_metadata

    try:
        about = get_hf_file_metadata(file.address, token=False if file.url else None)
    except failures() as err:
        if here and not _is_answer(err):
            _log.warning("%s: the hub cannot be asked whether it has changed", here)
            return Source(file, here), ""
        return Source(file, None), why_not(file, err, reached=_is_answer(err))
    if file.bytes and about.size and about.size != file.bytes:
        raise NetworkDamaged(
            f"{file.address} has {about.size} bytes, expected {file.bytes}: it is another file; "
            "report it, or add a file of your own with `closeup models add`"
        )
    same = here is not None and _matches(here, about.etag or "") is not False
    return Source(file, here if same else None, about), ""


def _on_disk(file: HubFile) -> Path | None:
    """The file in Closeup's cache, or in huggingface_hub's if its content can be checked."""
    place = file.place
    if place.is_file():
        _check(place, file.sha256, file.bytes)
        return place
    if file.url:
        return None
    from huggingface_hub import try_to_load_from_cache

    # Another tool may have fetched the file already, whole or not, a year ago.
    shared = try_to_load_from_cache(file.repo, file.name, revision=file.revision)
    if not isinstance(shared, str) or not Path(shared).is_file():
        return None
    # What a link there points to is named after its content.
    if _matches(Path(shared), file.sha256 or Path(shared).resolve().name):
        return Path(shared)
    _log.warning("%s cannot be checked, or is another file: not used", shared)
    return None


def _matches(file: Path, mark: str) -> bool | None:
    """Whether a file's content is what a hash says; None where it is neither SHA-256 nor git's."""
    if _SHA256.fullmatch(mark):
        return file_hash(file) == mark
    if _BLOB.fullmatch(mark):
        data = file.read_bytes()
        named = b"blob %d\0" % len(data) + data
        return hashlib.sha1(named, usedforsecurity=False).hexdigest() == mark
    return None


def page_of(repo: str) -> str:
    """The page of a repository, for people and cards."""
    return f"https://huggingface.co/{repo}"


def failures() -> tuple[type[Exception], ...]:
    """What a failed request raises."""
    from huggingface_hub.errors import HTTPError

    return (HTTPError, OSError)


def _is_answer(err: Exception) -> bool:
    """Whether the hub has answered, rather than nobody."""
    from huggingface_hub.errors import HfHubHTTPError

    return isinstance(err, HfHubHTTPError)


def why_not(file: HubFile, err: Exception, *, reached: bool = True) -> str:
    """Why a file cannot be had from the hub, and what to do; `err` is one of :func:`failures`."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = page_of(file.repo)
    if isinstance(err, GatedRepoError):  # a kind of RepositoryNotFoundError
        return (
            f"its makers want you to accept their terms first, at {page}; then log in with "
            "`hf auth login` (or set HF_TOKEN) and try again"
        )
    if isinstance(err, RevisionNotFoundError):
        return f"{file.repo} has no revision {file.revision}"
    status = err.response.status_code if isinstance(err, HfHubHTTPError) else 0
    if isinstance(err, EntryNotFoundError | RepositoryNotFoundError) or status == _NOT_FOUND:
        return f"{file.address} does not exist"
    if status in _NO_ACCESS:
        return (
            f"the hub does not let you have it ({status}): it does not exist, is "
            f"private, or wants you to log in (`hf auth login`); look at {page}"
        )
    reason = str(err).strip().splitlines() or [type(err).__name__]
    # Of a host out of reach this is the same for all files, so that it is told once.
    host = urlsplit(file.address).netloc
    what = f"{file.address} cannot be fetched" if reached else f"{host} cannot be reached"
    return f"{what} ({reason[0]}); try again (a broken download resumes where it stopped)"


def _not_had(file: HubFile, why: str) -> str:
    return f"{file.title} is not on disk and {_with_advice(why)}, or put the file at {file.place}"


def _transfer(about: HfFileMetadata, file: HubFile, progress: Progress, label: str) -> None:
    from huggingface_hub.utils import WeakFileLock, build_hf_headers

    place = file.place
    # The hub sends large files on to another host, which must not see the user's token.
    elsewhere = urlsplit(about.location).netloc != urlsplit(file.address).netloc
    token = False if file.url or elsewhere else None
    place.parent.mkdir(parents=True, exist_ok=True)
    # Named after the content, so that a file changed on the hub is never glued to an old half.
    mark = hashlib.sha256((about.etag or about.location).encode()).hexdigest()[:12]
    part = place.with_name(f"{place.name}.{mark}.part")
    # A compressed answer could not be resumed.
    headers = {**build_hf_headers(token=token), "Accept-Encoding": "identity"}
    total = about.size or file.bytes
    with WeakFileLock(f"{part}.lock"):
        if place.is_file() and _matches(place, file.sha256 or about.etag or "") is not False:
            return  # another process has fetched it meanwhile
        with part.open("ab") as target:
            for done in _receive(about.location, headers, target, total):
                progress(f"download {label}", done, total)
        if total and part.stat().st_size != total:
            part.unlink()
            raise NetworkDamaged(f"{about.location} is not {total} bytes long; try again")
        stated = about.etag or ""
        expected = file.sha256 or (stated if _SHA256.fullmatch(stated) else "")
        _check(part, expected)
        if stated != expected and _matches(part, stated) is False:
            _refuse(part, f"what the hub calls {stated}", "something else")
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


def _check(file: Path, sha256: str, size: int = 0) -> None:
    """Refuse a file of Closeup's own cache that has not the size or the hash expected."""
    if size and (length := file.stat().st_size) != size:
        _refuse(file, f"{size} bytes", str(length))
    if sha256 and not (found := file_hash(file)).startswith(sha256):
        _refuse(file, f"SHA-256 {sha256}", found)


def _refuse(file: Path, expected: str, found: str) -> None:
    file.unlink()
    raise NetworkDamaged(
        f"{file} is not the expected file: expected {expected}, found {found}; "
        "it was deleted, try again"
    )
