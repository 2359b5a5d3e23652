"""Graphs on ONNX Runtime: the fallback on CPUs, and the engine on NVIDIA GPUs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

from closeup.core.errors import NetworkError
from closeup.networks.engine.graph import (
    MOST_STREAMS,
    Feeds,
    Results,
    in_flight,
)
from closeup.networks.engine.onnx_file import Shape, Signature

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_ERRORS_ONLY = 3  # ONNX Runtime warns of every unused weight


def has_cuda() -> bool:
    """Whether the installed ONNX Runtime is one that runs on NVIDIA GPUs."""
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


class OnnxruntimeGraph:
    """A graph in ONNX Runtime sessions; see :class:`closeup.networks.engine.Graph`.

    On a CPU there are two, the second opened only when needed: for `run` one whose threads share
    one graph, for `stream` one of a single thread that several workers call, because small graphs
    gain little from threads inside.

    Raises
    ------
    NetworkError
        Where ONNX Runtime cannot take the graph.
    """

    precision = "fp32"

    def __init__(self, signature: Signature, threads: int, note: str = "") -> None:
        self._signature = signature
        self._threads = threads
        self._single = self._open(threads)
        self.note = note
        on_gpu = "CUDAExecutionProvider" in self._single.get_providers()
        self.engine = "onnxruntime-cuda" if on_gpu else "onnxruntime"

    @property
    def inputs(self) -> Mapping[str, Shape]:
        """Name to shape, None where an axis is free."""
        return self._signature.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names in the graph's own order."""
        return self._signature.outputs

    def run(self, feeds: Feeds) -> Results:
        """Run once; see :meth:`closeup.networks.engine.Graph.run`."""
        return self._call(self._single, feeds)

    def stream(self, feeds: Iterable[Feeds | None]) -> Iterator[Results]:
        """Run over many feeds in order; see :meth:`closeup.networks.engine.Graph.stream`."""
        on_gpu = self.engine == "onnxruntime-cuda"
        session = self._single if on_gpu else self._bulk
        # On a GPU two, so that one copies while the other computes.
        workers = 2 if on_gpu else min(self._threads, MOST_STREAMS)
        running: deque[Future[Results]] = deque()
        with ThreadPoolExecutor(workers, "closeup-onnxruntime") as pool:
            try:
                for feed in feeds:
                    if len(running) == in_flight(workers):
                        yield running.popleft().result()
                    running.append(pool.submit(self._call, session, feed))
                while running:
                    yield running.popleft().result()
            finally:
                for future in running:
                    future.cancel()

    def _call(self, session: InferenceSession, feeds: Feeds | None) -> Results:
        if feeds is None:
            return {}
        ready = self._signature.conform(feeds)
        try:
            values = session.run(list(self.outputs), ready)
        except _failures() as err:
            raise self._failed("failed", err) from err
        return dict(zip(self.outputs, values, strict=True))

    @cached_property
    def _bulk(self) -> InferenceSession:
        return self._open(1)

    def _open(self, threads: int) -> InferenceSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = threads
        providers = ["CUDAExecutionProvider"] if has_cuda() else []
        try:
            return onnxruntime.InferenceSession(
                str(self._signature.file), options, providers=[*providers, "CPUExecutionProvider"]
            )
        except _failures() as err:
            raise self._failed("cannot be opened", err) from err

    def _failed(self, what: str, err: BaseException) -> NetworkError:
        return NetworkError(f"{self._signature.file} {what} on ONNX Runtime: {err}")


def _failures() -> tuple[type[Exception], ...]:
    """The exceptions of ONNX Runtime, which share no base class of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        state.EPFail,
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoModel,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
    )
