"""Files on a local disk, or on any file system that pyarrow knows by a URL (``s3://``, ``gs://``)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

from closeup.core.errors import CloseupError, ProjectError, UsageError
from closeup.core.project import write_atomically

PAUSES = (0.5, 2.0, 8.0)
"""Seconds to wait before each further attempt at what a disk or network refused."""
_URL = re.compile(r"[a-z][a-z0-9+.\-]+://", re.IGNORECASE)
_IN_ONE_STEP = ("s3", "gcs", "abfs")
"""Stores in which a file appears when it is closed, whole."""
_NO_RIGHTS = ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "403",
              "credentials", "Permission denied", "EXPIRED_TOKEN")  # fmt: skip

T = TypeVar("T")


def is_url(name: str) -> bool:
    """Whether a name is a URL such as ``s3://bucket/photos``."""
    return _URL.match(name) is not None


def file_system(url: str) -> tuple[Any, str]:
    """The pyarrow file system of a URL, opened once for each bucket or host, and the path there.

    Raises UsageError where pyarrow does not know the kind of URL.
    """
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    opened, root = _opened(f"{scheme}://{host}/")
    return opened, f"{root.rstrip('/')}/{path}".rstrip("/")


@cache
def _opened(root: str) -> tuple[Any, str]:
    import pyarrow as pa
    from pyarrow import fs

    try:
        found: tuple[Any, str] = fs.FileSystem.from_uri(root)
    except (pa.ArrowException, ValueError, ImportError) as err:
        raise UsageError(
            f"{root} cannot be used: {err}; name a folder, or a URL that pyarrow knows, such as "
            "s3://, gs://, abfs:// or hdfs://"
        ) from err
    except OSError as err:
        raise UsageError(_why(root, err)) from err
    return found


@contextmanager
def reachable(name: str) -> Iterator[None]:
    """Say in one line what is wrong where the store of `name` refuses or cannot be reached."""
    try:
        yield
    except OSError as err:
        raise ProjectError(_why(name, err)) from err


def _why(name: str, err: OSError) -> str:
    said = " ".join(str(err).split())
    if any(word.lower() in said.lower() for word in _NO_RIGHTS):
        return (
            f"{name}: access was denied; check the credentials in the environment (for S3: "
            f"AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or a role) and their rights ({said})"
        )
    return (
        f"{name} cannot be used: {said}; check the address, the connection and the credentials in "
        "the environment"
    )


def patiently(attempt: Callable[[], T], *refused: type[BaseException]) -> T:
    """``attempt()``, again after each of :data:`PAUSES` where it raises one of `refused`."""
    for pause in PAUSES:
        try:
            return attempt()
        except refused:
            time.sleep(pause)
    return attempt()


@dataclass(frozen=True)
class Store:
    """A folder to write answers into: a path, or a URL."""

    folder: str

    @cached_property
    def _at(self) -> tuple[Any, str]:
        from pyarrow import fs

        if is_url(self.folder):
            return file_system(self.folder)
        return fs.LocalFileSystem(), str(Path(self.folder).absolute())

    @property
    def local(self) -> Path | None:
        """The folder where it is on a local disk."""
        return None if is_url(self.folder) else Path(self.folder).absolute()

    def _path(self, name: str) -> str:
        return f"{self._at[1]}/{name}"

    def names(self, below: str = "") -> list[str]:
        """The files and folders right below a folder of it, sorted; none where there is none."""
        from pyarrow import fs

        place = self._path(below) if below else self._at[1]
        chosen = fs.FileSelector(place, allow_not_found=True)
        with reachable(f"{self.folder}/{below}".rstrip("/")):
            return sorted(info.base_name for info in self._at[0].get_file_info(chosen))

    @contextmanager
    def opened(self, name: str) -> Iterator[Any]:
        """A file to read; FileNotFoundError where there is none, ProjectError where that fails."""
        try:
            with (
                reachable(f"{self.folder}/{name}"),
                self._at[0].open_input_file(self._path(name)) as stream,
            ):
                yield stream
        except ProjectError as err:
            if isinstance(err.__cause__, FileNotFoundError):
                raise err.__cause__ from None
            raise

    def read(self, name: str) -> bytes | None:
        """A file's bytes, None where there is none."""
        try:
            with self.opened(name) as stream:
                data: bytes = stream.read()
        except FileNotFoundError:
            return None
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file in one step; ProjectError where that fails."""
        if self.local is not None:
            return write_atomically(self.local / name, data)
        system, path = self._at[0], self._path(name)
        at_once = system.type_name in _IN_ONE_STEP
        target = path if at_once else f"{path}.writing"
        with reachable(f"{self.folder}/{name}"):
            if not at_once:
                system.create_dir(path.rpartition("/")[0])
            with system.open_output_stream(target) as stream:
                stream.write(data)
            if not at_once:
                system.move(target, path)
        return None

    def remove(self, name: str) -> None:
        """Remove a file that we wrote."""
        with reachable(f"{self.folder}/{name}"):
            self._at[0].delete_file(self._path(name))


def one_line(err: BaseException) -> str:
    """What an error says, on one line; ours are sentences already."""
    text = str(err) if isinstance(err, CloseupError) else f"{type(err).__name__}: {err}"
    return " ".join(text.split())
