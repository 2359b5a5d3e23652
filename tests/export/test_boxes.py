"""An exported detector gives, for every family, the boxes that Closeup reads itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from closeup.core.config import EngineConfig
from closeup.detect import Detector
from closeup.detect.candidates import grid
from closeup.detect.detector import FAMILIES, FLOOR, Found
from closeup.export.boxes import _READERS, detector
from closeup.export.run import fit, opened
from closeup.networks import Network, load
from tests import tiny

CLASSES = ("cat", "", "clock")
WIDE, HIGH = 96, 64
CELLS = len(grid(WIDE, HIGH, 3))
Arrays = dict[str, NDArray[Any]]


def random(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def centred(n: int) -> NDArray[np.float32]:
    """Centres and sizes in pixels, many of which overlap."""
    return random(n, 4) * np.array([WIDE, HIGH, WIDE, HIGH], np.float32)


def cornered(n: int) -> NDArray[np.float32]:
    centre, size = np.split(centred(n), 2, 1)
    return np.concatenate([centre - size / 2, centre + size / 2], 1)


def scored(n: int, seed: int = 1) -> NDArray[np.float32]:
    return random(n, len(CLASSES), seed=seed)


def numbers(n: int) -> NDArray[np.int64]:
    return np.random.default_rng(2).integers(-1, len(CLASSES), n)


def yolox() -> Arrays:
    raw = np.concatenate([random(CELLS, 2), random(CELLS, 2) * 2, random(CELLS, 1, seed=3),
                          scored(CELLS)], 1)  # fmt: skip
    return {"out": raw[None]}


def yolov5() -> Arrays:
    return {"out": np.concatenate([centred(200), random(200, 1, seed=3), scored(200)], 1)[None]}


def yolov8() -> Arrays:
    return {"out": np.concatenate([centred(500), scored(500)], 1)[None]}


def picodet() -> Arrays:
    cells = np.diff([0, *(len(grid(WIDE, HIGH, levels)) for levels in (1, 2, 3))])
    parts = {f"scores{i}": scored(n, seed=5 + i)[None] for i, n in enumerate(cells)}
    return {**parts, **{f"d{i}": 4 * random(1, n, 4 * 8, seed=i) for i, n in enumerate(cells)}}


def finished(n: int = 40) -> Arrays:
    return {"labels": numbers(n)[None], "boxes": cornered(n)[None], "scores": random(1, n)}


def turned() -> Arrays:
    values = finished()
    shares = values["boxes"] / np.array([WIDE, HIGH, WIDE, HIGH], np.float32)
    return {"det": shares[..., [1, 0, 3, 2]], "n": np.array([25.0], np.float32),
            "classes": values["labels"].astype(np.float32), "scores": values["scores"]}  # fmt: skip


def five() -> Arrays:
    values = finished()
    return {"dets": np.concatenate([values["boxes"], values["scores"][..., None]], 2),
            "labels": values["labels"]}  # fmt: skip


def columns(order: str) -> Arrays:
    values = finished()
    parts = {"box": values["boxes"][0], "score": values["scores"][0][:, None],
             "class": values["labels"][0][:, None], "batch": np.zeros((40, 1))}  # fmt: skip
    return {"out": np.concatenate([parts[word] for word in order.split()], 1).astype(np.float32)}


def queries(width: int) -> Arrays:
    boxes = centred(30) / np.array([WIDE, HIGH] * 2, np.float32)
    return {"logits": 6 * random(1, 30, width, seed=4) - 3, "pred_boxes": boxes[None]}


SSD = {"names": {"boxes": "det", "labels": "classes", "count": "n"}, "boxes": "yxyx",
       "unit": "shares"}  # fmt: skip
CASES: dict[str, tuple[str, Arrays, Mapping[str, Any]]] = {
    "yolox": ("yolox", yolox(), {"input": {"color": "bgr", "scale": "byte"}}),
    "yolov5": ("yolov5", yolov5(), {}),
    "yolov8": ("yolov8", yolov8(), {"input": {"anchor": "centre"}}),
    "yolov8 turned": ("yolov8", {"out": yolov8()["out"].transpose(0, 2, 1)}, {}),
    "nms": ("nms", columns("box score class"), {}),
    "nms seven": ("nms", columns("batch box class score"),
                  {"output": {"columns": "batch box class score"}}),
    "nms first": ("nms", {"out": columns("class score box")["out"][None]},
                  {"output": {"columns": "class score box"}}),
    "picodet": ("picodet", picodet(), {"input": {"resize": "stretch"}}),
    "detr": ("detr", finished(), {"input": {"resize": "stretch"}}),
    "detr-logits": ("detr-logits", queries(3), {}),
    "softmax": ("detr-logits", queries(4), {}),
    "rcnn": ("rcnn", finished(), {"input": {"layout": "chw"}}),
    "ssd": ("rcnn", turned(), {"output": SSD, "input": {"layout": "nhwc", "dtype": "uint8",
                                                        "scale": "byte"}}),
    "five columns": ("rcnn", five(), {"output": {"names": {"boxes": "dets"}}}),
}  # fmt: skip


def network_of(folder: Path, family: str, outputs: Arrays, about: Mapping[str, Any]) -> Network:
    """A detector whose outputs are always these, but for a mean of its picture that is added.

    The mean goes into the first output's first value, times a millionth: the graph does need it.
    """
    from onnx import TensorProto, helper, numpy_helper

    tiny.need_onnx()
    spec = {"width": WIDE, "height": HIGH, **about.get("input", {})}
    layout = spec.get("layout", "nchw")
    sides = {"n": 1, "c": 3, "h": HIGH, "w": WIDE}
    kind = TensorProto.UINT8 if spec.get("dtype") == "uint8" else TensorProto.FLOAT
    image = helper.make_tensor_value_info("image", kind, [sides[axis] for axis in layout])
    nodes = [helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
             helper.make_node("ReduceMean", ["floats"], ["mean"], keepdims=0),
             helper.make_node("Mul", ["mean", "tiny"], ["little"])]  # fmt: skip
    constants = [numpy_helper.from_array(np.array(1e-6, np.float32), "tiny")]
    infos = []
    for name, value in outputs.items():
        constants.append(numpy_helper.from_array(value, f"{name}_is"))
        if value.dtype == np.float32 and name not in ("classes", "n"):
            nodes.append(helper.make_node("Add", [f"{name}_is", "little"], [name]))
        else:
            nodes.append(helper.make_node("Identity", [f"{name}_is"], [name]))
        infos.append(helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape))  # fmt: skip
    graph = helper.make_graph(nodes, "x", [image], infos, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data = model.SerializeToString()
    (folder / "graph.onnx").write_bytes(data)
    card = {"name": "x", "kind": "detector", "family": family, "classes": CLASSES, "batch": 1,
            "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), **about,
            "input": spec}  # fmt: skip
    (folder / "card.json").write_text(json.dumps(card))
    return load(folder)


def read_by_runner(network: Network, file: Path, photo: NDArray[np.uint8]) -> list[Found]:
    """What an exported graph finds, as the runner reads it, above the least score of ours."""
    from PIL import Image

    from closeup.core.types import Box
    from closeup.export.run import Classifier

    runner = Classifier.__new__(Classifier)
    spec = network.card.input.model_dump()
    runner.about = {"detector": {"input": spec, "classes": CLASSES}}
    runner.detect = opened(file)
    assert fit(Image.fromarray(photo), spec)[0].shape == (1, HIGH, WIDE, 3)
    return [Found(name, score, Box(*box)) for box, name, score
            in runner.found(Image.fromarray(photo)) if score >= FLOOR]  # fmt: skip


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
@pytest.mark.parametrize("case", CASES)
def test_the_boxes_of_every_family(tmp_path: Path, case: str, suffix: str) -> None:
    from closeup.networks.engine import write_ir

    family, outputs, about = CASES[case]
    network = network_of(tmp_path, family, outputs, about)
    photo = np.random.default_rng(9).integers(0, 255, (50, 90, 3), dtype=np.uint8)
    engine = EngineConfig(engine="onnxruntime")
    (wanted,) = Detector(network, engine, many=False).detect([photo])
    file = tmp_path / "detector.onnx"
    file.write_bytes(detector(network).SerializeToString())
    if suffix == ".xml":
        write_ir(file, file.with_suffix(suffix), {})
    found = read_by_runner(network, file.with_suffix(suffix), photo)
    assert len(wanted) > 3
    assert [one.category for one in found] == [one.category for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert list(one.box) == pytest.approx(list(other.box), abs=1e-2)


def test_no_family_is_without_a_reader_or_a_case() -> None:
    assert set(_READERS) == set(FAMILIES) == {family for family, _, _ in CASES.values()}
