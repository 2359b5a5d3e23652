"""A PyTorch module -> an ONNX file: the one place that calls PyTorch's exporter."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import NetworkError, NetworkMissing, how_to_install
from closeup.networks.engine import open_to_try
from closeup.networks.preprocess import InputSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

OPSET = 18
LEAST_SCORE = 0.01
"""A detector's graph gives no box that scores less, unless it gives a fixed number of boxes."""


def need_torch(what: str) -> None:
    """Raise NetworkMissing where the PyTorch extra is not installed; `what` (a phrase) needs it."""
    from importlib.util import find_spec

    for module in ("torch", "onnxscript"):
        if find_spec(module) is None:
            raise NetworkMissing(
                f"{what} needs PyTorch ({module} is not installed): "
                f"{how_to_install('torch')}, or convert it on another machine and copy the "
                "folder that `closeup models list` shows"
            )


def export_onnx(
    module: nn.Module,
    example_inputs: Sequence[Tensor],
    file: Path,
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
    traced: bool = False,
) -> None:
    """Write `module` in evaluation mode as one self-contained ONNX file (opset 18).

    Parameters
    ----------
    example_inputs
        Positional inputs with the batch first. That axis stays free in the graph, for which the
        batch must be at least 2: the exporter takes a batch of 1 for a constant.
    file
        Written whole, weights included; its folder must exist.
    traced
        Use PyTorch's older exporter, which runs the module once and notes what happens, and fix the
        batch. Detectors need it: the newer one cannot follow non-maximum suppression, whose
        outputs have no fixed length, nor some of transformers' DETRs.

    Raises
    ------
    NetworkError
        Where the module cannot be exported, with the exporter's first line.
    """
    import torch
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    how: dict[str, Any] = {"f": str(file), "dynamo": False}
    if not traced:
        if any(len(value) < 2 for value in example_inputs):
            raise ValueError("a free batch axis needs example inputs with a batch of at least 2")
        free = {0: torch.export.Dim.DYNAMIC}
        how = {"dynamo": True, "dynamic_shapes": (free,) * len(example_inputs), "verbose": False}
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.eval(),
                tuple(example_inputs),
                input_names=list(input_names),
                output_names=list(output_names),
                opset_version=OPSET,
                **how,
            )
            if program is not None:  # every node carries a stack trace with this machine's paths
                ClearMetadataAndDocStringPass()(program.model)
                program.save(str(file), external_data=False)
    except torch.onnx.errors.OnnxExporterError as err:
        first = next((line for line in str(err).splitlines() if line.strip()), type(err).__name__)
        raise NetworkError(
            f"{type(module).__name__} cannot be exported to ONNX: {first.strip()}; "
            "try another architecture, or export it yourself and add the ONNX file"
        ) from err


def require_agreement(
    name: str, expected: NDArray[np.floating], found: NDArray[np.floating], tolerance: float
) -> None:
    """Raise NetworkError where a graph's output differs from the module's by over `tolerance`."""
    wrong = "the export is wrong, use another version of PyTorch"
    if found.shape != expected.shape:
        raise NetworkError(
            f"{name}: the exported graph's output has shape {found.shape}, PyTorch's "
            f"{expected.shape}; {wrong}"
        )
    gap = float(np.abs(found - expected).max())
    if not gap <= tolerance:  # also true of NaN
        raise NetworkError(
            f"{name}: the exported graph's output differs from PyTorch's by {gap:.2g}, where at "
            f"most {tolerance:.2g} is allowed; {wrong}"
        )


def made_with(*libraries: str) -> dict[str, str]:
    """The versions that a card names: Closeup's, PyTorch's, those of `libraries`, the opset."""
    from closeup._version import __version__

    versions = {name: str(import_module(name).__version__) for name in ("torch", *libraries)}
    return {"closeup": __version__, **versions, "opset": str(OPSET)}


@dataclass(frozen=True, slots=True)
class Converted:
    """A detector as a PyTorch module, ready for export, and what its card will say."""

    module: nn.Module
    family: Literal["detr", "rcnn"]
    spec: InputSpec
    classes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def write_graph(name: str, converted: Converted, file: Path) -> None:
    """Export a detector to `file` and check its best scores against PyTorch's on random pixels.

    Raises NetworkError where the module cannot be run, the export fails, or they differ.
    """
    import torch

    spec = converted.spec
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(1, 3, spec.height, spec.width, generator=generator)
    inputs = [pixels, torch.tensor([[spec.width, spec.height]])][: len(converted.inputs)]
    try:
        with torch.no_grad():
            expected = dict(zip(converted.outputs, converted.module(*inputs), strict=True))
    except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError) as err:
        raise NetworkError(
            f"{name} cannot be run: {' '.join(str(err).split())[:200]}; "
            "its configuration and its weights do not fit together, fetch both again"
        ) from err
    names = {"input_names": converted.inputs, "output_names": converted.outputs}
    export_onnx(converted.module, inputs, file, **names, traced=True)
    graph = open_to_try(file)
    feeds = {key: value.numpy() for key, value in zip(converted.inputs, inputs, strict=True)}
    found = _best_scores(graph.run(feeds)["scores"])
    require_agreement(name, _best_scores(expected["scores"].numpy()), found, tolerance=0.01)


def _best_scores(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The ten best, filled up with the lowest score that a graph may give."""
    best = np.sort(scores.reshape(-1))[::-1][:10]
    return np.pad(best, (0, 10 - len(best)), constant_values=LEAST_SCORE)
