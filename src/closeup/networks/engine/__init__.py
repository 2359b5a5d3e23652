"""Run an ONNX graph: OpenVINO or ONNX Runtime, whichever suits it on this machine."""

from __future__ import annotations

import logging
from pathlib import Path

from closeup.core.config import EngineConfig
from closeup.core.errors import NetworkError, UsageError
from closeup.core.parallel import available_cpus
from closeup.networks.engine.choice import bf16_is_safe, faster_engine
from closeup.networks.engine.graph import Feeds, Graph, Results
from closeup.networks.engine.machine import cache_folder
from closeup.networks.engine.onnx_file import Signature, read_signature
from closeup.networks.engine.unchanged import content_hash
from closeup.networks.preprocess import InputSpec

__all__ = [
    "Feeds",
    "Graph",
    "Results",
    "Signature",
    "cache_folder",
    "content_hash",
    "open_graph",
    "precision_for",
    "read_signature",
]

_log = logging.getLogger(__name__)


def open_graph(
    path: Path,
    config: EngineConfig = EngineConfig(),  # noqa: B008 (frozen)
    *,
    many: bool = False,
    spec: InputSpec | None = None,
) -> Graph:
    """Open the ONNX file at `path` for running.

    ``engine="auto"`` takes ONNX Runtime where it has an NVIDIA GPU, else OpenVINO, else (where
    OpenVINO cannot take the graph) ONNX Runtime again, which is logged and put in the graph's
    `note`. For streams both are tried the first time, and the faster one is remembered. For
    ``precision="auto"`` see :func:`precision_for`.

    Parameters
    ----------
    many
        Whether it is for streams of many feeds or for one soon.
    spec
        How pictures become its input, of a backbone; None for other graphs.

    Raises
    ------
    NetworkDamaged
        Where the file is not one whole ONNX file.
    NetworkError
        Where no engine can take it.
    UsageError
        Where bf16 is asked of ONNX Runtime.
    """
    if config.engine == "onnxruntime" and config.precision == "bf16":
        raise UsageError(
            "precision bf16 runs on OpenVINO only: use `--engine openvino` or `--precision fp32`"
        )
    signature = read_signature(path)
    threads = config.threads or available_cpus()
    precision = precision_for(path, config, spec)
    if config.engine != "auto":
        return _open(config.engine, signature, precision, threads, many)
    if precision == "fp32" and _has_cuda():
        return _open("onnxruntime", signature, precision, threads, many)
    try:
        if precision == "fp32" and many:
            engine = faster_engine(
                signature, threads, lambda name: _open(name, signature, precision, threads, many)
            )
            return _open(engine, signature, precision, threads, many)
        return _open("openvino", signature, precision, threads, many)
    except NetworkError as err:
        if precision != "fp32":
            raise
        _log.warning("%s; running it on ONNX Runtime instead", err)
        from closeup.networks.engine.onnxruntime_backend import OnnxruntimeGraph

        return OnnxruntimeGraph(signature, threads, note=str(err))


def precision_for(path: Path, config: EngineConfig, spec: InputSpec | None = None) -> str:
    """The precision that the graph at `path` runs in: ``fp32`` or ``bf16``.

    ``auto`` is bf16 for a backbone whose embeddings it leaves as they are, on a processor made for
    it: tried the first time and remembered. A detector's boxes would move, so its is fp32.

    Parameters
    ----------
    spec
        How pictures become its input, of a backbone; None for other graphs.
    """
    if config.precision != "auto":
        return config.precision
    if spec is None or config.engine == "onnxruntime" or _has_cuda():
        return "fp32"
    signature, threads = read_signature(path), config.threads or available_cpus()
    try:
        safe = bf16_is_safe(
            signature, spec, lambda name: _open("openvino", signature, name, threads, True)
        )
    except NetworkError:
        return "fp32"
    return "bf16" if safe else "fp32"


def _has_cuda() -> bool:
    from closeup.networks.engine.onnxruntime_backend import has_cuda

    return has_cuda()


def _open(engine: str, signature: Signature, precision: str, threads: int, many: bool) -> Graph:
    if engine == "onnxruntime":
        from closeup.networks.engine.onnxruntime_backend import OnnxruntimeGraph

        return OnnxruntimeGraph(signature, threads)
    from closeup.networks.engine.openvino_backend import OpenvinoGraph

    return OpenvinoGraph(signature, precision, threads, many)
