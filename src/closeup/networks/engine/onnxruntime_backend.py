"""Graphs on ONNX Runtime: the fallback on CPUs, and the engine on NVIDIA GPUs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from closeup.networks.engine.graph import MOST_STREAMS, Feeds, Graph, Pending, Results, in_flight
from closeup.networks.engine.onnx_file import Signature

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_FATAL_ONLY = 4  # it warns of every unused weight, and prints errors that it also raises


def has_cuda() -> bool:
    """Whether the installed ONNX Runtime is one that runs on NVIDIA GPUs."""
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


class OnnxruntimeGraph(Graph):
    """A graph in ONNX Runtime sessions; NetworkError where it cannot take the graph.

    On a CPU there are two, the second opened only when needed: for `run` one whose threads share
    one graph, for `stream` one of a single thread that several workers call, because small graphs
    gain little from threads inside.
    """

    title = "ONNX Runtime"

    def __init__(self, signature: Signature, threads: int, note: str = "") -> None:
        super().__init__(signature, "fp32", threads, note)
        self._on_gpu = "CUDAExecutionProvider" in self._single.get_providers()
        self.engine = "onnxruntime-cuda" if self._on_gpu else "onnxruntime"

    def run(self, feeds: Feeds) -> Results:
        """Run once; see :meth:`Graph.run`."""
        return self._call(self._single, feeds)

    @contextmanager
    def _runner(self) -> Iterator[tuple[int, Callable[[Feeds], Pending]]]:
        session = self._single if self._on_gpu else self._bulk
        # On a GPU two, so that one copies while the other computes.
        workers = 2 if self._on_gpu else min(self.threads, MOST_STREAMS)
        pool, process = ThreadPoolExecutor(workers, "closeup-onnxruntime"), os.getpid()
        try:
            yield in_flight(workers), lambda feed: pool.submit(self._call, session, feed).result
        finally:
            if os.getpid() == process:  # a forked one has no such threads
                pool.shutdown(cancel_futures=True)

    def _call(self, session: InferenceSession, feeds: Feeds) -> Results:
        ready = self.signature.conform(feeds)
        try:
            values = session.run(list(self.outputs), ready)
        except _failures() as err:
            raise self._failed("failed", err) from err
        return dict(zip(self.outputs, values, strict=True))

    @property
    def _single(self) -> InferenceSession:
        return self._once("single", lambda: self._open(self.threads))

    @property
    def _bulk(self) -> InferenceSession:
        return self._once("bulk", lambda: self._open(1))

    def _open(self, threads: int) -> InferenceSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL_ONLY
        options.intra_op_num_threads = threads
        wanted = [*(["CUDAExecutionProvider"] if has_cuda() else []), "CPUExecutionProvider"]
        try:
            return onnxruntime.InferenceSession(str(self.signature.file), options, providers=wanted)
        except _failures() as err:
            raise self._failed("cannot be opened", err) from err


def _failures() -> tuple[type[Exception], ...]:
    """The exceptions of ONNX Runtime, which share no base class of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        *("EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel"),
        *("NoSuchFile", "NotImplemented", "RuntimeException"),
    )
    return tuple(getattr(state, name) for name in names)
