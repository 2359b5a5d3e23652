"""What every engine offers: one graph that runs on arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from closeup.networks.engine.onnx_file import Shape

Feeds = Mapping[str, NDArray[np.generic]]
Results = dict[str, NDArray[Any]]

MOST_STREAMS = 16
"""Runs at once in a stream, at most: each holds its own activations, hundreds of MB for some."""


def in_flight(streams: int) -> int:
    """How many feeds of a stream are held at once where so many run at once.

    Twice as many, so that none waits while an older result is handed over, and some for small
    networks, whose runs are over before the next feed comes.
    """
    return 2 * streams + 4


class Graph(Protocol):
    """An opened ONNX graph.

    Attributes
    ----------
    engine
        ``openvino``, ``onnxruntime`` or ``onnxruntime-cuda``.
    precision
        What the arithmetic runs in: ``fp32`` or ``bf16``. Inputs and outputs keep their types.
    inputs
        Name to shape, None where an axis is free.
    outputs
        Names in the graph's own order, which is also the order of the results' keys.
    note
        Why this engine was taken where another was preferred; ``""`` where it was not.
    """

    @property
    def engine(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def inputs(self) -> Mapping[str, Shape]: ...
    @property
    def outputs(self) -> tuple[str, ...]: ...
    @property
    def note(self) -> str: ...

    def run(self, feeds: Feeds) -> Results:
        """Run once, on all processors.

        Returns
        -------
        results
            Output name to an array of the caller's own.

        Raises
        ------
        NetworkError
            Where the feeds do not fit the inputs or the graph fails; the message names the file.
        """
        ...

    def stream(self, feeds: Iterable[Feeds | None]) -> Iterator[Results]:
        """Run over many feeds, several at a time, and yield their results in order.

        None among the feeds is not run and gives an empty result in its place, so that what goes
        through several graphs need not stop at each.

        Only a few feeds are in flight at any moment, however many there are; their arrays must not
        be written to until their result is out. An exception raised by `feeds` reaches the
        caller; after it, or after closing the iterator early, nothing runs on. No feeds give no
        results.

        Raises
        ------
        NetworkError
            As :meth:`run`; results before the failing feed may be lost.
        """
        ...
