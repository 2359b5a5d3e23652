"""The user's own ONNX detectors, in three deployment forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from closeup.cli import models
from closeup.core.errors import NetworkDamaged, UsageError
from closeup.detect.detector import FAMILIES
from closeup.networks import (
    COCO80,
    COCO91,
    InputOverrides,
    add,
    add_onnx,
    class_names,
    file_hash,
    find,
    load,
)
from closeup.networks.add import OwnFamily
from closeup.networks.card import Family
from closeup.networks.preprocess import IMAGENET_MEAN, IMAGENET_STD, InputSpec
from tests.networks.engine.graphs import affine, write

SHARED: tuple[tuple[str, OwnFamily, str], ...] = (
    ("yolox_nano", "yolox", "yolox_nano.coco.onnx"),
    ("picodet_s", "picodet", "picodet_s_416.coco.onnx"),
    ("deimv2_atto", "detr", "deimv2_atto.coco.onnx"),
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fake_detector(
    file: Path,
    outputs: dict[str, tuple[int, ...]],
    *,
    inputs: tuple[str, ...] = ("images",),
    size: tuple[int | str, int | str] = (64, 64),
    batch: int | str = 1,
) -> Path:
    """A graph that answers with zeros of the given shapes (integers for ``labels``)."""
    onnx = pytest.importorskip("onnx")
    kinds = {"labels": np.int64}
    constants = [
        onnx.numpy_helper.from_array(np.zeros(shape, kinds.get(name, np.float32)), f"{name}_0")
        for name, shape in outputs.items()
    ]
    nodes = [onnx.helper.make_node("Identity", [f"{name}_0"], [name]) for name in outputs]
    types = onnx.TensorProto
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "fake",
        [
            value(name, types.INT64, [batch, 2])
            if name == "orig_target_sizes"
            else value(name, types.FLOAT, [batch, 3, *size])
            for name in inputs
        ],
        [
            value(name, types.INT64 if name in kinds else types.FLOAT, shape)
            for name, shape in outputs.items()
        ],
        constants,
    )
    return write(graph, file)


CELLS = 64 + 16 + 4  # of a 64 x 64 picture at strides 8, 16, 32


def test_yolox_defaults_and_the_cache(tmp_path: Path, cache: Path) -> None:
    file = fake_detector(tmp_path / "a.onnx", {"output": (1, CELLS, 5 + 2)})
    network = add_onnx(file, name="mine", family="yolox", classes=["cat", "dog"])
    assert network.folder == cache / "networks" / "mine"
    assert network.file.read_bytes() == file.read_bytes()
    card = network.card
    assert (card.kind, card.family, card.batch, card.classes) == (
        *("detector", "yolox", 1),
        ("cat", "dog"),
    )
    assert card.sha256 == file_hash(file)
    assert card.input == InputSpec(
        width=64, height=64, resize="letterbox", anchor="corner", pad=(114,) * 3, color="bgr",
        scale="byte", interpolation="bilinear",
    )  # fmt: skip
    assert find("mine", "detector") == load(network.folder) == network


def test_picodet_and_detr_defaults(tmp_path: Path) -> None:
    pico = {"a": (1, 64, 2), "b": (1, 16, 2), "c": (1, 64, 32), "d": (1, 16, 32)}
    file = fake_detector(tmp_path / "p.onnx", pico)
    card = add_onnx(file, name="p", family="picodet", classes="cat,dog").card
    assert card.input == InputSpec(
        width=64, height=64, resize="stretch", mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    detr = {"labels": (1, 9), "boxes": (1, 9, 4), "scores": (1, 9)}
    inputs = ("images", "orig_target_sizes")
    file = fake_detector(tmp_path / "d.onnx", detr, inputs=inputs)
    card = add_onnx(file, name="d", family="detr", classes="cat,dog").card
    assert card.input == InputSpec(width=64, height=64, resize="stretch")


def test_overrides_and_further_fields(tmp_path: Path) -> None:
    file = fake_detector(tmp_path / "a.onnx", {"output": (1, CELLS, 6)})
    overrides = InputOverrides.model_validate(
        {"color": "rgb", "scale": "unit", "mean": 0.5, "std": [0.1, 0.2, 0.3], "resize": "stretch"}
    )
    about = {"licence": "MIT", "source": "here"}
    card = add_onnx(
        file, name="mine", family="yolox", classes=["cat"], overrides=overrides, about=about
    ).card
    assert (card.licence, card.source) == ("MIT", "here")
    assert card.input == InputSpec(
        width=64, height=64, color="rgb", scale="unit", mean=(0.5,) * 3, std=(0.1, 0.2, 0.3),
        resize="stretch",
    )  # fmt: skip


def test_a_free_size_must_be_given_and_a_fixed_one_not_changed(tmp_path: Path) -> None:
    free = fake_detector(
        tmp_path / "free.onnx", {"output": (1, CELLS, 6)}, size=("h", "w"), batch="n"
    )
    with pytest.raises(UsageError, match="--size"):
        add_onnx(free, name="a", family="yolox", classes=["cat"])
    overrides = InputOverrides(size=(64, 64))
    card = add_onnx(free, name="a", family="yolox", classes=["cat"], overrides=overrides).card
    assert (card.input.width, card.input.height, card.batch) == (64, 64, 0)
    fixed = fake_detector(tmp_path / "fixed.onnx", {"output": (1, CELLS, 6)})
    add_onnx(fixed, name="b", family="yolox", classes=["cat"], overrides=overrides)
    wrong = InputOverrides(size=(32, 64))
    with pytest.raises(UsageError, match="64x64 pixels only"):
        add_onnx(fixed, name="b", family="yolox", classes=["cat"], overrides=wrong)


@pytest.mark.parametrize(
    ("family", "outputs", "message"),
    [
        ("yolox", {"o": (1, CELLS, 8)}, "expected 5 \\+ 2 numbers"),
        ("yolox", {"o": (1, CELLS + 5, 7)}, f"expected {CELLS} or {CELLS + 1} cells"),
        ("yolox", {"o": (CELLS, 7)}, "expected one output"),
        ("yolox", {"o": (1, CELLS, 7), "p": (1, 2, 3)}, "expected one output"),
        ("picodet", {"a": (1, 64, 2)}, "expected score maps"),
        ("picodet", {"a": (1, 64, 2), "b": (1, 64, 32), "c": (1, 16, 2)}, "expected score maps"),
        ("picodet", {"a": (1, 64, 3), "b": (1, 64, 32)}, "expected scores"),
        ("picodet", {"a": (1, 64, 32), "b": (1, 64, 2)}, "expected scores"),
        ("picodet", {"a": (1, 64, 2), "b": (1, 64, 30)}, "expected box distributions"),
        ("detr-logits", {"logits": (1, 9, 2)}, "no output pred_boxes"),
        ("detr-logits", {"logits": (1, 9, 2), "pred_boxes": (1, 8, 4)}, "expected logits"),
        ("detr-logits", {"logits": (1, 9, 4), "pred_boxes": (1, 9, 4)}, "it scores 4 classes"),
        ("detr", {"labels": (1, 9), "scores": (1, 9)}, "no output boxes"),
        ("detr", {"labels": (1, 9), "boxes": (1, 8, 4), "scores": (1, 9)}, "expected labels"),
    ],
)
def test_a_file_of_another_family(
    tmp_path: Path,
    cache: Path,
    family: OwnFamily,
    outputs: dict[str, tuple[int, ...]],
    message: str,
) -> None:
    inputs = ("images", "orig_target_sizes") if family == "detr" else ("images",)
    file = fake_detector(tmp_path / "a.onnx", outputs, inputs=inputs)
    with pytest.raises(UsageError, match=message) as caught:
        add_onnx(file, name="mine", family=family, classes=["cat", "dog"])
    assert str(file) in str(caught.value)
    assert not (cache / "networks" / "mine").exists()


def test_inputs_that_no_detector_has(tmp_path: Path) -> None:
    detr = {"labels": (1, 9), "boxes": (1, 9, 4), "scores": (1, 9)}
    for file, family in (
        (affine(tmp_path / "a.onnx"), "yolox"),
        (fake_detector(tmp_path / "b.onnx", detr), "detr"),
        (fake_detector(tmp_path / "c.onnx", detr, inputs=("images", "more")), "yolox"),
    ):
        with pytest.raises(UsageError, match="its family needs"):
            add_onnx(file, name="mine", family=family, classes=["cat"])  # type: ignore[arg-type]
    file = fake_detector(tmp_path / "d.onnx", {"output": (8, CELLS, 6)}, batch=8)
    with pytest.raises(UsageError, match="8 pictures at once"):
        add_onnx(file, name="mine", family="yolox", classes=["cat"])


def test_wrong_names_families_and_files(tmp_path: Path) -> None:
    file = fake_detector(tmp_path / "a.onnx", {"output": (1, CELLS, 6)})
    with pytest.raises(UsageError, match="cannot name a network"):
        add_onnx(file, name="../up", family="yolox", classes=["cat"])
    with pytest.raises(UsageError, match="one of yolox, picodet, detr, detr-logits"):
        add_onnx(file, name="a", family="rcnn", classes=["cat"])  # type: ignore[arg-type]
    zero = InputOverrides(std=(1, 0, 1))
    with pytest.raises(UsageError, match="std must not be 0"):
        add_onnx(file, name="a", family="yolox", classes=["cat"], overrides=zero)
    (tmp_path / "broken.onnx").write_bytes(file.read_bytes()[:-9])
    with pytest.raises(NetworkDamaged, match=r"broken\.onnx"):
        add_onnx(tmp_path / "broken.onnx", name="a", family="yolox", classes=["cat"])


def test_class_names(tmp_path: Path) -> None:
    assert class_names("coco80") == COCO80
    assert class_names("coco91") == COCO91
    assert class_names(["cat"]) == ("cat",)
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


@pytest.mark.parametrize(("name", "family", "file"), SHARED)
def test_real_networks(shared: Path, name: str, family: OwnFamily, file: str) -> None:
    source = shared / "weights" / file
    card = add_onnx(source, name=name, family=family, classes="coco80").card
    side = 320 if family == "detr" else 416
    assert (card.input.width, card.input.height, card.batch) == (side, side, 1)
    assert find(name, "detector").file.read_bytes() == source.read_bytes()
    with pytest.raises(UsageError, match="is a detector, but a backbone is needed"):
        find(name, "backbone")
    for other in set(get_args(OwnFamily)) - {family}:
        with pytest.raises(UsageError, match="family"):
            add_onnx(source, name="other", family=other, classes="coco80")
    if family != "detr":  # its graph does not tell how many classes it has
        with pytest.raises(UsageError, match="91"):
            add_onnx(source, name="other", family=family, classes="coco91")


def test_a_family_is_registered_everywhere() -> None:
    own = set(get_args(add.OwnFamily))
    assert own <= set(FAMILIES) == set(get_args(Family)) - {"embedding"}
    assert own == set(add._DEFAULTS) == set(add._FAULTS)
    (choices,) = [kind for kind in get_args(get_type_hints(models.add)["family"]) if get_args(kind)]
    assert set(get_args(choices)) == own
