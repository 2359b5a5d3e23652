"""A process that has everything imported and forks itself into ``closeup`` commands.

A command then starts in milliseconds, so that hundreds of them can be killed. It reads one request
a line (JSON) and answers each with one line; see :class:`tests.torture.children.Nursery`. The
engines are not imported: they start threads, which a fork does not have.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

LIGHT = (
    "closeup.cli.app", "closeup.cli.project", "closeup.cli.suggest", "closeup.pipeline",
    "closeup.report.page", "closeup.report.charts", "pyarrow.parquet", "sklearn.linear_model",
    "scipy.ndimage", "threadpoolctl", "safetensors.numpy", "jinja2",
)  # fmt: skip
HEAVY = ("torch", "timm", "onnx", "onnxscript", "torch.onnx", "huggingface_hub",
         "closeup.networks.convert.backbones", "closeup.learn.finetune.fine")  # fmt: skip
EVENTS = {
    "os.rename",
    "os.link",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "shutil.rmtree",
    "os.truncate",
}
GROWS = {"os.mkdir", "os.link"}


class Faults:
    """Counts whatever changes files below the watched folders, and strikes at the n-th change.

    A change is renaming, removing or making a file or folder, the first half of the bytes of a
    file, and waiting for the disk. `kind` is ``kill`` or an errno's name; 0 for `at` only counts.
    """

    def __init__(self, kind: str, at: int, watched: list[str]) -> None:
        self.kind, self.at, self.watched = kind, at, tuple(watched)
        self.count = 0
        self.lock = threading.Lock()

    def install(self) -> None:
        """From now on."""
        sys.addaudithook(self._heard)
        fsync, fdopen, faults = os.fsync, os.fdopen, self

        def waiting(handle: int) -> None:
            faults.change()
            fsync(handle)

        def opened(handle: int, mode: str = "r", *rest: Any, **how: Any) -> Any:
            stream = fdopen(handle, mode, *rest, **how)
            return _Half(stream, faults) if mode == "wb" else stream

        os.fsync, os.fdopen = waiting, opened

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS:
            path = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes) else ""
            if str(path).startswith(self.watched):
                self.change(event in GROWS)

    def change(self, grows: bool = True) -> None:
        """One more change; strikes where it is the n-th.

        A disk that fails does so from then on, for whatever needs room.
        """
        with self.lock:
            self.count += 1
            if not self.at or self.count < self.at or (self.kind != "kill" and not grows):
                return
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        number = getattr(errno, self.kind)
        raise OSError(number, os.strerror(number))


class _Half:
    """A file to write that may be struck when half of its bytes are written."""

    def __init__(self, stream: Any, faults: Faults) -> None:
        self._stream, self._faults = stream, faults

    def writelines(self, parts: Any) -> None:
        data = b"".join(bytes(part) for part in parts)
        self._stream.write(data[: len(data) // 2])
        self._stream.flush()
        self._faults.change()
        self._stream.write(data[len(data) // 2 :])

    def __enter__(self) -> _Half:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _command(request: dict[str, Any]) -> None:
    """Be the command; never returns."""
    os.setsid()
    for number, name in ((1, "out"), (2, "err")):
        handle = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(handle, number)
        os.close(handle)
    os.environ.update(request["env"])
    from closeup.cli import main
    from closeup.pipeline import resume as unfinished

    unfinished.SECONDS = request["part_seconds"]
    if request["shift_clock"]:
        now, shift = time.time, request["shift_clock"]
        time.time = lambda: now() + shift
    exec(request["before"], {})
    faults = Faults(request["kind"], request["at"], request["watched"])
    faults.install()
    sys.argv = ["closeup", *request["argv"]]
    code = 1
    try:
        main()
        code = 0
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 0 if done.code is None else 1
    except BaseException:  # noqa: BLE001 (told to the test, which fails)
        import traceback

        traceback.print_exc()
        code = 70
    Path(request["count"]).write_text(str(faults.count))
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _wait(child: int, kill_after: float) -> int:
    """The exit code, after a kill where the child lives longer; negative for a signal."""
    end = time.monotonic() + kill_after if kill_after else float("inf")
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            os.kill(child, signal.SIGKILL)
            end = float("inf")
        time.sleep(0.002)


def serve() -> None:
    """Answer until the input ends."""
    import importlib

    for name in LIGHT + (HEAVY if "heavy" in sys.argv else ()):
        importlib.import_module(name)
    from PIL import Image

    from closeup.report.page import page_template

    Image.init()
    page_template()
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        start = time.monotonic()
        child = os.fork()
        if child == 0:
            _command(request)
        code = _wait(child, request["kill_after"])
        print(json.dumps({"code": code, "seconds": time.monotonic() - start}), flush=True)


if __name__ == "__main__":
    serve()
