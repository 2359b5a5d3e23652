"""A PyTorch module -> an ONNX file: the one place that calls PyTorch's exporter.

PyTorch is imported inside the functions, so importing this module costs nothing.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from closeup.core.errors import NetworkError, NetworkMissing

if TYPE_CHECKING:
    from torch import Tensor, nn

OPSET = 18


def need_torch(what: str) -> None:
    """Check that the PyTorch extra is installed, on behalf of `what` (a phrase for the message).

    Raises
    ------
    NetworkMissing
        Where PyTorch is absent, naming the install command.
    """
    from importlib.util import find_spec

    for module in ("torch", "onnxscript"):
        if find_spec(module) is None:
            raise NetworkMissing(
                f"{what} needs PyTorch ({module} is not installed): "
                "pip install 'closeup[torch]', or convert it on another machine and copy the "
                "folder that `closeup models list` shows"
            )


def export_onnx(
    module: nn.Module,
    example_inputs: Sequence[Tensor],
    file: Path,
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
    dynamic_batch: bool,
) -> None:
    """Write `module` in evaluation mode as one self-contained ONNX file (opset 18).

    Parameters
    ----------
    module
        Called as ``module(*example_inputs)``; it is put in evaluation mode.
    example_inputs
        Positional inputs with the batch first. With `dynamic_batch` their batch must be at least
        2, because the exporter takes a batch of 1 for a constant.
    file
        Written whole, weights included; its folder must exist.
    dynamic_batch
        Leave the first axis of every input free.

    Raises
    ------
    NetworkError
        Where the module cannot be exported, with the exporter's first line.
    """
    import torch
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    if dynamic_batch and any(len(value) < 2 for value in example_inputs):
        raise ValueError("a free batch axis needs example inputs with a batch of at least 2")
    free = {0: torch.export.Dim.DYNAMIC}
    chatter = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(chatter), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.eval(),
                tuple(example_inputs),
                input_names=list(input_names),
                output_names=list(output_names),
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=tuple(free for _ in example_inputs) if dynamic_batch else None,
                verbose=False,
            )
            # Every node carries the stack trace of its making, with this machine's own paths.
            ClearMetadataAndDocStringPass()(program.model)
            program.save(str(file), external_data=False)
    except torch.onnx.errors.OnnxExporterError as err:
        raise _failed(module, err) from err


def trace_onnx(
    module: nn.Module,
    example_inputs: Sequence[Tensor],
    file: Path,
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
) -> None:
    """As :func:`export_onnx` for a fixed batch, with PyTorch's older, tracing exporter.

    Detectors need it: the newer one cannot follow non-maximum suppression, whose outputs have no
    fixed length, nor some of transformers' DETRs. It runs the module once and notes what happens.
    """
    import torch

    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module.eval(),
                tuple(example_inputs),
                str(file),
                input_names=list(input_names),
                output_names=list(output_names),
                opset_version=OPSET,
                dynamo=False,
            )
    except torch.onnx.errors.OnnxExporterError as err:
        raise _failed(module, err) from err


def _failed(module: nn.Module, err: Exception) -> NetworkError:
    first = next((line for line in str(err).splitlines() if line.strip()), type(err).__name__)
    return NetworkError(
        f"{type(module).__name__} cannot be exported to ONNX: {first.strip()}; "
        "try another architecture, or export it yourself and add the ONNX file"
    )


def require_agreement(
    name: str,
    expected: Mapping[str, NDArray[np.floating]],
    found: Mapping[str, NDArray[np.floating]],
    tolerance: float = 1e-3,
) -> float:
    """Check a graph's outputs against its module's, and return the largest relative difference.

    The difference is the largest absolute one over the largest absolute expected value, per
    output; outputs of no elements count as equal.

    Raises
    ------
    NetworkError
        Where an output differs in shape or by more than `tolerance`.
    """
    worst = 0.0
    for key, value in expected.items():
        if found[key].shape != value.shape:
            raise NetworkError(
                f"{name}: the exported graph gives {key} of shape {found[key].shape}, PyTorch "
                f"{value.shape}; the export is wrong, use another version of PyTorch"
            )
        if value.size:
            scale = float(np.abs(value).max()) or 1.0
            worst = max(worst, float(np.abs(found[key] - value).max()) / scale)
    if not worst <= tolerance:  # also true of NaN
        raise NetworkError(
            f"{name}: the exported graph differs from PyTorch by {worst:.2g} (relative; at most "
            f"{tolerance:g} is allowed); the export is wrong, use another version of PyTorch"
        )
    return worst
