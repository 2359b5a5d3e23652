"""Run an ONNX graph: OpenVINO or ONNX Runtime, whichever suits it on this machine."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from closeup.core.config import EngineConfig
from closeup.core.errors import NetworkError, UsageError
from closeup.core.parallel import available_cpus
from closeup.networks.engine.choice import bf16_is_safe, faster_engine
from closeup.networks.engine.files import cache_folder, file_hash
from closeup.networks.engine.graph import Feeds, Graph, Results
from closeup.networks.engine.onnx_file import Signature, read_signature
from closeup.networks.engine.onnxruntime_backend import OnnxruntimeGraph, has_cuda
from closeup.networks.engine.openvino_backend import OpenvinoGraph, import_openvino, write_ir
from closeup.networks.preprocess import InputSpec

__all__ = [
    "Feeds",
    "Graph",
    "Results",
    "Signature",
    "cache_folder",
    "engine_facts",
    "file_hash",
    "open_graph",
    "open_to_try",
    "precision_for",
    "read_signature",
    "write_ir",
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
    OpenVINO cannot take the graph) ONNX Runtime again, which is logged and written to the graph's
    `note`. For streams both are timed the first time, and the faster one is remembered. For
    ``precision="auto"`` see :func:`precision_for`.

    Parameters
    ----------
    many
        Whether it will run streams of many feeds, or one feed at a time and soon.
    spec
        How pictures become a backbone's input; None for other graphs.

    Raises
    ------
    NetworkError
        Where no engine can take it, or the file is not one whole ONNX file (NetworkDamaged).
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
    opened = partial(_open, signature, precision, threads, many)
    if config.engine != "auto":
        return opened(config.engine)
    if precision == "fp32" and has_cuda():
        return opened("onnxruntime")
    try:
        trying = precision == "fp32" and many
        return opened(faster_engine(signature, threads, opened) if trying else "openvino")
    except NetworkError as err:
        if precision != "fp32":
            raise
        _log.warning("%s; running it on ONNX Runtime instead", err)
        return OnnxruntimeGraph(signature, threads, note=str(err))


def open_to_try(path: Path) -> Graph:
    """Open a file that is only being tried: OpenVINO would leave a compiled copy of it behind."""
    return open_graph(path, EngineConfig(engine="onnxruntime"))


def precision_for(path: Path, config: EngineConfig, spec: InputSpec | None = None) -> str:
    """The precision that the graph at `path` runs in: ``fp32`` or ``bf16``.

    ``auto`` is bf16 for a backbone (which has a `spec`) whose embeddings it leaves as they are, on
    a processor made for it: tried the first time and remembered. It would move a detector's boxes.
    """
    if config.precision != "auto":
        return config.precision
    if spec is None or config.engine == "onnxruntime" or has_cuda():
        return "fp32"
    signature, threads = read_signature(path), config.threads or available_cpus()
    try:
        safe = bf16_is_safe(
            signature, spec, lambda precision: OpenvinoGraph(signature, precision, threads, True)
        )
    except NetworkError:
        return "fp32"
    return "bf16" if safe else "fp32"


def engine_facts() -> dict[str, str]:
    """The processor, the precisions it is made for, and what the engines run on."""
    import onnxruntime

    core = import_openvino().Core()
    devices, providers = core.available_devices, onnxruntime.get_available_providers()
    return {
        "processor": str(core.get_property("CPU", "FULL_DEVICE_NAME")).strip(),
        "precisions": ", ".join(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")),
        "engines": f"openvino on {', '.join(devices)}; onnxruntime with {', '.join(providers)}",
    }


def _open(signature: Signature, precision: str, threads: int, many: bool, engine: str) -> Graph:
    if engine == "onnxruntime":
        return OnnxruntimeGraph(signature, threads)
    return OpenvinoGraph(signature, precision, threads, many)
