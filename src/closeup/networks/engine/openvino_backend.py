"""Graphs on OpenVINO: the fast engine on CPUs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from closeup.core.errors import NetworkError, ProjectError
from closeup.core.lock import HALF_FOLDERS, work_folder
from closeup.core.project import write_atomically
from closeup.networks.engine.files import cache_folder
from closeup.networks.engine.graph import (
    MOST_STREAMS,
    Feeds,
    Graph,
    Pending,
    Results,
    in_flight,
    keep_for_ever,
)
from closeup.networks.engine.onnx_file import Signature

if TYPE_CHECKING:
    from openvino import CompiledModel, InferRequest

CACHE_FOLDER = "compiled"
"""In the cache. Earlier versions let OpenVINO write into ``openvino``, where files may be cut."""
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

        process = os.getpid()
        try:
            yield in_flight(self._streams) if self._many else 1, start
        finally:
            if os.getpid() != process:
                keep_for_ever(requests)
            else:
                _stop(requests)

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

    @property
    def _single(self) -> CompiledModel:
        return self._once("single", lambda: self._compile({"PERFORMANCE_HINT": "LATENCY"}))

    @property
    def _bulk(self) -> CompiledModel:
        # One stream per processor: the hint alone takes half of them, and a third of the speed.
        how = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": self._streams}
        return self._once("bulk", lambda: self._compile(how))

    def _compile(self, how: dict[str, Any]) -> CompiledModel:
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
        folder = cache_folder() / CACHE_FOLDER / self._hash[:16]
        with _private(folder) as work:
            if work is not None:
                options["CACHE_DIR"] = str(work)
            return self._compiled(options)

    def _compiled(self, options: dict[str, Any]) -> CompiledModel:
        openvino = import_openvino()
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


def write_ir(graph: Path, file: Path, facts: Mapping[str, str]) -> None:
    """Write an ONNX file as OpenVINO's own: `file`, ending in ``.xml``, and its ``.bin`` beside it.

    `facts` become the model's information (``rt_info``, ``model_info``). Raises NetworkError where
    OpenVINO cannot take the graph.
    """
    openvino = import_openvino()
    try:
        model = openvino.convert_model(str(graph))
        for name, value in facts.items():
            model.set_rt_info(value, ["model_info", name])
        openvino.save_model(model, str(file), compress_to_fp16=False)
    except RuntimeError as err:
        raise NetworkError(f"OpenVINO cannot take {graph.name}: {_last_line(err)}") from err


def _stop(requests: Sequence[InferRequest]) -> None:
    """A request that still runs must outlive neither its feed nor the process."""
    for request in requests:
        request.cancel()
    for request in requests:
        with contextlib.suppress(RuntimeError):
            request.wait()


@contextlib.contextmanager
def _private(shared: Path) -> Iterator[Path | None]:
    """A folder for OpenVINO's cache that no other process sees; None in a read-only home.

    OpenVINO writes its files in place and maps them into memory, so that the half-written file of
    another process would crash this one. It sees the files of `shared`, where what it adds is put
    when it is whole.
    """
    with contextlib.ExitStack() as stack:
        try:
            work = stack.enter_context(work_folder(shared, HALF_FOLDERS[0]))
            for file in shared.glob("*.blob"):
                with contextlib.suppress(FileNotFoundError):
                    write_atomically(work / file.name, file, durable=False)
            before = {file: file.stat().st_ino for file in work.glob("*.blob")}
        except (OSError, ProjectError):
            yield None
            return
        yield work
        for file in work.glob("*.blob"):
            if before.get(file) != file.stat().st_ino:
                with contextlib.suppress(ProjectError):
                    write_atomically(shared / file.name, file)


def _last_line(err: RuntimeError) -> object:
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return lines[-1] if lines else err
