"""Which tensors of real architectures are feature maps."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from closeup.networks.add import add_backbone
from closeup.networks.pooling import _feature_maps
from closeup.networks.variants import has_feature_maps

timm = pytest.importorskip("timm", reason="converting networks needs the torch extra")
safetensors = pytest.importorskip("safetensors.torch")


@pytest.mark.parametrize(
    ("name", "side"), [("test_vit", 0), ("test_convnext", 160), ("test_resnet", 160)]
)
def test_only_what_convolutions_give(
    name: str, side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the heads and tokens of a transformer nor a ConvNeXt's maps with channels last."""
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path / "cache"))
    module = timm.create_model(name, pretrained=False)
    safetensors.save_file(module.state_dict(), tmp_path / "net.safetensors")
    network = add_backbone(tmp_path / "net.safetensors", name=name, timm=name)
    found = _feature_maps(onnx.shape_inference.infer_shapes(onnx.load(network.file)))
    assert has_feature_maps(network) == bool(side)
    if side:
        stages = [(one["num_chs"], (side // one["reduction"]) ** 2) for one in module.feature_info]
        assert list(found.values())[-len(stages) :] == stages
