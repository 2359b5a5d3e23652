"""Which engine and precision suit a graph on this machine: tried once, then remembered."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import NetworkError, ProjectError
from closeup.core.project import write_atomically
from closeup.core.types import Pixels
from closeup.networks.engine.files import cache_folder, file_hash
from closeup.networks.engine.graph import Feeds, Graph
from closeup.networks.engine.onnx_file import Signature
from closeup.networks.engine.openvino_backend import cpu_property
from closeup.networks.preprocess import InputSpec, prepare

CHOICES_FILE = "engines.json"
ALIKE = 0.9998
"""Least cosine between a probe's embeddings in bf16 and in fp32 for bf16 to be used. Close-ups
differ more than probes do, and theirs must stay above 0.999 (see ``bench/precision.py``)."""
FASTER = 1.5
"""ONNX Runtime is used where it is faster than OpenVINO by this factor. A smaller gain is lost
again: unlike OpenVINO's, its threads wait for the interpreter between two runs."""
LEAST_BYTES = 100_000  # smaller graphs are quick anyway
_PROBES = 8
_ROUNDS = 3
_ROUND_SECONDS = 0.15
_LEAST_RATE = 4.0  # runs a second below which trying would take longer than it is worth


def probe(seed: int, side: int = 256) -> Pixels:
    """A ``(side, side, 3)`` picture of clouds, whose spectrum is about that of photos.

    As in Field (1987), amplitudes fall with the frequency.
    """
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = 1
    waves = rng.standard_normal((2, 3, side, side))
    values = np.fft.ifft2((waves[0] + 1j * waves[1]) / frequency**1.2).real
    values = (values - values.mean((1, 2), keepdims=True)) / values.std((1, 2), keepdims=True)
    shades = 128 + 50 * (0.4 * values + 0.8 * values.mean(axis=0))
    return np.ascontiguousarray(shades.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def bf16_is_safe(signature: Signature, spec: InputSpec, compare: Callable[[str], Graph]) -> bool:
    """Whether a backbone's embeddings stay the same in bf16, and the processor is made for it.

    `compare` opens the graph in the given precision.
    """
    if signature.file.stat().st_size < LEAST_BYTES or not _has_bf16():
        return False

    def tried() -> dict[str, Any]:
        name = next(iter(signature.inputs))
        feeds = [{name: prepare(probe(seed), spec)[0][None]} for seed in range(_PROBES)]
        plain, quick = (_embeddings(compare(precision), feeds) for precision in ("fp32", "bf16"))
        lengths = np.linalg.norm(plain, axis=1) * np.linalg.norm(quick, axis=1)
        cosines = (plain * quick).sum(axis=1) / np.maximum(lengths, 1e-30)
        return {"cosine": round(float(cosines.min()), 6)}

    found = remembered(signature, f"bf16 {spec.model_dump_json()}", tried)
    return bool(found["cosine"] >= ALIKE)


def faster_engine(signature: Signature, threads: int, opened: Callable[[str], Graph]) -> str:
    """``"openvino"`` or ``"onnxruntime"``, whichever runs a stream of feeds faster.

    `opened` opens the graph on the given engine, for streams, or raises NetworkError.
    """
    if signature.file.stat().st_size < LEAST_BYTES:
        return "openvino"

    def tried() -> dict[str, Any]:
        feeds = _noise(signature)
        try:
            graphs = {"openvino": opened("openvino")}
            if _rate(graphs["openvino"], feeds, 0) < _LEAST_RATE:
                return {"openvino": 1.0, "onnxruntime": 0.0}
            graphs["onnxruntime"] = opened("onnxruntime")
            rates = dict.fromkeys(graphs, 0.0)
            for _ in range(_ROUNDS):
                for name, graph in graphs.items():
                    rates[name] = max(rates[name], _rate(graph, feeds, threads))
        except NetworkError:
            return {"openvino": 1.0, "onnxruntime": 0.0}
        return {name: round(rate, 2) for name, rate in rates.items()}

    rates = remembered(signature, f"rate {threads}", tried)
    return "onnxruntime" if rates["onnxruntime"] > FASTER * rates["openvino"] else "openvino"


def _embeddings(graph: Graph, feeds: list[dict[str, NDArray[Any]]]) -> NDArray[np.float64]:
    return np.stack([
        np.asarray(next(iter(outputs.values())), np.float64).reshape(-1)
        for outputs in graph.stream(feeds)
    ])  # fmt: skip


def _noise(signature: Signature) -> Feeds:
    """One feed of the right shapes; where an axis is free, a picture of 224 pixels."""
    rng = np.random.default_rng(0)
    feed: dict[str, NDArray[Any]] = {}
    for name, shape in signature.inputs.items():
        free = [1] + [224] * (len(shape) - 1)
        sizes = [known or free[axis] for axis, known in enumerate(shape)]
        dtype = signature.dtypes[name]
        values = rng.random(sizes, np.float32) if dtype.kind == "f" else np.full(sizes, 224)
        feed[name] = values.astype(dtype)
    return feed


def _rate(graph: Graph, feed: Feeds, threads: int) -> float:
    """Feeds a second, measured for a moment, over two for each thread at least; for 0 over one."""
    count = 0
    start = time.perf_counter()

    def feeds() -> Iterator[Feeds]:
        nonlocal count
        least, until = max(1, 2 * threads), start + _ROUND_SECONDS
        while count < least or (threads and time.perf_counter() < until):
            count += 1
            yield feed

    for _ in graph.stream(feeds()):
        pass
    return count / (time.perf_counter() - start)


def remembered(
    signature: Signature, question: str, find: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The answer to a question about a graph on this machine, found at most once."""
    asked = f"{file_hash(signature.file)} {_machine()} {question}"
    key = hashlib.sha256(asked.encode()).hexdigest()[:32]
    file = cache_folder() / CHOICES_FILE
    known = _read(file)
    if isinstance(known.get(key), dict):
        return dict(known[key])
    answer = find()
    # A read-only home: tried again next time, nothing else.
    with contextlib.suppress(OSError, ProjectError):
        file.parent.mkdir(parents=True, exist_ok=True)
        about = {"graph": str(signature.file), "question": question.partition(" ")[0]}
        text = json.dumps({**_read(file), key: {**about, **answer}}, indent=1, sort_keys=True)
        write_atomically(file, text.encode(), durable=False)
    return answer


def _read(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


@cache
def _machine() -> str:
    """Processor and engines: what an answer depends on beside the graph."""
    engines = " ".join(f"{name} {version(name)}" for name in ("openvino", "onnxruntime"))
    return f"{cpu_property('FULL_DEVICE_NAME')} {engines}"


def _has_bf16() -> bool:
    """Whether the processor multiplies in bf16; elsewhere OpenVINO would emulate it."""
    return "BF16" in cpu_property("OPTIMIZATION_CAPABILITIES")
