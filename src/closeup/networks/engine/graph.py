"""What every engine offers: one graph that runs on arrays, also in processes forked later.

An engine's threads do not exist in a forked process, so what it has opened can be neither run nor
closed there. A graph opens it again when it is needed, and never touches the parent's.
"""

from __future__ import annotations

import ctypes
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import NetworkDamaged, NetworkError
from closeup.networks.engine.files import file_hash
from closeup.networks.engine.onnx_file import Signature

Feeds = Mapping[str, NDArray[np.generic]]
Results = dict[str, NDArray[Any]]
T = TypeVar("T")
Pending = Callable[[], Results]
"""Waits for a run that was started, and gives its results."""

MOST_STREAMS = 16
"""Most runs of a stream at once: each holds its own activations, hundreds of MB for some graphs."""


def in_flight(streams: int) -> int:
    """How many feeds of a stream are held at once where `streams` of them run at once."""
    return 2 * streams + 4


_graphs: WeakSet[Graph] = WeakSet()


def keep_for_ever(thing: object) -> None:
    """Let the parent's `thing` never be destroyed in this process: that would hang or crash it."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _let_go() -> None:
    """In a forked process: nothing is open."""
    for graph in _graphs:
        keep_for_ever(graph._opened)
        graph._opened = {}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


class Graph(ABC):
    """An opened ONNX graph; a forked process opens the file again when it runs it.

    Attributes
    ----------
    engine
        ``openvino``, ``onnxruntime`` or ``onnxruntime-cuda``.
    precision
        What the arithmetic runs in: ``fp32`` or ``bf16``. Inputs and outputs keep their types.
    inputs, outputs
        As in :class:`Signature`.
    note
        Why this engine runs it although another was preferred, else ``""``.
    """

    engine: str
    title: str  # the engine's name in messages
    hint = ""  # what to try where it fails, for messages

    def __init__(self, signature: Signature, precision: str, threads: int, note: str = "") -> None:
        self.signature, self.inputs, self.outputs = signature, signature.inputs, signature.outputs
        self.precision, self.threads, self.note = precision, threads, note
        self._hash = file_hash(signature.file)
        self._opened: dict[str, Any] = {}
        _graphs.add(self)

    @abstractmethod
    def run(self, feeds: Feeds) -> Results:
        """Run once, on all processors: output name to an array of the caller's own.

        Raises NetworkError where the feeds do not fit the inputs or the graph fails.
        """

    def stream(self, feeds: Iterable[Feeds | None]) -> Iterator[Results]:
        """Run over many feeds, several at a time, and yield their results in order.

        A feed of None is not run; its result is empty, so that what goes through several graphs
        keeps its place in each. Only a few feeds are in flight at any moment; their arrays must not
        be written to until their result is out. An exception raised by `feeds` reaches the caller;
        after it, or after closing the iterator early, nothing keeps running.

        Raises NetworkError as :meth:`run`; results before the failing feed may be lost. Also where
        a forked process goes on with its parent's stream.
        """
        running: deque[Pending] = deque()
        process = os.getpid()
        with self._runner() as (limit, start):
            for feed in feeds:
                if len(running) == limit:
                    yield running.popleft()()
                    self._require(process)
                running.append(dict if feed is None else start(feed))
            while running:
                yield running.popleft()()
                self._require(process)

    @abstractmethod
    def _runner(self) -> AbstractContextManager[tuple[int, Callable[[Feeds], Pending]]]:
        """How many runs may be pending at once, and how one is started; stops them all at exit."""

    def _once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` opens from the file, opened once in each process."""
        if name not in self._opened:
            file = self.signature.file
            try:
                same = file_hash(file) == self._hash
            except OSError as err:
                raise NetworkError(
                    f"{file} is gone, but this process has to open it again: {err.strerror or err};"
                    " put it back, or load the model from where it is now"
                ) from err
            if not same:
                raise NetworkDamaged(f"{file} has changed since it was opened; load it again")
            self._opened[name] = make()
        found: T = self._opened[name]
        return found

    def _require(self, process: int) -> None:
        if os.getpid() != process:
            raise NetworkError(
                f"{self.signature.file}: this stream began in process {process}, before it forked; "
                "start a new one in the forked process"
            )

    def _failed(self, what: str, reason: object) -> NetworkError:
        return NetworkError(f"{self.signature.file} {what} on {self.title}: {reason}{self.hint}")
