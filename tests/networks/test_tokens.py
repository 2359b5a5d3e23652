"""Tokens of a vision transformer as one embedding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from closeup.core.config import EngineConfig
from closeup.core.errors import UsageError
from closeup.networks.engine import open_graph
from closeup.networks.tokens import TokenPool, add_token_pooling, tokens_before_patches
from closeup.networks.variants import finish
from tests import tiny

DIM, PATCH = 5, 8


def vit(file: Path, before: int, *, size: tuple[int | str, int | str] = (32, 32)) -> Path:
    """Patches through one convolution, and `before` constant tokens put before them."""
    tiny.need_onnx()
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    constants = [
        numpy_helper.from_array(rng.standard_normal((DIM, 3, PATCH, PATCH)).astype("f"), "w"),
        numpy_helper.from_array(np.array([0, DIM, -1]), "flat"),
        numpy_helper.from_array(rng.standard_normal((1, before, DIM)).astype("f"), "first"),
    ]
    nodes = [
        helper.make_node("Conv", ["pixel_values", "w"], ["map"], strides=[PATCH, PATCH]),
        helper.make_node("Reshape", ["map", "flat"], ["columns"]),
        helper.make_node("Transpose", ["columns"], ["patches"], perm=[0, 2, 1]),
        helper.make_node("Concat", ["first", "patches"], ["last_hidden_state"], axis=1),
        helper.make_node("ReduceMean", ["patches"], ["another"], keepdims=1),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "vit",
        [value("pixel_values", TensorProto.FLOAT, [1, 3, *size])],
        [
            value("another", TensorProto.FLOAT, None),
            value("last_hidden_state", TensorProto.FLOAT, [1, "tokens", DIM]),
        ],
        constants,
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)
    return file


def run(file: Path, picture: np.ndarray, output: str) -> np.ndarray:
    return open_graph(file, EngineConfig(engine="onnxruntime")).run({"pixel_values": picture})[
        output
    ]


def pooled(
    file: Path, out: Path, pool: TokenPool, count: int, size: tuple[int, int]
) -> tuple[int, ...]:
    """Write the graph of `file` with its `count` tokens pooled; the lengths of the parts."""
    import onnx

    model = onnx.load(file)
    tokens = tokens_before_patches(model, count, size), count, DIM
    tensor, blocks = add_token_pooling(model, "last_hidden_state", tokens, pool)
    finish(model, tensor, sum(blocks))
    out.write_bytes(model.SerializeToString())
    return blocks


@pytest.mark.parametrize("size", [(32, 32), (24, 40), ("h", "w")])
@pytest.mark.parametrize("before", [0, 1, 5])
@pytest.mark.parametrize("pool", ["class", "mean", "both"])
def test_tokens_are_pooled(
    tmp_path: Path, before: int, pool: TokenPool, size: tuple[int | str, int | str]
) -> None:
    file, out = vit(tmp_path / "vit.onnx", before, size=size), tmp_path / "out.onnx"
    height, width = (32, 48) if size == ("h", "w") else size
    picture = np.random.default_rng(1).standard_normal((1, 3, height, width)).astype("f")
    tokens = run(file, picture, "last_hidden_state")[0]
    if pool == "class" and not before:
        with pytest.raises(UsageError, match="no class token; use --pool mean"):
            pooled(file, out, pool, len(tokens), (width, height))
        return
    blocks = pooled(file, out, pool, len(tokens), (width, height))
    parts = {"class": tokens[0], "mean": tokens[before:].mean(0)}
    wanted = [parts[part] for part in ("class", "mean") if pool in (part, "both")]
    wanted = wanted[-1:] if not before else wanted
    assert blocks == (DIM,) * len(wanted)
    found = run(out, picture, "embedding")
    np.testing.assert_allclose(found, np.concatenate(wanted)[None], atol=1e-5)
