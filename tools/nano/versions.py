"""What a network was made with."""

from __future__ import annotations

from importlib.metadata import version


def made_with(command: str, seed: int) -> dict[str, str]:
    """The command, its seed, and the versions of what computed."""
    packages = ("torch", "onnx", "onnxscript", "numpy", "pillow")
    return {"command": command, "seed": str(seed)} | {name: version(name) for name in packages}
