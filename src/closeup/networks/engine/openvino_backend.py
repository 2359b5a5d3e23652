"""Graphs on OpenVINO: the fast engine on CPUs."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

from closeup.core.errors import NetworkError
from closeup.networks.engine.graph import (
    MOST_STREAMS,
    Feeds,
    Results,
    in_flight,
)
from closeup.networks.engine.machine import cache_folder
from closeup.networks.engine.onnx_file import Shape, Signature
from closeup.networks.engine.quiet import import_openvino
from closeup.networks.engine.unchanged import content_hash

if TYPE_CHECKING:
    from openvino import CompiledModel, InferRequest

Started = tuple["InferRequest", Feeds]
_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


class OpenvinoGraph:
    """A graph compiled for the CPU; see :class:`closeup.networks.engine.Graph`.

    It is compiled in one of two ways, and in the other only when needed: for many answers a second
    (`stream`, if `many`) and for one answer soon (`run`, and `stream` if not). Compiled graphs are
    kept in the cache folder, so the next process starts quickly.

    Raises
    ------
    NetworkError
        Where OpenVINO cannot compile the graph.
    """

    engine = "openvino"
    note = ""

    def __init__(self, signature: Signature, precision: str, threads: int, many: bool) -> None:
        self._signature = signature
        self._threads = threads
        self.precision = precision
        self._many = many
        self._streamed  # noqa: B018 (compiled now: here is where failing is expected)

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
        return self._finish(*self._start(self._single.create_infer_request(), feeds))

    def stream(self, feeds: Iterable[Feeds | None]) -> Iterator[Results]:
        """Run over many feeds in order; see :meth:`closeup.networks.engine.Graph.stream`."""
        limit = in_flight(self._streams) if self._many else 1
        idle: list[InferRequest] = []
        running: deque[Started | None] = deque()
        try:
            for feed in feeds:
                if len(running) == limit:
                    yield self._next(running, idle)
                if feed is None:
                    running.append(None)
                    continue
                request = idle.pop() if idle else self._streamed.create_infer_request()
                running.append(self._start(request, feed))
            while running:
                yield self._next(running, idle)
        finally:
            active = [started[0] for started in running if started is not None]
            for request in active:
                request.cancel()
            # A request that still runs must outlive neither its feed nor the process.
            for request in (*idle, *active):
                with contextlib.suppress(RuntimeError):
                    request.wait()

    def _next(self, running: deque[Started | None], idle: list[InferRequest]) -> Results:
        started = running.popleft()
        if started is None:
            return {}
        idle.append(started[0])
        return self._finish(*started)

    def _start(self, request: InferRequest, feeds: Feeds) -> Started:
        """Start a run; what it reads must live until it is over."""
        ready = self._signature.conform(feeds)
        try:
            request.start_async(ready, share_inputs=True)
        except RuntimeError as err:
            raise self._failed("could not start", err) from err
        return request, ready

    def _finish(self, request: InferRequest, _: Feeds) -> Results:
        try:
            request.wait()
            # Copies: the request's own buffers are filled again by its next feed.
            return {name: request.get_tensor(name).data.copy() for name in self.outputs}
        except RuntimeError as err:
            raise self._failed("failed", err) from err

    @property
    def _streams(self) -> int:
        return min(self._threads, MOST_STREAMS)

    @property
    def _streamed(self) -> CompiledModel:
        return self._bulk if self._many else self._single

    @cached_property
    def _single(self) -> CompiledModel:
        return self._compile({"PERFORMANCE_HINT": "LATENCY"})

    @cached_property
    def _bulk(self) -> CompiledModel:
        # One stream per processor: the hint alone takes half of them, and a third of the speed.
        return self._compile({"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": self._streams})

    def _compile(self, how: dict[str, Any]) -> CompiledModel:
        openvino = import_openvino()

        options = {
            **how,
            # Said explicitly: left alone, OpenVINO takes bf16 on CPUs that are quick at it.
            "INFERENCE_PRECISION_HINT": _PRECISIONS[self.precision],
            "INFERENCE_NUM_THREADS": self._threads,
            # Pinned threads of two processes would share cores while others idle.
            "ENABLE_CPU_PINNING": False,
        }
        # OpenVINO knows a graph by its path and time alone, and would answer for a file replaced
        # within a second from the old one: each content gets a folder of its own.
        content = content_hash(self._signature.file)[:16]
        folder = cache_folder() / "openvino" / content
        try:
            folder.mkdir(parents=True, exist_ok=True)
            options["CACHE_DIR"] = str(folder)
        except OSError:  # a read-only home: slower starts, nothing else
            pass

        def compile_model() -> CompiledModel:
            return openvino.Core().compile_model(str(self._signature.file), "CPU", options)

        try:
            # In a thread of its own: OpenVINO gives the thread that compiles an alternate signal
            # stack too small for a signal's frame (seen with 2026.4.1), and Ctrl-C in the main
            # thread would then overwrite memory and crash the process.
            with ThreadPoolExecutor(1, "compile") as pool:
                return pool.submit(compile_model).result()
        except RuntimeError as err:
            raise self._failed("cannot be compiled", err) from err

    def _failed(self, what: str, err: RuntimeError) -> NetworkError:
        lines = [line.strip() for line in str(err).splitlines() if line.strip()]
        return NetworkError(
            f"{self._signature.file} {what} on OpenVINO: {lines[-1] if lines else err}; "
            "try `--engine onnxruntime`"
        )
