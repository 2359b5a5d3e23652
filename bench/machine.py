"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib import metadata


def describe() -> str:
    """Processor, processors available and the versions that matter, as one line."""
    from closeup.core.parallel import available_cpus
    from closeup.networks.engine import engine_facts

    name = engine_facts()["processor"]
    versions = ", ".join(f"{n} {metadata.version(n)}" for n in ("closeup", "openvino", "numpy"))
    return f"{name}, {available_cpus()} processors, Python {platform.python_version()}, {versions}"


def usual_environment() -> dict[str, str]:
    """The environment as users have it: Python keeps what it compiled, BLAS chooses its kernels."""
    unusual = ("PYTHONDONTWRITEBYTECODE", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    return {name: value for name, value in os.environ.items() if name not in unusual}
