"""What every engine offers: one graph that runs on arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import NetworkError
from closeup.networks.engine.onnx_file import Signature

Feeds = Mapping[str, NDArray[np.generic]]
Results = dict[str, NDArray[Any]]
Pending = Callable[[], Results]
"""Waits for a run that was started, and gives its results."""

MOST_STREAMS = 16
"""Most runs of a stream at once: each holds its own activations, hundreds of MB for some graphs."""


def in_flight(streams: int) -> int:
    """How many feeds of a stream are held at once where `streams` of them run at once."""
    return 2 * streams + 4


class Graph(ABC):
    """An opened ONNX graph.

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

        Raises NetworkError as :meth:`run`; results before the failing feed may be lost.
        """
        running: deque[Pending] = deque()
        with self._runner() as (limit, start):
            for feed in feeds:
                if len(running) == limit:
                    yield running.popleft()()
                running.append(dict if feed is None else start(feed))
            while running:
                yield running.popleft()()

    @abstractmethod
    def _runner(self) -> AbstractContextManager[tuple[int, Callable[[Feeds], Pending]]]:
        """How many runs may be pending at once, and how one is started; stops them all at exit."""

    def _failed(self, what: str, reason: object) -> NetworkError:
        return NetworkError(f"{self.signature.file} {what} on {self.title}: {reason}{self.hint}")
