from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from closeup.core.config import CropConfig, DetectConfig, EngineConfig, PhotosConfig
from closeup.core.errors import NetworkDamaged, ProjectError
from closeup.core.types import Crop, Photo
from closeup.crops.cut import content_key, find_crops
from closeup.learn.embed import Embedder, Embeddings, embed_crops
from closeup.networks import Network, load
from closeup.photos.listing import list_photos
from tests import tiny


@pytest.fixture
def network(tmp_path: Path) -> Network:
    tiny.need_onnx()
    return load(tiny.make_backbone(tmp_path / "cache"))


@pytest.fixture
def embedder(network: Network) -> Embedder:
    return Embedder(network, EngineConfig(threads=1))


@pytest.fixture
def listed(tmp_path: Path) -> tuple[dict[str, Photo], list[Crop]]:
    """Six photos, and the whole of each as its close-up."""
    folder = tiny.make_photos(tmp_path / "photos", per_label=2)
    photos = list_photos(PhotosConfig(source=str(folder)))
    return {p.id: p for p in photos}, find_crops(photos, {}, CropConfig(), DetectConfig())


def test_nothing_to_embed(embedder: Embedder) -> None:
    assert list(embedder.embed([])) == []
    assert embed_crops({}, [], embedder, {}).vectors.shape == (0, 48)


def test_an_embedding_does_not_depend_on_its_neighbours(embedder: Embedder) -> None:
    pictures = [np.random.default_rng(n).integers(0, 256, (50, 40, 3), np.uint8) for n in range(9)]
    together = list(embedder.embed(pictures))
    for picture, vector in zip(pictures, together, strict=True):
        assert np.array_equal(next(embedder.embed([picture])), vector)


def test_known_embeddings_are_not_made_again(
    embedder: Embedder, listed: tuple[dict[str, Photo], list[Crop]]
) -> None:
    photos, crops = listed
    known = {content_key(photos[c.photo_id], c): np.full(48, 7, np.float32) for c in crops[:4]}
    made: list[int] = []
    found = embed_crops(photos, crops, embedder, known, lambda _, done, total: made.append(total))
    assert set(made) == {2}
    assert (found.vectors == 7).all(axis=1).tolist() == [True] * 4 + [False] * 2


def test_equal_pixels_are_embedded_once(
    embedder: Embedder, listed: tuple[dict[str, Photo], list[Crop]]
) -> None:
    photos, crops = listed
    assert len(embed_crops(photos, [crops[0], crops[0]], embedder, {}).keys) == 1


def test_a_vanished_photo_is_named(
    embedder: Embedder, listed: tuple[dict[str, Photo], list[Crop]]
) -> None:
    photos, crops = listed
    photos[crops[0].photo_id].file.unlink()
    with pytest.raises(ProjectError, match=r"0\.png"):
        embed_crops(photos, crops, embedder, {})


def test_a_card_that_promises_another_length_is_found_out(network: Network) -> None:
    lying = replace(network, card=network.card.model_copy(update={"dim": 47}))
    with pytest.raises(NetworkDamaged, match="48 values"):
        list(Embedder(lying, EngineConfig(threads=1)).embed([np.zeros((8, 8, 3), np.uint8)]))


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_the_cache_file_round_trips(tmp_path: Path, rows: int) -> None:
    vectors = np.random.default_rng(0).random((rows, 3), np.float32)
    stored = Embeddings(tuple(f"key{n}" for n in range(rows)), vectors)
    file = tmp_path / "e.safetensors"
    file.write_bytes(stored.to_bytes())
    found = Embeddings.read(file)
    assert found is not None
    assert found.keys == stored.keys
    assert np.array_equal(found.vectors, vectors)


@pytest.mark.parametrize("data", [b"", b"\xff" * 40, None])
def test_a_damaged_cache_counts_as_absent(tmp_path: Path, data: bytes | None) -> None:
    file = tmp_path / "e.safetensors"
    assert Embeddings.read(file) is None
    whole = Embeddings(("a",), np.zeros((1, 3), np.float32)).to_bytes()
    file.write_bytes(whole[:-4] if data is None else data)
    assert Embeddings.read(file) is None
