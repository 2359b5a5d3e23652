"""Stand-ins for the ready graphs of the hub: the same inputs and outputs, made by hand.

They are tiny and answer with what is in the picture, so that the whole flow can be tested without
PyTorch and without the real weights, which cannot be had here. Hashes and sizes differ from the
catalogue's, so tests serve a catalogue of their own (`serve`), whose rows are the real ones but for
these two.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from closeup.networks.catalogue import CATALOGUE_FILE
from closeup.networks.coco import COCO80
from tests.networks.hub_server import Hub

QUERIES = 300
PATCH = 14


def write_detector(file: Path, classes: int, best: int) -> None:
    """A graph with D-FINE's interface: `QUERIES` queries, the first of which finds a thing.

    It takes ``pixel_values`` ``(batch, 3, height, width)`` and gives ``logits`` and ``pred_boxes``.
    The first query is of class `best` with a score that grows with the picture's brightness, and
    its box is the middle three quarters; all others are certain of nothing.
    """
    from onnx import TensorProto, checker, helper, numpy_helper, save

    logits = np.full((1, QUERIES, classes), -8.0, np.float32)
    gain = np.zeros_like(logits)
    gain[0, 0, best] = 24.0
    boxes = np.tile(np.array([0.5, 0.5, 0.75, 0.75], np.float32), (1, QUERIES, 1))
    constants = {"base": logits, "gain": gain, "boxes": boxes}
    constants |= {
        "shape": np.array([-1, 1, 1], np.int64),
        "nought": np.zeros((1, 1, 1), np.float32),
    }
    free = helper.make_tensor_value_info
    nodes = [
        helper.make_node("ReduceMean", ["pixel_values"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], ["bright"]),
        helper.make_node("Mul", ["bright", "gain"], ["raised"]),
        helper.make_node("Add", ["raised", "base"], ["logits"]),
        helper.make_node("Mul", ["bright", "nought"], ["none"]),
        helper.make_node("Add", ["boxes", "none"], ["pred_boxes"]),
    ]
    pictures = ["batch_size", "num_channels", "height", "width"]
    graph = helper.make_graph(
        nodes,
        "detector",
        [free("pixel_values", TensorProto.FLOAT, pictures)],
        [
            free("logits", TensorProto.FLOAT, ["batch_size", QUERIES, classes]),
            free("pred_boxes", TensorProto.FLOAT, ["batch_size", QUERIES, 4]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    save(model, file)


def write_backbone(file: Path, dim: int = 384) -> None:
    """A graph with DINOv2's interface: a class token, then a token for each patch of 14 pixels."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.05, (dim, 3, PATCH, PATCH)).astype(np.float32)
    constants = {"weight": weight, "shape": np.array([0, dim, -1], np.int64)}
    free = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Conv", ["pixel_values", "weight"], ["map"], strides=[PATCH, PATCH]),
        helper.make_node("Tanh", ["map"], ["bent"]),
        helper.make_node("Reshape", ["bent", "shape"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["patches"], perm=[0, 2, 1]),
        helper.make_node("ReduceMax", ["patches"], ["class"], axes=[1], keepdims=1),
        helper.make_node("Concat", ["class", "patches"], ["last_hidden_state"], axis=1),
    ]
    pictures = ["batch_size", "num_channels", "height", "width"]
    graph = helper.make_graph(
        nodes,
        "backbone",
        [free("pixel_values", TensorProto.FLOAT, pictures)],
        [free("last_hidden_state", TensorProto.FLOAT, ["batch_size", "tokens", dim])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    save(model, file)


def write_classifier(file: Path, dim: int) -> None:
    """A graph with the interface of the model zoo's ImageNet classifiers, `dim` features inside."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    constants = {
        "stem": rng.normal(0, 0.1, (dim, 3, 8, 8)).astype(np.float32),
        "weight": rng.normal(0, 0.1, (1000, dim)).astype(np.float32),
        "bias": rng.normal(0, 0.1, 1000).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input", "stem"], ["map"], strides=[32, 32]),
        helper.make_node("Relu", ["map"], ["bent"]),
        helper.make_node("GlobalAveragePool", ["bent"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "weight", "bias"], ["output"], transB=1),
    ]
    free = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "classifier",
        [free("input", TensorProto.FLOAT, ["batch_size", 3, 224, 224])],
        [free("output", TensorProto.FLOAT, ["batch_size", 1000])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=7)
    checker.check_model(model)
    save(model, file)


D_FINE_INPUT = {
    **{"do_resize": True, "do_rescale": True, "do_normalize": False, "do_pad": False},
    **{"size": {"height": 640, "width": 640}, "resample": 2, "rescale_factor": 1 / 255},
    **{"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
}
"""What ``preprocessor_config.json`` of a D-FINE says."""
DINO_INPUT = {
    **{"do_resize": True, "do_rescale": True, "do_normalize": True, "do_center_crop": True},
    **{"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "resample": 3},
    **{"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
    **{"rescale_factor": 1 / 255},
}


def names_for(classes: int) -> list[str]:
    """Category names for a network: COCO's, or Objects365's number of them."""
    if classes == len(COCO80):
        return list(COCO80)
    return ["None", *(f"Thing {number}" for number in range(1, classes))]


def serve(hub: Hub, folder: Path, *names: str, graphs: Mapping[str, Path] = {}) -> Path:
    """Publish the catalogue's ready networks `names` on a hub: stand-ins, or the given `graphs`.

    Returns the catalogue that fits them: the package's own, with the hashes and sizes of these.
    """
    rows = tomllib.loads(CATALOGUE_FILE.read_text(encoding="utf8"))["network"]
    hub.small = (".json",)
    for row in rows:
        if row["name"] not in names:
            continue
        place = folder / row["name"]
        file = place / row["file"]
        file.parent.mkdir(parents=True)
        if row["name"] in graphs:
            file.write_bytes(graphs[row["name"]].read_bytes())
        else:
            _write_stand_in(row, file)
        if "settings" in row:
            _write_settings(row, place)
        data = file.read_bytes()
        if row.get("sha256"):
            row["sha256"] = hashlib.sha256(data).hexdigest()
        if row.get("bytes"):
            row["bytes"] = len(data)
        hub.publish(row["repo"], place, row.get("revision") or "main")
    return write_catalogue(folder / "catalogue.toml", rows)


def _write_stand_in(row: dict[str, Any], file: Path) -> None:
    if row["kind"] == "detector":
        labels = names_for(row["classes"])
        write_detector(file, row["classes"], labels.index("clock") if "clock" in labels else 7)
    elif "pool" in row:
        write_backbone(file, row["dim"])
    else:
        write_classifier(file, row["dim"])


def _write_settings(row: dict[str, Any], place: Path) -> None:
    config: dict[str, Any] = {"model_type": "any"}
    if row["kind"] == "detector":
        labels = enumerate(names_for(row["classes"]))
        config["id2label"] = {str(number): name for number, name in labels}
    wants = D_FINE_INPUT if row["kind"] == "detector" else DINO_INPUT
    (place / "config.json").write_text(json.dumps(config))
    (place / "preprocessor_config.json").write_text(json.dumps(wants))


def write_catalogue(file: Path, rows: list[dict[str, Any]]) -> Path:
    """A catalogue of these rows."""
    import tomli_w

    file.write_text(tomli_w.dumps({"network": rows}), encoding="utf8")
    return file
