"""Graphs on OpenVINO: the fast engine on CPUs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any

from closeup.networks.engine.files import cache_folder, file_hash
from closeup.networks.engine.graph import MOST_STREAMS, Feeds, Graph, Pending, Results, in_flight
from closeup.networks.engine.onnx_file import Signature

if TYPE_CHECKING:
    from openvino import CompiledModel, InferRequest

_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


def import_openvino() -> ModuleType:
    """The module ``openvino``, imported without its telemetry.

    The package reports each import to its makers from a process that it forks, and keeps an
    identifier in the home folder. Where its telemetry module cannot be imported it does without.
    If the user's program has already imported either, it stays as it is.
    """
    telemetry = "openvino_telemetry"
    blocked = "openvino" not in sys.modules and telemetry not in sys.modules
    if blocked:
        sys.modules[telemetry] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        if blocked:
            del sys.modules[telemetry]
    return openvino  # type: ignore[no-any-return]


@cache
def cpu_property(name: str) -> Any:
    """What OpenVINO says of the processor, such as ``FULL_DEVICE_NAME``."""
    return import_openvino().Core().get_property("CPU", name)


class OpenvinoGraph(Graph):
    """A graph compiled for the CPU; NetworkError where OpenVINO cannot compile it.

    It is compiled in one of two ways, and in the other only when needed: for many answers a second
    (`stream`, if `many`) and for one answer soon (`run`, and `stream` if not). Compiled graphs are
    kept in the cache folder, so the next process starts quickly.
    """

    engine = "openvino"
    title = "OpenVINO"
    hint = "; try `--engine onnxruntime`"

    def __init__(self, signature: Signature, precision: str, threads: int, many: bool) -> None:
        super().__init__(signature, precision, threads)
        self._many, self._streams = many, min(threads, MOST_STREAMS)
        self._streamed  # noqa: B018 (compiled now: here is where failing is expected)

    def run(self, feeds: Feeds) -> Results:
        """Run once; see :meth:`Graph.run`."""
        return self._start(self._single.create_infer_request(), feeds)()

    @contextlib.contextmanager
    def _runner(self) -> Iterator[tuple[int, Callable[[Feeds], Pending]]]:
        requests: list[InferRequest] = []
        idle: list[InferRequest] = []

        def start(feeds: Feeds) -> Pending:
            if not idle:
                requests.append(self._streamed.create_infer_request())
                idle.append(requests[-1])
            request = idle.pop()
            pending = self._start(request, feeds)

            def finish() -> Results:
                idle.append(request)
                return pending()

            return finish

        try:
            yield in_flight(self._streams) if self._many else 1, start
        finally:
            for request in requests:
                request.cancel()
            # A request that still runs must outlive neither its feed nor the process.
            for request in requests:
                with contextlib.suppress(RuntimeError):
                    request.wait()

    def _start(self, request: InferRequest, feeds: Feeds) -> Pending:
        ready = self.signature.conform(feeds)
        try:
            request.start_async(ready, share_inputs=True)
        except RuntimeError as err:
            raise self._failed("could not start", _last_line(err)) from err

        def finish(_: Feeds = ready) -> Results:  # what the run reads lives until it is over
            try:
                request.wait()
                # Copies: the request's own buffers are filled again by its next feed.
                return {name: request.get_tensor(name).data.copy() for name in self.outputs}
            except RuntimeError as err:
                raise self._failed("failed", _last_line(err)) from err

        return finish

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
            # Explicit, because OpenVINO would use bf16 by itself on CPUs that are quick at it.
            "INFERENCE_PRECISION_HINT": _PRECISIONS[self.precision],
            "INFERENCE_NUM_THREADS": self.threads,
            # Pinned threads of two processes would share cores while others idle.
            "ENABLE_CPU_PINNING": False,
        }
        # OpenVINO knows a graph by its path and time alone, and would answer for a file replaced
        # within a second from the old one: each content gets its own folder.
        folder = cache_folder() / "openvino" / file_hash(self.signature.file)[:16]
        with contextlib.suppress(OSError):  # a read-only home: slower starts, nothing else
            folder.mkdir(parents=True, exist_ok=True)
            options["CACHE_DIR"] = str(folder)
        try:
            # In a separate thread: OpenVINO gives the thread that compiles an alternate signal
            # stack too small for a signal's frame (seen with 2026.4.1), and Ctrl-C in the main
            # thread would then overwrite memory and crash the process.
            file = str(self.signature.file)
            with ThreadPoolExecutor(1, "compile") as pool:
                compiling = pool.submit(lambda: openvino.Core().compile_model(file, "CPU", options))
                return compiling.result()
        except RuntimeError as err:
            raise self._failed("cannot be compiled", _last_line(err)) from err


def _last_line(err: RuntimeError) -> object:
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return lines[-1] if lines else err
