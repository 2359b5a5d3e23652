"""Commands as children that are killed or hindered, and what they left."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from closeup.core.project import Project
from closeup.core.types import Crop, Detection, Example, Photo, Result, Rights
from closeup.dataset.kept import Place
from closeup.learn.embed import Embeddings
from closeup.pipeline.suggested import Suggested

NURSERY = Path(__file__).parent / "nursery.py"
TABLES = {"photos": Photo, "detections": Detection, "crops": Crop, "dataset": Example,
          "split": Place, "results": Result, "suggested": Suggested, "rights": Rights}  # fmt: skip
KILLED = -9


@dataclass(frozen=True)
class Fault:
    """What happens to a command: struck at the n-th change, or killed after so many seconds.

    `before` is Python that runs in it first.
    """

    kind: str = "kill"
    at: int = 0
    kill_after: float = 120.0
    part_seconds: float = 0.0
    shift_clock: float = 0.0
    before: str = ""


@dataclass(frozen=True)
class Ended:
    """How a command ended. `changes` is how many it made, 0 where it was killed."""

    code: int
    seconds: float
    out: str
    err: str
    changes: int


NONE = Fault()


@dataclass
class Nursery:
    """The forking process of :mod:`tests.torture.nursery`.

    Parameters
    ----------
    base
        Changes below this folder are counted; the cache is ``base/cache``.
    """

    base: Path
    heavy: bool = False
    threads: int = 1
    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        self.base.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ, "CLOSEUP_CACHE": str(self.base / "cache"), "HF_HUB_OFFLINE": "0",
            "OMP_NUM_THREADS": str(self.threads), "OPENBLAS_NUM_THREADS": "1",
            "HF_HOME": str(self.base / "hub"),
        }  # fmt: skip
        words = [sys.executable, str(NURSERY), *(["heavy"] if self.heavy else [])]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def run(
        self, *argv: object, fault: Fault = NONE, env: Mapping[str, str] | None = None
    ) -> Ended:
        """``closeup ARGV``, to its end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        files = {name: str(self.base / f".{name}") for name in ("out", "err", "count")}
        Path(files["count"]).write_text("0")
        request = {
            **files, "argv": [str(word) for word in argv], "env": dict(env or {}),
            "watched": [str(self.base)], "kind": fault.kind, "at": fault.at,
            "kill_after": fault.kill_after, "part_seconds": fault.part_seconds,
            "shift_clock": fault.shift_clock, "before": fault.before,
        }  # fmt: skip
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        read = {name: Path(file).read_text(errors="replace") for name, file in files.items()}
        return Ended(answer["code"], answer["seconds"], read["out"], read["err"],
                     int(read["count"] or 0))  # fmt: skip

    def close(self) -> None:
        """End it."""
        self.process.communicate()


def digest(data: bytes) -> str:
    """A short hash."""
    return hashlib.sha256(data).hexdigest()[:16]


def state(folder: Path) -> dict[str, str]:
    """Every file below `folder` with a hash of what it says.

    Bytes, but for what holds measured times: the embeddings' rate, the times in ``scores.json`` and
    ``training.json``, and the report, of which the key of its contents is compared.
    """
    return {
        file.relative_to(folder).as_posix(): _said(file)
        for file in sorted(folder.rglob("*")) if file.is_file()
    }  # fmt: skip


def _said(file: Path) -> str:
    data = file.read_bytes()
    if file.name == "scores.json":
        value = json.loads(data)
        for row in value["compared"]:
            row["rate"] = row["seconds"] = 0
        return digest(json.dumps(value, sort_keys=True).encode())
    if file.name == "training.json":
        value = {**json.loads(data), "date": "", "seconds": 0}
        return digest(json.dumps(value, sort_keys=True).encode())
    if file.name == "report.html":
        return data.splitlines()[-1].decode()
    if file.parent.name == "embeddings":
        found = Embeddings.read(file)
        return "damaged" if found is None else digest(repr(found.keys).encode()
                                                     + found.vectors.tobytes())  # fmt: skip
    return digest(data)


def stamps(folder: Path, pattern: str) -> dict[str, tuple[int, int]]:
    """Inode and time of the files that match, which change whenever one is written."""
    return {
        file.relative_to(folder).as_posix(): (file.stat().st_ino, file.stat().st_mtime_ns)
        for file in folder.glob(pattern)
    }


def open_tables(folder: Path) -> dict[str, Any]:
    """Every table that is there; raises where one does not open."""
    project = Project(folder)
    found = {name: project.read(name, kind) for name, kind in TABLES.items()}
    return {name: table for name, table in found.items() if table is not None}


def no_traceback(ended: Ended, words: Sequence[str] = ()) -> None:
    """The command failed with a message for a person that says all of `words`."""
    assert ended.code == 1, (ended.code, ended.err)
    assert "Traceback" not in ended.err, ended.err
    last = ended.err.strip().splitlines()[-1]
    assert last.startswith("closeup: "), ended.err
    for word in words:
        assert word in last, last
