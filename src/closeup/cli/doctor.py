"""``closeup doctor``: what this machine has, and what is missing."""

from __future__ import annotations

import os
import platform
from importlib import metadata

from closeup.cli import options as opt
from closeup.cli.output import print_json
from closeup.core.errors import how_to_install

_LIBRARIES = ("numpy", "pillow", "onnxruntime", "openvino", "scikit-learn", "pyarrow")
_EXTRA = ("torch", "torchvision", "timm", "transformers", "onnx")


def doctor(json: opt.Json = False) -> None:
    """Show what this machine has: processors, engines, libraries, networks and the cache."""
    facts = _facts()
    if json:
        print_json(facts)
        return
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        print(f"{name:<{width}}{value}")


def _facts() -> dict[str, str]:
    from PIL import features

    from closeup._version import __version__
    from closeup.core.parallel import available_cpus
    from closeup.networks import installed, networks_folder
    from closeup.networks.engine import engine_facts

    folder = networks_folder()
    nearest = next(p for p in (folder, *folder.parents) if p.exists())
    networks = installed()
    missing = [name for name in _EXTRA if _version(name) == "absent"]
    return {
        "closeup": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "processors": f"{available_cpus()} available",
        **engine_facts(),
        **{name: _version(name) for name in _LIBRARIES},
        "photo formats": "JPEG, PNG, TIFF, GIF, BMP"
        + "".join(f", {n}" for n, f in (("WebP", "webp"), ("AVIF", "avif")) if features.check(f)),
        "conversion": "PyTorch is installed" if not missing else
        f"{', '.join(missing)} missing; to convert or fine-tune: {how_to_install('torch')}",
        "cache": f"{folder} ({'writable' if os.access(nearest, os.W_OK) else 'NOT WRITABLE'})",
        "detectors": ", ".join(n.card.name for n in networks if n.card.kind == "detector")
        or "none yet: closeup models pull",
        "backbones": ", ".join(n.card.name for n in networks if n.card.kind == "backbone")
        or "none yet: closeup models pull",
    }  # fmt: skip


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"
