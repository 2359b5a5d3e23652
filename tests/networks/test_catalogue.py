"""The catalogue: every row has the form that the loading code relies on."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from closeup.core.config import DetectConfig, TrainConfig
from closeup.networks.catalogue import CATALOGUE_FILE, Entry, catalogue, defaults, read_catalogue
from closeup.networks.names import check_name

ROWS: list[dict[str, Any]] = tomllib.loads(CATALOGUE_FILE.read_text(encoding="utf8"))["network"]
ENTRIES = list(catalogue().values())


def by_name(entry: Entry) -> str:
    return entry.name


@pytest.mark.parametrize("entry", ENTRIES, ids=by_name)
def test_a_row_says_what_pulling_needs(entry: Entry) -> None:
    check_name(entry.name)
    assert not entry.about.endswith(".")
    assert entry.about[0].isupper()
    if entry.via == "onnx":
        assert entry.file.endswith(".onnx")
        # Without a hash here, the hub states one; without a commit too, it is the newest.
        assert entry.bytes or entry.megabytes or not entry.revision
    assert len(entry.about) <= 42  # a line of `closeup models list`
    if entry.kind == "detector" and entry.via == "onnx":
        assert "config.json" in entry.settings  # which has the categories' names
    if any("365" in name for name in (*entry.trained_on, entry.repo)):
        assert "research" in entry.terms


@pytest.mark.parametrize("entry", ENTRIES, ids=by_name)
def test_what_forbids_commercial_use_is_marked(entry: Entry) -> None:
    words = ("nc", "noncommercial", "amlr", "research")
    forbidden = any(word in entry.licence.lower().replace("-", " ").split() for word in words)
    assert entry.commercial != forbidden
    if not entry.commercial or "own licence" in entry.terms:
        assert not entry.may_suggest


def test_the_defaults_are_those_of_the_configuration() -> None:
    assert set(defaults()) == {
        DetectConfig.model_fields["detector"].default,
        *TrainConfig.model_fields["backbone"].default,
    }
    assert not any(catalogue()[name].needs_torch for name in defaults())
    assert all(catalogue()[name].cost == 1 for name in defaults())


def test_what_was_known_by_name_still_is() -> None:
    """Projects remember the names of their networks."""
    names = (
        "d-fine-n d-fine-s d-fine-m d-fine-l faster-rcnn faster-rcnn-v2 ssdlite rt-detr "
        "rt-detr-r50 rt-detr-v2 rt-detr-v2-r50 deimv2-n mobilenetv2 densenet121 resnet50 "
        "efficientnet-b0 convnext-tiny dinov2-s"
    )
    assert set(names.split()) <= catalogue().keys()


def test_timm_has_the_architectures() -> None:
    timm = pytest.importorskip("timm")
    for entry in ENTRIES:
        if entry.via == "timm":
            config = timm.get_pretrained_cfg(entry.architecture)
            assert config.hf_hub_id == entry.repo
            stated = (config.license or "").replace("-", " ").split()
            assert set(stated) & set(entry.licence.lower().replace("-", " ").split()), entry.name


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("d-fine-n", {"sha256": "0f684f"}, "sha256"),
        ("d-fine-n", {"revision": "main"}, "revision"),
        ("d-fine-n", {"file": "../model.onnx"}, "file"),
        ("d-fine-n", {"file": ""}, "file and input"),
        ("d-fine-n", {"repo": "dfine"}, "repo"),
        ("d-fine-n", {"classes": 0}, "number of classes"),
        ("d-fine-n", {"family": "embedding"}, "for backbones"),
        ("d-fine-n", {"family": "yolo"}, "family"),
        ("d-fine-n", {"input": {"width": 640}}, "height"),
        ("d-fine-n", {"licence": ""}, "licence"),
        ("d-fine-n", {"published_by": ""}, "the page that has them"),
        ("d-fine-n", {"commercial": False}, "must be free to use"),
        ("d-fine-n", {"price": 3}, "price"),
        ("dinov2-s", {"dim": 0}, "needs dim"),
        ("dinov2-s", {"pool": "max"}, "pool"),
        ("mobilenetv2", {"architecture": ""}, "architecture"),
        ("ssdlite", {"repo": "pytorch/vision"}, "a hub repository, or torchvision"),
    ],
)
def test_a_malformed_row_is_refused(name: str, change: dict[str, Any], message: str) -> None:
    row = next(row for row in ROWS if row["name"] == name)
    with pytest.raises(ValidationError, match=message):
        Entry.model_validate({**row, **change})


def test_a_name_comes_once(tmp_path: Path) -> None:
    file = tmp_path / "twice.toml"
    file.write_text(CATALOGUE_FILE.read_text(encoding="utf8") * 2, encoding="utf8")
    with pytest.raises(ValueError, match="a name comes twice"):
        read_catalogue(file)


def test_the_table_in_the_docs_is_true() -> None:
    import subprocess
    import sys

    from tests.conftest import ROOT

    done = subprocess.run(
        [sys.executable, "tools/networks_table.py", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
