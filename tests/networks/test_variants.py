"""Variants of a backbone: names, what they compute, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from closeup.core.config import EngineConfig
from closeup.core.errors import UsageError
from closeup.networks import Network, find, load
from closeup.networks.engine import open_graph
from closeup.networks.variants import Variant, derive, resizing, split_name
from tests import tiny


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny.need_onnx()
    monkeypatch.setenv("CLOSEUP_CACHE", str(tmp_path))
    tiny.make_backbone(tmp_path)
    tiny.make_detector(tmp_path)
    return tmp_path


def run(network: Network, picture: np.ndarray, engine: str = "auto") -> np.ndarray:
    graph = open_graph(network.file, EngineConfig.model_validate({"engine": engine}))
    (answer,) = graph.run({next(iter(graph.inputs)): picture[None]}).values()
    return answer[0]


def picture_for(network: Network, seed: int = 0) -> np.ndarray:
    spec = network.card.input
    rng = np.random.default_rng(seed)
    return rng.standard_normal((3, spec.height, spec.width)).astype(np.float32)


@pytest.mark.parametrize(
    "name", ["a@", "a@big", "a@320-224", "a@flip-flip", "a@zoom-zoom", "a@stages-", "a@0"]
)
def test_what_is_no_variant_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="NAME@"):
        split_name(name)


@pytest.mark.parametrize("text", ["stages", "320", "flip", "zoom", "stages-320-zoom-flip"])
def test_a_name_survives_being_split(text: str) -> None:
    assert split_name(f"net@{text}") == ("net", split_name(f"net@{text}")[1])
    assert str(split_name(f"net@{text}")[1]) == text


def test_a_detector_has_no_variants(cache: Path) -> None:
    with pytest.raises(UsageError, match="is a detector"):
        find("tiny-box@flip", "backbone")


def test_a_network_without_feature_maps_has_no_stages(cache: Path) -> None:
    with pytest.raises(UsageError, match="no feature maps of several sizes"):
        find("tiny-pool@stages", "backbone")


def test_a_mirrored_view_is_the_mean_of_both(cache: Path) -> None:
    plain, both = find("tiny-pool", "backbone"), find("tiny-pool@flip", "backbone")
    picture = picture_for(plain)
    expected = (run(plain, picture) + run(plain, picture[..., ::-1].copy())) / 2
    for engine in ("openvino", "onnxruntime"):
        assert np.allclose(run(both, picture, engine), expected, atol=1e-6)


def test_zooming_in_is_the_mean_of_the_whole_and_its_middle(cache: Path) -> None:
    plain, zoomed = find("tiny-pool", "backbone"), find("tiny-pool@zoom", "backbone")
    side, outer = plain.card.input.width, zoomed.card.input.width
    assert outer == zoomed.card.input.height == round(side * 5 / 4)
    # One colour, but for a frame that the middle does not show.
    picture = np.full((3, outer, outer), 0.5, np.float32)
    middle = run(plain, picture[:, :side, :side].copy())
    for engine in ("openvino", "onnxruntime"):
        assert np.allclose(run(zoomed, picture, engine), middle, atol=1e-6)
    start = (outer - side) // 2
    framed = np.zeros_like(picture)
    framed[:, start : start + side, start : start + side] = 0.5
    seen = run(zoomed, framed) * 2 - middle
    dark = run(plain, np.zeros((3, side, side), np.float32))
    assert not np.allclose(seen, middle, atol=1e-3)
    assert not np.allclose(seen, dark, atol=1e-3)


def test_zooming_and_mirroring_go_together(cache: Path) -> None:
    zoomed, both = find("tiny-pool@zoom", "backbone"), find("tiny-pool@zoom-flip", "backbone")
    picture = picture_for(zoomed)
    expected = (run(zoomed, picture) + run(zoomed, picture[..., ::-1].copy())) / 2
    assert np.allclose(run(both, picture), expected, atol=1e-5)


def test_resizing_never_loses_a_pixel() -> None:
    for given in range(32, 700, 3):
        for wanted in (32, 96, 176, 224, 280, 320, 448):
            height, width = resizing((given, given + 1), (wanted, wanted))[2:].tolist()
            assert int(given * height) == int((given + 1) * width) == wanted


def test_it_is_made_once_and_again_when_its_base_changes(cache: Path) -> None:
    first = find("tiny-pool@flip", "backbone")
    stamp = first.file.stat().st_mtime_ns
    assert find("tiny-pool@flip", "backbone").file.stat().st_mtime_ns == stamp
    base = find("tiny-pool", "backbone")
    data = base.file.read_bytes().replace(b"tiny", b"tony", 1)
    base.file.write_bytes(data)
    import hashlib

    sha = hashlib.sha256(data).hexdigest()
    card = base.card.model_copy(update={"sha256": sha})
    (base.folder / "card.json").write_text(card.model_dump_json())
    assert find("tiny-pool@flip", "backbone").card.made_with["base"] == sha


def test_stages_of_a_convolutional_backbone(cache: Path) -> None:
    folder = tiny.make_staged_backbone(cache)
    base = load(folder)
    staged = derive(base, Variant("stages"))
    assert staged.card.blocks == (4, 6, base.card.dim)
    assert staged.card.dim == sum(staged.card.blocks)
    picture = picture_for(base)
    answer = run(staged, picture)
    assert answer.shape == (staged.card.dim,)
    assert np.allclose(answer[-base.card.dim :], run(base, picture), atol=1e-5)
    assert np.allclose(answer, run(staged, picture, "onnxruntime"), atol=1e-5)
    # The first map is the picture through a 1 x 1 convolution with stride 2, rectified.
    weights = tiny.staged_weights()[0][:, :, 0, 0]
    first = np.maximum(np.einsum("oc,chw->ohw", weights, picture[:, ::2, ::2]), 0)
    assert np.allclose(answer[:4], first.mean(axis=(1, 2)), atol=1e-5)


def test_all_three_together(cache: Path) -> None:
    tiny.make_staged_backbone(cache)
    network = find("tiny-stages@stages-48-flip", "backbone")
    assert network.card.input.width == 48
    picture = picture_for(network)
    assert np.allclose(run(network, picture), run(network, picture[..., ::-1].copy()), atol=1e-6)


def test_a_mirrored_network_is_mirrored_again_without_harm(cache: Path) -> None:
    plain, again = find("nano-embed", "backbone"), find("nano-embed@flip", "backbone")
    picture = picture_for(plain)
    assert np.allclose(run(plain, picture), run(again, picture), atol=1e-4)


def test_a_larger_input(cache: Path) -> None:
    larger = find("nano-embed@224", "backbone")
    assert (larger.card.input.width, larger.card.input.height) == (224, 224)
    assert run(larger, picture_for(larger)).shape == (larger.card.dim,)


def test_a_size_that_does_not_fit_is_refused(cache: Path) -> None:
    with pytest.raises(UsageError, match="another size"):
        find("tiny-pool@10", "backbone")


def maps_of(picture: np.ndarray) -> list[np.ndarray]:
    """The feature maps of ``tiny-stages``, computed by hand: ``(channels, cells)`` each."""
    maps, values = [], picture
    for weights in tiny.staged_weights():
        values = np.maximum(np.einsum("oc,chw->ohw", weights[:, :, 0, 0], values[:, ::2, ::2]), 0)
        maps.append(values.reshape(len(values), -1))
    return maps


def pooled(cache: Path) -> tuple[Network, np.ndarray]:
    """``tiny-stages@cov`` and a picture for it."""
    network = derive(load(tiny.make_staged_backbone(cache)), Variant("cov"))
    assert network.card.blocks == (4, 6, 5, 4, 6, 5, 10, 21, 15)
    return network, picture_for(network)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_covariances_are_square_roots_of_those_computed_by_hand(cache: Path, engine: str) -> None:
    network, picture = pooled(cache)
    parts = np.split(run(network, picture, engine), np.cumsum(network.card.blocks)[:-1])
    for values, part in zip(maps_of(picture), parts[6:], strict=True):
        channels = len(values)
        root = np.zeros((channels, channels))
        root[np.triu_indices(channels)] = part
        root = root + np.triu(root, 1).T
        expected = np.cov(values, bias=True)
        # A few steps do not converge in directions that hardly vary.
        assert np.allclose(root @ root, expected, atol=0.1 * np.trace(expected))
        assert np.corrcoef((root @ root).ravel(), expected.ravel())[0, 1] > 0.98


def test_deviations_are_those_of_the_maps(cache: Path) -> None:
    network, picture = pooled(cache)
    parts = np.split(run(network, picture), np.cumsum(network.card.blocks)[:-1])
    for values, part in zip(maps_of(picture), parts[3:6], strict=True):
        assert np.allclose(part, values.std(axis=1), atol=1e-4)


def test_a_picture_of_one_colour_has_finite_covariances(cache: Path) -> None:
    tiny.make_staged_backbone(cache)
    network = find("tiny-stages@cov", "backbone")
    assert np.isfinite(run(network, np.zeros_like(picture_for(network)))).all()


def test_a_network_that_mirrors_its_picture_itself_is_not_pooled(cache: Path) -> None:
    with pytest.raises(UsageError, match="nano-embed has no feature maps of several sizes"):
        find("nano-embed@cov", "backbone")
