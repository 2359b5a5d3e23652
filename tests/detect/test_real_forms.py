"""Every form with real weights: the shared detectors, rewritten, give what they gave before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closeup.core.config import EngineConfig
from closeup.detect import Detector, Found
from closeup.detect.add import add_detector
from closeup.detect.golden import GOLDEN
from closeup.networks import COCO80, Card, InputOverrides, Network
from closeup.networks.engine import read_signature
from closeup.photos.picture import Picture
from tests.detect import surgery
from tests.detect.surgery import Graft
from tests.tiny import need_onnx

YOLOX, PICODET, DEIM = "yolox_nano.coco.onnx", "picodet_s_416.coco.onnx", "deimv2_atto.coco.onnx"
FLOOR = 0.25

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def weights(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    need_onnx()
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    return shared / "weights"


def yolox(weights: Path, *, plain: bool = True) -> tuple[Graft, str, str, str]:
    graft = Graft(weights / YOLOX)
    parts = surgery.yolox_decoded(graft)
    if plain:
        surgery.plain_pixels(graft, 416)
    return graft, *parts


def decoded(weights: Path, file: Path) -> Path:
    graft, *parts = yolox(weights, plain=False)
    return graft.save(file, {"output0": (graft.op("Concat", *parts, axis=2), np.float32)})


def yolov5(weights: Path, file: Path) -> Path:
    graft, boxes, objectness, scores = yolox(weights)
    rows = graft.op("Concat", boxes, objectness, scores, axis=2)
    nothing = graft.op("Mul", objectness, graft.const(0))
    none = graft.op("Concat", boxes, nothing, scores, axis=2)
    three = graft.op("Concat", none, rows, none, axis=1)  # as from three anchors
    return graft.save(file, {"output0": (three, np.float32)})


def _yolov8(weights: Path, file: Path, *, turned: bool, half: bool = False) -> Path:
    graft, boxes, objectness, scores = yolox(weights)
    rows = graft.op("Concat", boxes, graft.op("Mul", objectness, scores), axis=2)
    rows = rows if turned else graft.op("Transpose", rows, perm=[0, 2, 1])
    names = str(dict(enumerate(COCO80)))
    for key, value in {"names": names, "imgsz": "[416, 416]", "task": "detect"}.items():
        entry = graft.model.metadata_props.add()
        entry.key, entry.value = key, value
    graft.save(file, {"output0": (rows, np.float32)})
    if half:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(str(file))), str(file))
    return file


def yolov8(weights: Path, file: Path) -> Path:
    return _yolov8(weights, file, turned=False)


def yolov8_turned(weights: Path, file: Path) -> Path:
    return _yolov8(weights, file, turned=True)


def end_to_end(weights: Path, file: Path) -> Path:
    graft, boxes, objectness, scores = yolox(weights)
    every = graft.op("Mul", objectness, scores)
    found, label, score = surgery.suppressed(graft, surgery.corners(graft, boxes), every, 0.65)
    columns = [found, graft.reshape(score, -1, 1),
               graft.reshape(graft.op("Cast", label, to=1), -1, 1)]  # fmt: skip
    rows = graft.reshape(graft.op("Concat", *columns, axis=1), 1, -1, 6)
    return graft.save(file, {"output0": (rows, np.float32)})


def yolov7_end_to_end(weights: Path, file: Path) -> Path:
    graft, boxes, objectness, scores = yolox(weights)
    every = graft.op("Mul", objectness, scores)
    found, label, score = surgery.suppressed(graft, surgery.corners(graft, boxes), every, 0.65)
    number = graft.reshape(graft.op("Cast", label, to=1), -1, 1)
    batch = graft.op("Mul", number, graft.const(0))
    columns = [batch, found, number, graft.reshape(score, -1, 1)]
    return graft.save(file, {"output0": (graft.op("Concat", *columns, axis=1), np.float32)})


def logits(weights: Path, file: Path) -> Path:
    graft = Graft(weights / DEIM)
    return graft.save(file, {"logits": (surgery.DEIM_LOGITS, np.float32),
                             "pred_boxes": (surgery.DEIM_BOXES, np.float32)})  # fmt: skip


def ultralytics_rt_detr(weights: Path, file: Path) -> Path:
    graft = Graft(weights / DEIM)
    scores = graft.op("Sigmoid", surgery.DEIM_LOGITS)
    rows = graft.op("Concat", surgery.DEIM_BOXES, scores, axis=2)
    return graft.save(file, {"output0": (rows, np.float32)})


def rf_detr(weights: Path, file: Path) -> Path:
    """RF-DETR's names, ImageNet's mean and std, and a logit more than there are classes."""
    graft = Graft(weights / DEIM)
    none = graft.op("Sub", graft.columns(surgery.DEIM_LOGITS, 0, 1), graft.const(99))
    wider = graft.op("Concat", surgery.DEIM_LOGITS, none, axis=2)

    def convert(picture: str) -> str:
        std = graft.const(np.reshape([0.229, 0.224, 0.225], (1, 3, 1, 1)))
        mean = graft.const(np.reshape([0.485, 0.456, 0.406], (1, 3, 1, 1)))
        return graft.op("Add", graft.op("Mul", picture, std), mean)

    graft.picture((1, 3, 320, 320), np.float32, convert)
    return graft.save(file, {"dets": (surgery.DEIM_BOXES, np.float32),
                             "labels": (wider, np.float32)})  # fmt: skip


def _picodet(weights: Path) -> tuple[Graft, str, str, str]:
    graft = Graft(weights / PICODET)
    boxes, scores = surgery.picodet_decoded(graft)
    return graft, *surgery.suppressed(graft, boxes, scores, 0.6)


def onnx_zoo_ssd(weights: Path, file: Path) -> Path:
    """Boxes in shares, labels from 1, a batch axis."""
    graft, boxes, label, score = _picodet(weights)
    shares = graft.op("Mul", boxes, graft.const(1 / 416))
    label = graft.op("Add", label, graft.const(1, np.int64))
    outputs = {
        "bboxes": (graft.reshape(shares, 1, -1, 4), np.float32),
        "labels": (graft.reshape(label, 1, -1), np.int64),
        "scores": (graft.reshape(score, 1, -1), np.float32),
    }
    return graft.save(file, outputs)


def torchvision(weights: Path, file: Path) -> Path:
    """Boxes in pixels, COCO's own numbers from 1 to 90, names that say nothing."""
    from closeup.networks import COCO91

    graft, boxes, label, score = _picodet(weights)
    numbers = [COCO91.index(name) for name in COCO80]
    label = graft.op("Gather", graft.const(numbers, np.int64), label, axis=0)
    outputs = {"3211": (boxes, np.float32), "3230": (label, np.int64), "3224": (score, np.float32)}
    return graft.save(file, outputs)


def mmdeploy(weights: Path, file: Path) -> Path:
    graft, boxes, label, score = _picodet(weights)
    rows = graft.op("Concat", boxes, graft.reshape(score, -1, 1), axis=1)
    return graft.save(file, {"dets": (graft.reshape(rows, 1, -1, 5), np.float32),
                             "labels": (graft.reshape(label, 1, -1), np.int64)})  # fmt: skip


def tensorflow(weights: Path, file: Path) -> Path:
    """Bytes with the colours last go in; YXYX shares, labels from 1 as floats, and a count."""
    graft = Graft(weights / YOLOX)
    boxes, objectness, scores = surgery.yolox_decoded(graft)
    surgery.rows_and_bytes(graft, 416, bgr=True)
    every = graft.op("Mul", objectness, scores)
    found, label, score = surgery.suppressed(graft, surgery.corners(graft, boxes), every, 0.65)
    turned = graft.op("Gather", found, graft.const([1, 0, 3, 2], np.int64), axis=1)
    shares = graft.op("Mul", turned, graft.const(1 / 416))
    number = graft.op("Add", graft.op("Cast", label, to=1), graft.const(1))
    count = graft.op("Cast", graft.op("Shape", score), to=1)
    outputs = {
        "num_detections:0": (count, np.float32),
        "detection_boxes:0": (graft.reshape(shares, 1, -1, 4), np.float32),
        "detection_scores:0": (graft.reshape(score, 1, -1), np.float32),
        "detection_classes:0": (graft.reshape(number, 1, -1), np.float32),
    }
    return graft.save(file, outputs)


def halved(weights: Path, file: Path) -> Path:
    return _yolov8(weights, file, turned=False, half=True)


def free_size(weights: Path, file: Path) -> Path:
    """DEIMv2's logits with an input whose axes have names instead of sizes."""
    import onnx

    model = onnx.load(str(logits(weights, file)))
    for axis, free in zip(model.graph.input[0].type.tensor_type.shape.dim, "bchw", strict=True):
        axis.ClearField("dim_value")
        axis.dim_param = free
    onnx.save(model, str(file))
    return file


FORMS: dict[Callable[[Path, Path], Path], tuple[str, str, dict[str, Any]]] = {
    decoded: (YOLOX, "yolov5", {}),
    yolov5: (YOLOX, "yolov5", {}),
    yolov8: (YOLOX, "yolov8", {}),
    yolov8_turned: (YOLOX, "yolov8", {}),
    halved: (YOLOX, "yolov8", {}),
    end_to_end: (YOLOX, "nms", {}),
    yolov7_end_to_end: (YOLOX, "nms", {}),
    tensorflow: (YOLOX, "rcnn", {}),
    logits: (DEIM, "detr-logits", {}),
    free_size: (DEIM, "detr-logits", {"overrides": InputOverrides(size=(320, 320))}),
    ultralytics_rt_detr: (DEIM, "yolov8", {}),
    rf_detr: (DEIM, "detr-logits", {"classes": "coco80"}),
    onnx_zoo_ssd: (PICODET, "rcnn", {}),
    torchvision: (PICODET, "rcnn", {}),
    mmdeploy: (PICODET, "rcnn", {}),
}
"""How a file is written -> the file it is made of, its family, and what it must be told."""


def reference(weights: Path, file: str, like: Card, resize: str) -> Detector:
    """The original network, shown photos in the same place of its input."""
    network = add_detector(weights / file, name="reference", classes="coco80", replace=True)
    spec = network.card.input.model_copy(update={"resize": resize, "anchor": like.input.anchor})
    card = network.card.model_copy(update={"input": spec})
    return Detector(Network(card, network.folder), EngineConfig())


def real_photos(shared: Path) -> list[Picture]:
    from closeup.photos.reading import read_picture

    folders = sorted((shared / "photos" / "apples").iterdir())
    apples = [sorted(folder.glob("*.jpg"))[0] for folder in folders if folder.is_dir()]
    return [golden.picture() for golden in GOLDEN] + [read_picture(file) for file in apples[:4]]


def assert_alike(ours: list[Found], theirs: list[Found], scores: float, pixels: float) -> None:
    """Every box of one list is in the other; those near the floor may be on its other side."""
    for some, others in ((ours, theirs), (theirs, ours)):
        for one in some:
            if one.score < FLOOR + 2 * scores:
                continue
            assert any(
                one.category == other.category
                and abs(one.score - other.score) <= scores
                and np.abs(np.subtract(one.box, other.box)).max() <= pixels
                for other in others
            ), (one, others[:5])


def _left(found: list[Found]) -> list[Found]:
    """What is left of a list, best first, after suppression by class."""
    left: list[Found] = []
    for one in found:
        if all(o.category != one.category or o.box.iou(one.box) <= 0.65 for o in left):
            left.append(one)
    return left


@pytest.mark.parametrize("write", FORMS, ids=lambda write: write.__name__)
def test_a_form_gives_what_the_network_gave(
    shared: Path, weights: Path, tmp_path: Path, write: Callable[[Path, Path], Path]
) -> None:
    source, family, told = FORMS[write]
    file = write(weights, tmp_path / "network.onnx")
    said: list[str] = []
    network = add_detector(file, name="mine", say=said.append, **told)
    card = network.card
    assert card.family == family, said
    assert [name for name in card.classes if name] == list(COCO80)
    assert any("in the golden photos it finds the" in sentence for sentence in said)
    one = Detector(network, EngineConfig())
    before = reference(weights, source, card, card.input.resize)
    photos = real_photos(shared)
    half = write is halved
    for ours, theirs in zip(one.detect(photos, FLOOR), before.detect(photos, FLOOR), strict=True):
        assert ours
        if write is ultralytics_rt_detr:  # read like YOLO: of boxes on each other one is left
            theirs = _left(theirs)
        assert_alike(ours, theirs, 0.03 if half else 0.01, 3.0 if half else 0.5)


def test_the_originals_are_known(weights: Path) -> None:
    for file, family in ((YOLOX, "yolox"), (PICODET, "picodet"), (DEIM, "detr")):
        card = add_detector(weights / file, name=family).card
        assert (card.family, card.classes) == (family, COCO80)
        assert read_signature(weights / file).metadata == {}


def test_pixel_values_are_told_by_the_photos(weights: Path, tmp_path: Path) -> None:
    """YOLOX with RGB from 0 to 1, which its form does not show."""
    graft = Graft(weights / YOLOX)
    surgery.plain_pixels(graft, 416)
    raw = graft.graph.output[0].name
    file = graft.save(tmp_path / "a.onnx", {"raw": (raw, np.float32)})
    said: list[str] = []
    card = add_detector(file, name="mine", say=said.append).card
    assert (card.family, card.input.scale, card.input.color) == ("yolox", "unit", "rgb")
    assert any("the golden photos say --scale unit --color rgb" in sentence for sentence in said)
