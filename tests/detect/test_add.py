"""The user's own ONNX detectors: every form made by hand, and every refusal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from numpy.typing import NDArray

from closeup.cli import models_add
from closeup.core.config import EngineConfig
from closeup.core.errors import NetworkDamaged, UsageError
from closeup.detect import Detector
from closeup.detect.add import add_detector, looks_like_detector
from closeup.detect.candidates import grid
from closeup.detect.class_lists import class_names, named_in
from closeup.detect.detector import FAMILIES
from closeup.networks import COCO80, COCO91, Card, InputOverrides, file_hash, find, load
from closeup.networks.card import Family, OutputSpec
from closeup.networks.coco import class_list
from closeup.networks.preprocess import IMAGENET_MEAN, IMAGENET_STD, InputSpec
from tests.networks.engine.graphs import affine, write

SIDE = 64
CELLS = 64 + 16 + 4  # of a 64 x 64 picture at strides 8, 16, 32
PLACES = grid(SIDE, SIDE, 3)
Outputs = Mapping[str, NDArray[Any]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fake_detector(
    file: Path,
    outputs: Outputs,
    *,
    shape: tuple[int | str, ...] = (1, 3, SIDE, SIDE),
    dtype: type = np.float32,
    more: Mapping[str, tuple[int, ...]] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """A graph that answers with constants whatever it is shown; `more` are further inputs."""
    onnx = pytest.importorskip("onnx")
    value, kind_of = onnx.helper.make_tensor_value_info, onnx.helper.np_dtype_to_tensor_dtype
    inputs = [value("images", kind_of(np.dtype(dtype)), shape)]
    inputs += [value(name, onnx.TensorProto.INT64, its) for name, its in (more or {}).items()]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", [f"{name}_0"], [name]) for name in outputs],
        "fake",
        inputs,
        [value(name, kind_of(v.dtype), v.shape) for name, v in outputs.items()],
        [onnx.numpy_helper.from_array(v, f"{name}_0") for name, v in outputs.items()],
    )
    write(graph, file)
    if metadata:
        model = onnx.load(str(file))
        onnx.helper.set_model_props(model, dict(metadata))
        onnx.save(model, str(file))
    return file


def floats(*rows: Any) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def cells(*scores: float, objectness: bool, decoded: bool = True) -> NDArray[np.float32]:
    """``(1, CELLS, n)``: a box of a quarter of the picture round every cell's centre."""
    if decoded:
        boxes = np.concatenate([(PLACES[:, :2] + 0.5) * PLACES[:, 2:], np.full((CELLS, 2), 16)], 1)
    else:
        boxes = np.concatenate([np.full((CELLS, 2), 0.5), np.log(16 / PLACES[:, 2:].repeat(2, 1))],
                               1)  # fmt: skip
    rows = [*([0.9] if objectness else []), *scores]
    return np.concatenate([boxes, np.tile(rows, (CELLS, 1))], 1)[None].astype(np.float32)


FINISHED = {
    "boxes": floats([8, 8, 40, 40], [4, 8, 50, 60], [0, 0, 0, 0]),
    "labels": np.array([1, 2, 0]),
    "scores": floats(0.9, 0.4, 0)[0:3],
}


def raw_yolox() -> Outputs:
    return {"output": cells(0.1, 0.7, objectness=True, decoded=False)}


def picodet() -> Outputs:
    found: dict[str, Any] = {}
    for n in (64, 16, 4):
        found[f"s{n}"] = np.tile(floats(0.1, 0.6), (1, n, 1))
    for n in (64, 16, 4):
        found[f"b{n}"] = np.zeros((1, n, 32), np.float32)
    return found


def queries(width: int = 2) -> NDArray[np.float32]:
    logits = np.full((1, 9, width), -4, np.float32)
    logits[0, :3, min(1, width - 1)] = 1
    return logits


BOXES = np.tile(floats(0.5, 0.5, 0.4, 0.3), (1, 9, 1))

# name -> outputs, fake_detector's arguments, what the card must say, and the best found.
FORMS: dict[str, tuple[Outputs, dict[str, Any], dict[str, Any], tuple[float, str]]] = {
    "yolox raw": (raw_yolox(), {}, {"family": "yolox"}, (0.63, "dog")),
    "yolox decoded": ({"output": cells(0.1, 0.7, objectness=True)}, {},
                      {"family": "yolov5", "color": "bgr", "scale": "byte"}, (0.63, "dog")),
    "yolov5": ({"output": np.tile(cells(0.1, 0.7, objectness=True), (1, 3, 1)),
                "raw": np.zeros((1, 3, 8, 8, 7), np.float32)}, {},
               {"family": "yolov5", "anchor": "centre", "scale": "unit"}, (0.63, "dog")),
    "yolov8": ({"output0": cells(0.1, 0.7, objectness=False).transpose(0, 2, 1)}, {},
               {"family": "yolov8", "anchor": "centre"}, (0.7, "dog")),
    "yolov8 turned": ({"output0": cells(0.1, 0.7, objectness=False)}, {},
                      {"family": "yolov8"}, (0.7, "dog")),
    "end to end": ({"output0": floats([[8, 8, 40, 40, 0.9, 1], [0, 0, 0, 0, 0, 0]])}, {},
                   {"family": "nms", "output": None}, (0.9, "dog")),
    "class first": ({"boxes": floats([1, 0.9, 8, 8, 40, 40], [-1, -1, -1, -1, -1, -1])}, {},
                    {"family": "nms", "columns": "class score box"}, (0.9, "dog")),
    "batch first": ({"output": floats([0, 8, 8, 40, 40, 1, 0.9], [0, 4, 4, 20, 20, 0, 0.2])}, {},
                    {"family": "nms", "columns": "batch box class score"}, (0.9, "dog")),
    "picodet": (picodet(), {}, {"family": "picodet", "mean": IMAGENET_MEAN}, (0.6, "dog")),
    "detr": ({name: v[None] for name, v in FINISHED.items()},
             {"more": {"orig_target_sizes": (1, 2)}},
             {"family": "detr", "output": None, "classes": ("cat", "dog", "owl")}, (0.9, "dog")),
    "torchvision": (FINISHED, {}, {"family": "rcnn", "classes": ("", "cat", "dog")}, (0.9, "cat")),
    "onnx zoo": ({"bboxes": FINISHED["boxes"][None] / SIDE, "labels": FINISHED["labels"][None],
                  "scores": FINISHED["scores"][None]}, {},
                 {"family": "rcnn", "unit": "shares", "boxes": "xyxy"}, (0.9, "cat")),
    "tensorflow": ({"detection_boxes:0": FINISHED["boxes"][None][..., [1, 0, 3, 2]] / SIDE,
                    "detection_classes:0": FINISHED["labels"][None].astype(np.float32),
                    "detection_scores:0": FINISHED["scores"][None],
                    "num_detections:0": floats(2)},
                   {"shape": (1, "h", "w", 3), "dtype": np.uint8},
                   {"family": "rcnn", "boxes": "yxyx", "layout": "nhwc", "dtype": "uint8",
                    "scale": "byte"}, (0.9, "cat")),
    "mmdeploy": ({"dets": np.concatenate([FINISHED["boxes"], FINISHED["scores"][:, None]], 1)[None],
                  "labels": FINISHED["labels"][None]}, {},
                 {"family": "rcnn", "classes": ("cat", "dog", "owl")}, (0.9, "dog")),
    "transformers": ({"logits": queries(), "pred_boxes": BOXES},
                     {"more": {"pixel_mask": (1, SIDE, SIDE)}},
                     {"family": "detr-logits", "resize": "stretch"}, (0.731, "dog")),
    "rf-detr": ({"dets": BOXES, "labels": queries(3)}, {},
                {"family": "detr-logits", "mean": IMAGENET_MEAN, "classes": ("cat", "dog", "")},
                (0.731, "dog")),
    "softmax": ({"logits": np.concatenate([queries()[:, :, :2],
                                           np.tile(floats([0], *[[3]] * 8), (1, 1, 1))], 2),
                 "pred_boxes": BOXES}, {},
                {"family": "detr-logits", "classes": ("cat", "dog"), "std": IMAGENET_STD},
                (0.728, "dog")),
    "half": ({"output0": cells(0.1, 0.7, objectness=False).astype(np.float16)},
             {"dtype": np.float16}, {"family": "yolov8", "dtype": "float16"}, (0.7, "dog")),
    "no batch": (FINISHED, {"shape": (3, SIDE, SIDE)}, {"family": "rcnn", "layout": "chw"},
                 (0.9, "cat")),
    "free axes": ({"output0": cells(0.1, 0.7, objectness=False)},
                  {"shape": ("b", 3, "h", "w"), "metadata": {"imgsz": "[64, 64]"}},
                  {"family": "yolov8", "batch": 0}, (0.7, "dog")),
}  # fmt: skip


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("form", FORMS)
def test_forms(tmp_path: Path, form: str, engine: Any) -> None:
    outputs, arguments, wanted, (score, category) = FORMS[form]
    file = fake_detector(tmp_path / "a.onnx", outputs, **arguments)
    three = form in ("detr", "mmdeploy")
    names = ["cat", "dog", "owl"] if three else ["cat", "dog"]
    overrides = InputOverrides(size=(SIDE, SIDE)) if form == "tensorflow" else InputOverrides()
    assert looks_like_detector(file, overrides)
    card = add_detector(file, name="mine", classes=names, overrides=overrides).card
    values = {**(card.output or OutputSpec()).model_dump(), **dict(card.input), **dict(card)}
    assert {name: values[name] for name in wanted} == wanted
    one = Detector(find("mine", "detector"), EngineConfig(engine=engine))
    (found,) = one.detect([np.zeros((SIDE, SIDE, 3), np.uint8)])
    assert (found[0].category, found[0].score) == (category, pytest.approx(score, abs=0.002))
    if "boxes" in outputs or "bboxes" in outputs:
        assert found[0].box == pytest.approx((8, 8, 40, 40), abs=0.01)


def test_one_class_and_the_cache(tmp_path: Path, cache: Path) -> None:
    file = fake_detector(tmp_path / "a.onnx", {"o": cells(0.7, objectness=True, decoded=False)})
    said: list[str] = []
    network = add_detector(file, name="mine", classes="thing", say=said.append)
    assert network.folder == cache / "networks" / "mine"
    assert network.file.read_bytes() == file.read_bytes()
    card = network.card
    assert (card.kind, card.family, card.batch, card.classes) == (
        "detector",
        "yolox",
        1,
        ("thing",),
    )
    assert card.sha256 == file_hash(file)
    assert card.input == InputSpec(
        width=64, height=64, resize="letterbox", anchor="corner", color="bgr", scale="byte"
    )
    assert find("mine", "detector") == load(network.folder) == network
    assert said[0] == "a.onnx is read as YOLOX"
    assert "categories are not those of the golden photos" in said[-1]
    with pytest.raises(UsageError, match=r"called mine already.*--replace"):
        add_detector(file, name="mine", classes="thing")
    assert add_detector(file, name="mine", classes="other", replace=True).card.classes == ("other",)


def test_cards_are_written_as_before(tmp_path: Path) -> None:
    file = fake_detector(tmp_path / "a.onnx", raw_yolox())
    card = add_detector(file, name="mine", classes="cat,dog").card
    assert not {"layout", "dtype", "output"} & {*card.model_dump(), *card.input.model_dump()}
    assert Card.model_validate_json(card.model_dump_json()) == card


def test_overrides_and_further_fields(tmp_path: Path) -> None:
    file = fake_detector(tmp_path / "a.onnx", raw_yolox())
    overrides = InputOverrides.model_validate(
        {"color": "rgb", "scale": "unit", "mean": 0.5, "std": [0.1, 0.2, 0.3], "resize": "stretch"}
    )
    about = {"licence": "MIT", "source": "here"}
    card = add_detector(file, name="m", classes="cat,dog", overrides=overrides, about=about).card
    assert (card.licence, card.source) == ("MIT", "here")
    assert card.input == InputSpec(
        width=64, height=64, color="rgb", scale="unit", mean=(0.5,) * 3, std=(0.1, 0.2, 0.3),
        resize="stretch",
    )  # fmt: skip


def test_a_family_overrules(tmp_path: Path) -> None:
    file = fake_detector(tmp_path / "a.onnx", {"output": cells(0.1, 0.7, objectness=True)})
    assert add_detector(file, name="a", classes="cat,dog").card.family == "yolov5"
    card = add_detector(file, name="b", family="yolov8", classes="a,b,c").card
    assert (card.family, card.input.anchor) == ("yolov8", "centre")


def test_names_in_the_metadata(tmp_path: Path) -> None:
    told = {"names": "{0: 'hen', 1: 'fox'}", "imgsz": "[64, 64]", "task": "detect", "stride": "32"}
    outputs = {"output0": cells(0.1, 0.7, objectness=False)}
    file = fake_detector(tmp_path / "a.onnx", outputs, metadata=told)
    assert add_detector(file, name="a").card.classes == ("hen", "fox")
    assert add_detector(file, name="b", classes="x,y").card.classes == ("x", "y")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{0: 'a', 2: 'c'}", ("a", "", "c")),
        ("['a', 'b']", ("a", "b")),
        ("{0: 'a', 1: 'a'}", None),
        ("{0: 'a', 99999999: 'b'}", None),
        ("{-1: 'a'}", None),
        ("{'x': 'a'}", None),
        ("{}", None),
        ("a b", None),
        ("[" * 5000, None),
        ("__import__('os')", None),
    ],
)
def test_metadata_from_elsewhere(text: str, names: tuple[str, ...] | None) -> None:
    assert named_in({"names": text}) == names


def finished(**changes: Any) -> Outputs:
    return {**FINISHED, **changes}


MANY = np.tile(FINISHED["boxes"][:1], (30, 1))
SCORES = np.full(30, 0.5, np.float32)


def many(boxes: NDArray[Any]) -> Outputs:
    return {"boxes": boxes.astype(np.float32), "labels": np.ones(30, np.int64), "scores": SCORES}


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (finished(scores=floats(0.9, np.nan, 0)), "values that are not finite numbers"),
        (
            finished(boxes=np.where(FINISHED["boxes"] > 50, np.inf, FINISHED["boxes"])),
            "not finite numbers",
        ),
        (finished(scores=floats(4, 0.4, 0)), "scores go from 0 to 4, expected 0 to 1"),
        (finished(scores=floats(-3, 0.4, 0)), "scores go from -3 to 0.4, expected 0 to 1"),
        (finished(labels=np.array([1, 7, 0])), "category number 7, but 3 have a name"),
        (many(MANY * 0), "have no area"),
        (many(MANY[:, [2, 3, 0, 1]]), "have no area"),
        (many(MANY * 9), "lie outside the picture or are larger"),
        (many(np.tile([0, 0, 64, 64], (30, 1))), "nearly every box is the whole picture"),
        ({"output": cells(2.0, 9.0, objectness=True)}, "scores go from"),
        ({"output0": cells(-2.0, 0.9, objectness=False)}, "scores go from"),
        ({"output": cells(0.1, 0.7, objectness=True)[:, :79]}, "3 categories, but 2 names"),
        ({"output": cells(0.1, 0.7, 0.2, objectness=True)}, "3 or 4 categories, but 2 names"),
        ({"features": np.zeros((1, 512), np.float32)}, r"its outputs are features \(1, 512\)"),
        ({"logits": queries(4), "pred_boxes": BOXES}, "4 categories, but 2 names were given"),
    ],
)
def test_a_network_that_can_only_be_wrong(
    tmp_path: Path, cache: Path, outputs: Outputs, message: str
) -> None:
    file = fake_detector(tmp_path / "a.onnx", outputs)
    with pytest.raises(UsageError, match=message) as caught:
        add_detector(file, name="mine", classes="cat,dog")
    assert str(file) in str(caught.value)
    assert not (cache / "networks" / "mine").exists()


@pytest.mark.parametrize(("scored", "classes"), [(80, None), (80, "coco80"), (91, "coco91")])
def test_coco_without_the_cat(tmp_path: Path, scored: int, classes: str | None) -> None:
    scores = np.linspace(0.1, 0.6, scored)
    file = fake_detector(tmp_path / "a.onnx", {"o": cells(*scores, objectness=True)})
    with pytest.raises(UsageError, match=r"does not find the cat in chelsea\.webp or the cup"):
        add_detector(file, name="mine", classes=classes)
    if classes:  # said twice, it is the user's word against the photos'
        card = add_detector(file, name="mine", family="yolov5", classes=classes).card
        assert len(card.classes) == scored


def test_what_cannot_be_known_is_asked_for(tmp_path: Path) -> None:
    file = fake_detector(tmp_path / "a.onnx", raw_yolox())
    with pytest.raises(UsageError, match=r"2 or 3 categories, and what they are called.*--classes"):
        add_detector(file, name="a")
    file = fake_detector(tmp_path / "b.onnx", FINISHED)
    with pytest.raises(UsageError, match="--classes"):
        add_detector(file, name="a")
    free = fake_detector(tmp_path / "c.onnx", raw_yolox(), shape=("n", 3, "h", "w"))
    with pytest.raises(UsageError, match="does not fix the size of its input: give --size"):
        add_detector(free, name="a", classes="cat,dog")
    size = InputOverrides(size=(64, 64))
    card = add_detector(free, name="a", classes="cat,dog", overrides=size).card
    assert (card.input.width, card.input.height, card.batch) == (64, 64, 0)
    with pytest.raises(UsageError, match="64x64 pixels only"):
        add_detector(file, name="b", classes="cat", overrides=InputOverrides(size=(32, 64)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (1, 1, SIDE, SIDE)}, "photos have 3 channels"),
        ({"shape": (8, 3, SIDE, SIDE)}, "takes 8 pictures at once"),
        ({"dtype": np.int32}, "takes int32 pixels; expected float32, float16 or uint8"),
        ({"more": {"extra": (1, 2)}}, "has the inputs .*expected one picture"),
        ({"metadata": {"task": "segment"}}, "for the task 'segment'; export one for 'detect'"),
    ],
)
def test_inputs_that_no_detector_has(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    file = fake_detector(tmp_path / "a.onnx", raw_yolox(), **arguments)
    with pytest.raises(UsageError, match=message):
        add_detector(file, name="mine", classes="cat,dog")


def test_wrong_names_families_and_files(tmp_path: Path) -> None:
    file = fake_detector(tmp_path / "a.onnx", raw_yolox())
    with pytest.raises(UsageError, match="cannot name a network"):
        add_detector(file, name="../up", classes="cat,dog")
    with pytest.raises(UsageError, match="one of yolox, yolov5"):
        add_detector(file, name="a", family="ssd", classes="cat,dog")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"no detector of the family detr.*try --family yolox"):
        add_detector(file, name="a", family="detr", classes="cat,dog")
    zero = InputOverrides(std=(1, 0, 1))
    with pytest.raises(UsageError, match="std must not be 0"):
        add_detector(file, name="a", classes="cat,dog", overrides=zero)
    (tmp_path / "broken.onnx").write_bytes(file.read_bytes()[:-9])
    with pytest.raises(NetworkDamaged, match=r"broken\.onnx"):
        add_detector(tmp_path / "broken.onnx", name="a", classes="cat,dog")
    with pytest.raises(UsageError, match="expected one picture"):
        looks_like_detector(affine(tmp_path / "affine.onnx"), InputOverrides())


def test_backbones_are_no_detectors(tmp_path: Path) -> None:
    for name, shape in (("features", (1, 64)), ("last_hidden_state", (1, 17, 64)),
                        ("maps", (1, 64, 7, 7))):  # fmt: skip
        file = fake_detector(tmp_path / f"{name}.onnx", {name: np.zeros(shape, np.float32)})
        assert not looks_like_detector(file, InputOverrides())


def test_class_names(tmp_path: Path) -> None:
    assert class_names("coco80") == COCO80
    assert class_names("coco91") == COCO91
    assert class_names("objects365") == class_list("objects365")
    assert class_names(["cat"]) == class_names("cat") == ("cat",)
    assert class_names("background, cat ,,dog") == ("background", "cat", "", "dog")
    file = tmp_path / "names.txt"
    file.write_text("cat\n\n wild dog \n\n")
    assert class_names(str(file)) == ("cat", "", "wild dog")


@pytest.mark.parametrize("classes", ["", "no-such-file.txt", ",", (), ("a", "b", "a")])
def test_no_class_names(classes: Any) -> None:
    with pytest.raises(UsageError):
        class_names(classes)


def test_class_names_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        class_names(str(file))


def test_a_family_is_registered_everywhere() -> None:
    assert set(FAMILIES) == set(get_args(Family)) - {"embedding"}
    (choices,) = [kind for kind in get_args(get_type_hints(models_add.add)["family"])
                  if get_args(kind)]  # fmt: skip
    assert set(get_args(choices)) == set(FAMILIES)
