"""Two real but tiny networks, so that the whole flow can be tested in seconds.

``tiny-box`` finds a `thing` in the middle three quarters of any photo, with the photo's mean
brightness (0 to 1) as its score, so a black photo has none. ``tiny-pool`` embeds a close-up as
its 4x4 grid of mean colours.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SIZE = 64
TINY = {"detector": "tiny-box", "backbone": "tiny-pool", "parent": "thing"}
"""Options that run on the two."""


def _save(model: Any, folder: Path, card: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    data = model.SerializeToString()
    (folder / "graph.onnx").write_bytes(data)
    facts = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "licence": "Apache-2.0",
    }
    (folder / "card.json").write_text(json.dumps({**card, **facts}))
    return folder


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any]) -> Any:
    from onnx import checker, helper

    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    return model


def make_detector(cache: Path, name: str = "tiny-box") -> Path:
    """Write ``tiny-box`` (DETR deployment form) into a cache folder."""
    from onnx import TensorProto, helper, numpy_helper

    side = float(SIZE)
    constants = [
        numpy_helper.from_array(np.array([[0]], np.int64), "label"),
        numpy_helper.from_array(
            np.array([[[side / 8, side / 8, side * 7 / 8, side * 7 / 8]]], np.float32), "box"
        ),
        numpy_helper.from_array(np.array([1, 1], np.int64), "one"),
    ]
    nodes = [
        helper.make_node("Identity", ["label"], ["labels"]),
        helper.make_node("Identity", ["box"], ["boxes"]),
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=1),
        helper.make_node("Reshape", ["mean", "one"], ["scores"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    outputs = [
        helper.make_tensor_value_info("labels", TensorProto.INT64, [1, 1]),
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 1, 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1]),
    ]
    card = {
        "name": name, "kind": "detector", "family": "detr", "batch": 1, "classes": ["thing"],
        "input": {"width": SIZE, "height": SIZE, "resize": "stretch"},
    }  # fmt: skip
    model = _model(nodes, [images], outputs, constants)
    return _save(model, cache / "networks" / name, card)


def make_backbone(cache: Path, name: str = "tiny-pool") -> Path:
    """Write ``tiny-pool`` into a cache folder."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("AveragePool", ["image"], ["pooled"], kernel_shape=[16, 16],
                         strides=[16, 16]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]  # fmt: skip
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 48])
    card = {
        "name": name, "kind": "backbone", "family": "embedding", "dim": 48,
        "input": {"width": SIZE, "height": SIZE, "resize": "stretch"},
    }  # fmt: skip
    return _save(_model(nodes, [image], [output], []), cache / "networks" / name, card)


def staged_weights() -> list[Any]:
    """The convolutions of ``tiny-stages``: 3 to 4, 4 to 6, 6 to 5 channels."""
    rng = np.random.default_rng(0)
    return [
        rng.standard_normal((o, i, 1, 1)).astype(np.float32) for i, o in ((3, 4), (4, 6), (6, 5))
    ]


def make_staged_backbone(cache: Path, name: str = "tiny-stages") -> Path:
    """Write ``tiny-stages``, three convolutions of stride 2, into a cache folder."""
    from onnx import TensorProto, helper, numpy_helper

    constants = [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(staged_weights())]
    nodes, last = [], "image"
    for i in range(3):
        nodes.append(helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], strides=[2, 2]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        last = f"r{i}"
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["embedding"], axis=1))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 32, 32])
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 5])
    card = {
        "name": name, "kind": "backbone", "family": "embedding", "dim": 5,
        "input": {"width": 32, "height": 32, "anchor": "centre"},
    }  # fmt: skip
    return _save(_model(nodes, [image], [output], constants), cache / "networks" / name, card)


def make_photos(folder: Path, per_label: int = 10, *, dark: int = 0) -> Path:
    """Photos of labels ``ash``, ``birch``, ``cedar``, told apart by the colour of their middle.

    `dark` black photos of each label come on top: their object cannot be found.
    """
    for number, label in enumerate(("ash", "birch", "cedar")):
        (folder / label).mkdir(parents=True)
        for n in range(per_label + dark):
            rng = np.random.default_rng([number, n])
            pixels = rng.integers(60, 200, (40 + n, 60, 3), dtype=np.uint8)
            pixels[10:-10, 15:-15, number] = 250
            if n >= per_label:
                pixels = np.zeros_like(pixels)
                pixels[0, 0] = (number, n, 1)
            Image.fromarray(pixels).save(folder / label / f"{n}.png")
    return folder


def need_onnx() -> None:
    """Skip the calling test where the onnx package is absent."""
    pytest.importorskip("onnx", reason="the tiny networks are made with the onnx package")


def make_cache(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """A cache with the tiny detector and backbone, in force until `patch` ends."""
    need_onnx()
    patch.setenv("CLOSEUP_CACHE", str(folder))
    make_detector(folder)
    make_backbone(folder)
    return folder


def make_project(base: Path, **options: Any) -> Path:
    """A finished run on tiny networks in a folder of its own, whose cache is gone afterwards.

    Parameters
    ----------
    options
        More of :func:`closeup.run`.

    Returns
    -------
    model
        The model folder; the photos lie in ``base/photos``, and the one of the first label that
        is dark has no object.
    """
    import shutil

    import closeup

    need_onnx()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOSEUP_CACHE", str(base / "cache"))
        make_detector(base / "cache")
        make_backbone(base / "cache")
        photos = make_photos(base / "photos", dark=2)
        closeup.run(photos, out=base / "out", detector="tiny-box", backbone="tiny-pool",
                    parent="thing", preset="quick", **options)  # fmt: skip
    shutil.rmtree(base / "cache")
    return base / "out" / "model"
