"""Run an ONNX graph: OpenVINO on CPUs, ONNX Runtime as the fallback and on GPUs."""

from __future__ import annotations

import logging
from pathlib import Path

from closeup.config import EngineConfig
from closeup.engine.graph import Feeds, Graph, Results
from closeup.engine.machine import available_cpus, cache_folder
from closeup.engine.onnx_file import Signature, read_signature
from closeup.errors import NetworkError, UsageError

__all__ = [
    "Feeds",
    "Graph",
    "Results",
    "Signature",
    "available_cpus",
    "cache_folder",
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
) -> Graph:
    """Open the ONNX file at `path` for running; with `many`, for streams of many feeds.

    ``engine="auto"`` takes ONNX Runtime where it has an NVIDIA GPU, else OpenVINO, else (where
    OpenVINO cannot take the graph) ONNX Runtime again, which is logged and put in the graph's
    `note`. ``precision="auto"`` is fp32.

    Raises
    ------
    NetworkDamaged
        Where the file is not one whole ONNX file.
    NetworkError
        Where no engine can take it.
    UsageError
        Where bf16 is asked of ONNX Runtime.
    """
    from closeup.engine.onnxruntime_backend import OnnxruntimeGraph, has_cuda
    from closeup.engine.openvino_backend import OpenvinoGraph

    threads = config.threads or available_cpus()
    precision = precision_for(path, config)
    if config.engine == "onnxruntime" and precision != "fp32":
        raise UsageError(
            f"precision {precision} runs on OpenVINO only: "
            "use `--engine openvino` or `--precision fp32`"
        )
    signature = read_signature(path)
    if config.engine == "openvino":
        return OpenvinoGraph(signature, precision, threads, many)
    if config.engine == "onnxruntime" or (precision == "fp32" and has_cuda()):
        return OnnxruntimeGraph(signature, threads)
    try:
        return OpenvinoGraph(signature, precision, threads, many)
    except NetworkError as err:
        if precision != "fp32":
            raise
        _log.warning("%s; running it on ONNX Runtime instead", err)
        return OnnxruntimeGraph(signature, threads, note=str(err))


def precision_for(path: Path, config: EngineConfig) -> str:
    """The precision that the graph at `path` runs in: ``fp32`` or ``bf16``."""
    return "fp32" if config.precision == "auto" else config.precision
