"""Networks by name: what is found, what is obtainable, and what is said where nothing is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from closeup.core.errors import NetworkDamaged, NetworkMissing, UsageError
from closeup.networks import find, known
from tests import tiny


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def filled(cache: Path) -> Path:
    tiny.need_onnx()
    tiny.make_detector(cache)
    tiny.make_backbone(cache)
    return cache


def test_known_names_have_a_kind() -> None:
    names = known()
    assert names["dinov2-s"] == names["mobilenetv2"] == names["densenet121"] == "backbone"
    assert names["d-fine-n"] == names["faster-rcnn"] == "detector"


def test_the_cache_comes_first(filled: Path) -> None:
    network = find("tiny-pool", "backbone")
    assert network.folder == filled / "networks" / "tiny-pool"
    tiny.make_backbone(filled, "dinov2-s")  # hides the one to be downloaded
    assert find("dinov2-s", "backbone").folder == filled / "networks" / "dinov2-s"


def test_the_other_kind_is_a_wrong_call(filled: Path) -> None:
    with pytest.raises(UsageError, match="tiny-pool is a backbone, but a detector is needed"):
        find("tiny-pool", "detector")
    with pytest.raises(UsageError, match="dinov2-s is a backbone, but a detector is needed"):
        find("dinov2-s", "detector")


@pytest.mark.parametrize("name", ["", "../up", "a/..", "a/b/c", ".hidden", "x" * 200, "a\n"])
def test_what_cannot_be_a_name(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a network"):
        find(name, "detector")


def test_only_a_detector_may_be_named_by_its_repository(filled: Path) -> None:
    with pytest.raises(UsageError, match="cannot name a network"):
        find("owner/tiny-pool", "backbone")
    with pytest.raises(UsageError, match=r"another network than owner/tiny-box .*remove tiny-box"):
        find("owner/tiny-box", "detector")


def test_what_is_never_suggested(filled: Path) -> None:
    pytest.importorskip("timm")
    with pytest.raises(NetworkMissing) as caught:
        find("convnextv2-nana", "backbone")
    assert "convnextv2-nano" not in str(caught.value)
    assert "dinov3" not in str(caught.value)


def test_a_damaged_network_is_not_passed_over(filled: Path) -> None:
    (filled / "networks" / "tiny-box" / "graph.onnx").write_bytes(b"damaged")
    with pytest.raises(NetworkDamaged, match=r"graph\.onnx"):
        find("tiny-box", "detector")


def test_an_unknown_detector_says_what_there_is(filled: Path) -> None:
    with pytest.raises(NetworkMissing) as caught:
        find("tiny-bocks", "detector")
    for part in ("tiny-bocks", "did you mean tiny-box?", "faster-rcnn", "closeup models add"):
        assert part in str(caught.value)


def test_an_unknown_backbone_says_what_there_is(filled: Path) -> None:
    pytest.importorskip("timm")
    with pytest.raises(NetworkMissing) as caught:
        find("densnet121", "backbone")
    for part in ("did you mean densenet121?", "any timm architecture", "tiny-pool"):
        assert part in str(caught.value)


def test_offline_says_which_file_is_needed_and_where(filled: Path) -> None:
    pytest.importorskip("timm")
    with pytest.raises(NetworkMissing) as caught:
        find("dinov2-s-pytorch", "backbone", offline=True)
    place = filled / "downloads/timm--vit_small_patch14_dinov2.lvd142m/main/model.safetensors"
    for part in ("timm/vit_small_patch14_dinov2.lvd142m", str(place), "tiny-pool"):
        assert part in str(caught.value)
    assert sorted(p.name for p in (filled / "networks").iterdir()) == ["tiny-box", "tiny-pool"]


def test_a_timm_name_without_weights_on_the_hub() -> None:
    pytest.importorskip("timm")
    with pytest.raises(NetworkMissing, match="closeup models add FILE --timm botnet50ts_256"):
        find("botnet50ts_256", "backbone")


def test_without_torch_a_conversion_says_what_to_install(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec

    def without_torch(name: str, *args: Any) -> Any:
        return None if name == "torch" else real(name, *args)

    monkeypatch.setattr(importlib.util, "find_spec", without_torch)
    with pytest.raises(NetworkMissing, match=r"\.\[torch\].*tiny-pool"):
        find("mobilenetv2", "backbone")
