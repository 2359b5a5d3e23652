"""A finished network as a small ONNX file with its card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from closeup.networks.cache import measured
from closeup.networks.card import Card
from closeup.networks.convert.onnx_export import export_onnx

from .layers import fold_all

_SMALL = 256  # values; smaller constants stay as they are


def round_weights(module: nn.Module) -> None:
    """Round every weight that :func:`halve` stores as float16, so nothing changes later."""
    with torch.no_grad():
        for weight in module.parameters():
            if weight.numel() >= _SMALL:
                weight.copy_(weight.half().float())


def halve(file: Path) -> None:
    """Store an ONNX file's large float32 constants as float16; the graph still computes float32.

    Each is widened by a Cast, which ONNX Runtime and OpenVINO work out once when they load.
    """
    model = onnx.load(file)
    graph = model.graph
    casts = []
    for constant in list(graph.initializer):
        values = numpy_helper.to_array(constant)
        if values.dtype != np.float32 or values.size < _SMALL:
            continue
        name = constant.name
        stored = numpy_helper.from_array(values.astype(np.float16), f"{name}.half")
        graph.initializer.remove(constant)
        graph.initializer.append(stored)
        casts.append(helper.make_node("Cast", [stored.name], [name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, file)


def write_graph(module: nn.Module, side: int, file: Path, input_name: str, output: str) -> None:
    """Export a network with a free batch axis: batch norm folded, weights stored as float16.

    `module` is changed: folded, its weights rounded, in evaluation mode.
    """
    module.eval()
    fold_all(module)
    round_weights(module)
    module.to(memory_format=torch.contiguous_format)
    file.parent.mkdir(parents=True, exist_ok=True)
    example = torch.rand(2, 3, side, side)
    export_onnx(module, [example], file, input_names=[input_name], output_names=[output])
    halve(file)


def write_card(folder: Path, fields: Mapping[str, Any]) -> Card:
    """Write ``card.json`` beside ``graph.onnx``, with the graph's hash and size."""
    file = folder / "graph.onnx"
    card = Card.model_validate({**fields, **measured(file)})
    (folder / "card.json").write_text(card.model_dump_json(indent=2) + "\n", encoding="utf8")
    return card
