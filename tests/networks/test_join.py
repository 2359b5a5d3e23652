"""Backbones side by side in one graph."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from closeup.core.config import EngineConfig
from closeup.core.errors import UsageError
from closeup.learn.embed import Embedder
from closeup.networks import Network, find, load
from tests import tiny

Pixels = np.ndarray


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path))
    tiny.make_backbone(tmp_path)
    tiny.make_staged_backbone(tmp_path)
    tiny.make_detector(tmp_path)
    change_input(tmp_path / "networks" / "tiny-pool", resize="letterbox")
    return tmp_path


def photo(seed: int = 0) -> Pixels:
    """Smooth colours, so that resizing loses little."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC))


def embed(network: Network, engine: str = "auto") -> np.ndarray:
    embedder = Embedder(network, EngineConfig.model_validate({"engine": engine}))
    return np.stack(list(embedder.embed([photo(0), photo(1), photo(2)])))


def change_input(folder: Path, **changes: object) -> None:
    """Let a network's card ask for other input; its graph stays."""
    card = json.loads((folder / "card.json").read_text())
    card["input"].update(changes)
    (folder / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_both_embeddings_come_one_after_the_other(cache: Path, engine: str) -> None:
    a, b = find("tiny-pool", "backbone"), find("tiny-stages@cov-64", "backbone")
    joined = find("tiny-pool+tiny-stages@cov-64", "backbone")
    assert joined.card.dim == a.card.dim + b.card.dim
    assert joined.card.blocks == (a.card.dim, *b.card.blocks)
    expected = np.concatenate([embed(a, engine), embed(b, engine)], axis=1)
    assert np.allclose(embed(joined, engine), expected, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": [0.5, 0.4, 0.3], "std": [0.5, 0.25, 0.2]},
        {"color": "bgr", "mean": [0.1, 0.2, 0.3], "std": [1, 2, 3]},
        {"scale": "byte"},
        {"scale": "byte", "color": "bgr", "mean": [100, 120, 140], "std": [50, 60, 70]},
    ],
    ids=str,
)
def test_each_network_gets_the_numbers_that_it_expects(
    cache: Path, changes: dict[str, object]
) -> None:
    for name, other in (("tiny-pool", "tiny-stages@64"), ("tiny-stages@64", "tiny-pool")):
        change_input(cache / "networks" / "tiny-stages", **changes)
        alone = [embed(find(one, "backbone")) for one in (name, other)]
        found = embed(find(f"{name}+{other}", "backbone"))
        assert np.allclose(found, np.concatenate(alone, axis=1), rtol=1e-3, atol=1e-3)


def test_a_smaller_input_is_made_from_the_larger(cache: Path) -> None:
    joined = find("tiny-stages@cov+tiny-stages@cov-96", "backbone")
    assert joined.card.input.width == 96
    alone = [embed(find(name, "backbone")) for name in ("tiny-stages@cov", "tiny-stages@cov-96")]
    found = embed(joined)
    assert np.allclose(found[:, alone[0].shape[1] :], alone[1], atol=1e-4)
    first = found[:, : alone[0].shape[1]]
    assert np.abs(first - alone[0]).max() < 0.1 * np.abs(alone[0]).max()


def test_it_is_made_once_and_again_when_a_member_changes(cache: Path) -> None:
    name = "tiny-pool+tiny-stages"
    stamp = find(name, "backbone").file.stat().st_mtime_ns
    assert find(name, "backbone").file.stat().st_mtime_ns == stamp
    before = find(name, "backbone").card.made_with["base"]
    card = json.loads((cache / "networks" / "tiny-pool" / "card.json").read_text())
    data = (cache / "networks" / "tiny-pool" / "graph.onnx").read_bytes().replace(b"tiny", b"tony")
    (cache / "networks" / "tiny-pool" / "graph.onnx").write_bytes(data)
    import hashlib

    card["sha256"] = hashlib.sha256(data).hexdigest()
    (cache / "networks" / "tiny-pool" / "card.json").write_text(json.dumps(card))
    assert find(name, "backbone").card.made_with["base"] != before


def test_a_network_named_twice_counts_once(cache: Path) -> None:
    assert (
        find("tiny-pool+tiny-pool", "backbone").card.dim == find("tiny-pool", "backbone").card.dim
    )


def test_what_cannot_be_joined_is_refused(cache: Path) -> None:
    with pytest.raises(UsageError, match="is a detector"):
        find("tiny-pool+tiny-box", "backbone")


def test_names_longer_together_than_a_folder_may_be_called(cache: Path) -> None:
    parts = []
    for number in range(3):
        name = f"{number}-{'n' * 90}"
        shutil.copytree(cache / "networks" / "tiny-pool", cache / "networks" / name)
        change_name(cache / "networks" / name, name)
        parts.append(name)
    joined = find("+".join(parts), "backbone")
    assert joined.card.name == "+".join(parts)
    assert load(joined.folder) == joined
    assert find("+".join(parts), "backbone") == joined
    assert find("+".join(reversed(parts)), "backbone").folder != joined.folder


def change_name(folder: Path, name: str) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "name": name}))
