"""Every error that Closeup raises on purpose.

::

    CloseupError                 something the user can fix; the CLI prints it and exits 1
    ├── UsageError               the call itself is wrong (CLI: exit 2)
    ├── PhotoError               one photo cannot be used; carries a stable `code`
    ├── PhotosError              the collection as a whole cannot be used
    ├── NetworkError             a network (detector, backbone) cannot be obtained or used
    │   ├── NetworkMissing       not in the cache, and cannot be downloaded or converted
    │   └── NetworkDamaged       a file whose hash, header or outputs do not match its card
    ├── DatasetError             labels or splits do not make a classification problem
    ├── SourceError              a service searched for photos cannot be reached, or refuses
    │   └── SourcePaused         it wants no more requests until a given time
    ├── ProjectError             a project folder or table cannot be read or written
    └── ModelError               a model folder cannot be loaded

A message names the thing, says what was expected, and ends with what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence


class CloseupError(Exception):
    """Base class: a problem with the input or environment that the user can fix."""


class UsageError(CloseupError):
    """An argument is missing, unknown or contradicts another one."""


class PhotoError(CloseupError):
    """One photo cannot be used.

    `code` is one of :data:`closeup.photos.reading.CODES`, `message` one sentence for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class PhotosError(CloseupError):
    """The folder or list of photos cannot be used: it cannot be read, or not be understood.

    The lines of `tree` show what was understood; they become the error's notes.
    """

    def __init__(self, message: str, tree: Sequence[str] = ()) -> None:
        super().__init__(message)
        for line in tree:
            self.add_note(line)


class NetworkError(CloseupError):
    """A detector or backbone cannot be obtained or used."""


class NetworkMissing(NetworkError):
    """The network is not in the cache and cannot be downloaded or converted here."""


class NetworkDamaged(NetworkError):
    """A network file does not match its card (hash, size, header, outputs)."""


class DatasetError(CloseupError):
    """Labels or splits do not make a classification problem."""


class SourceError(CloseupError):
    """A service that is searched for photos cannot be reached, refuses, or answers nonsense."""


class SourcePaused(SourceError):
    """A service wants no more requests for now; `until` is the time to go on (seconds, epoch)."""

    def __init__(self, message: str, until: float) -> None:
        super().__init__(message)
        self.until = until


class ProjectError(CloseupError):
    """A project folder or one of its tables cannot be read or written."""


class ModelError(CloseupError):
    """A model folder is missing, damaged, or of a format this version cannot read."""


def how_to_install(extra: str) -> str:
    """The command that adds an extra, for messages; Closeup is installed from a clone.

    >>> how_to_install("serve")
    "pip install -e '.[serve]' (in your clone of Closeup)"
    """
    return f"pip install -e '.[{extra}]' (in your clone of Closeup)"
