"""How nano-clock is made: shapes, export, assignment, repeatable training, what is left out."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import closeup.networks
from closeup.core.config import EngineConfig
from closeup.core.types import Box
from closeup.detect import Detector
from closeup.detect.yolox import grid
from closeup.networks import load
from tools.nano.archives import read_archive
from tools.nano.paste import Cutout, cut_out, paste, turned
from tools.render.scenes import render, render_negative

torch = pytest.importorskip("torch", reason="the training tools need PyTorch")

from tools.nano import together  # noqa: E402
from tools.nano.clock_batches import SHARES, Sampler, mosaic, move  # noqa: E402
from tools.nano.clock_loss import assign, loss, pairwise_iou  # noqa: E402
from tools.nano.clock_model import NanoClock, boxes_of, cells  # noqa: E402
from tools.nano.clock_pictures import MOST, SIDE, Pictures, letterbox  # noqa: E402
from tools.nano.graphs import write_graph  # noqa: E402

FRESH = 8_100_000  # a series of scenes that nothing is trained on


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for one another are slow where other tests run beside these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_net() -> NanoClock:
    torch.manual_seed(0)
    return NanoClock((8, 16, 16, 16), neck=8)


def pictures(count: int = 6) -> dict[str, Pictures]:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    boxes = np.full((count, MOST, 4), np.nan, np.float32)
    boxes[:, 0] = (80, 80, 240, 240)
    return dict.fromkeys(SHARES, Pictures(pixels, boxes))


def test_cells_are_those_the_package_decodes() -> None:
    np.testing.assert_array_equal(cells(96).numpy(), grid(96, 96, 3))


def test_output_has_a_row_per_cell_and_scores_between_0_and_1() -> None:
    net = small_net().eval()
    with torch.no_grad():
        rows = net(torch.rand(2, 3, 96, 96) * 255)
    assert rows.shape == (2, len(cells(96)), 6)
    assert 0 <= rows[..., 4:].min() <= rows[..., 4:].max() <= 1


@pytest.mark.slow
def test_the_exported_graph_answers_as_the_module_in_little_space(tmp_path: Path) -> None:
    import onnxruntime

    torch.manual_seed(0)
    net = NanoClock()
    net(torch.rand(4, 3, 96, 96) * 255)  # moves batch norm's statistics off their defaults
    file = tmp_path / "graph.onnx"
    write_graph(net, 96, file, "images", "output")
    pixels = torch.rand(3, 3, 96, 96) * 255
    with torch.no_grad():
        expected = net(pixels).numpy()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = session.run(["output"], {"images": pixels.numpy()})[0]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert file.stat().st_size < 2.4 * sum(p.numel() for p in net.parameters())


def test_iou_by_hand() -> None:
    one = torch.tensor([[[0.0, 0, 2, 2]]])
    other = torch.tensor([[[1.0, 0, 3, 2], [5, 5, 6, 6]]])
    np.testing.assert_allclose(pairwise_iou(one, other)[0, 0], [1 / 3, 0], atol=1e-6)


def test_cells_answer_only_for_objects_that_exist_and_are_near() -> None:
    places = cells(96)
    raw = torch.zeros(1, len(places), 6)
    truth = torch.tensor([[[32.0, 32, 64, 64], [0, 0, 96, 96]]])
    chosen, _ = assign(raw, truth, torch.tensor([[True, False]]), places)
    assert set(chosen.unique().tolist()) == {-1, 0}
    centres = ((places[:, :2] + 0.5) * places[:, 2:])[chosen[0] == 0]
    assert float((centres - 48).abs().max()) < 16 + 1.5 * 32


def test_no_object_leaves_only_the_loss_of_objectness() -> None:
    raw = torch.zeros(1, len(cells(96)), 6, requires_grad=True)
    nothing = torch.zeros(1, 1, 4), torch.zeros(1, 1, dtype=torch.bool)
    loss(raw, *nothing, cells(96), 1).backward()
    assert raw.grad is not None
    assert float(raw.grad[..., 4].abs().min()) > 0
    assert float(raw.grad[..., :4].abs().max()) == 0


def test_a_box_is_read_as_the_package_reads_it() -> None:
    raw = torch.zeros(1, len(cells(96)), 6)
    raw[..., :2] = 0.5
    boxes = boxes_of(raw, cells(96))
    np.testing.assert_allclose(boxes[0, 0], (0, 0, 8, 8))
    np.testing.assert_allclose(boxes[0, -1], (64, 64, 96, 96))


def test_moved_boxes_follow_the_pixels() -> None:
    images = torch.full((16, 3, 100, 100), 114.0)
    images[:, :, 40:60, 30:70] = 255.0
    boxes = torch.full((16, MOST, 4), torch.nan)
    boxes[:, 0] = torch.tensor([30.0, 40, 70, 60])
    moved, found = move(images, boxes, 96, torch.Generator().manual_seed(0))
    assert torch.isnan(found[:, 1:]).all()
    for picture, box in zip(moved[:, 0], found[:, 0], strict=True):
        bright = picture > 200
        x, y = bright.any(0).nonzero()[:, 0], bright.any(1).nonzero()[:, 0]
        seen = Box(float(x[0]), float(y[0]), float(x[-1]) + 1, float(y[-1]) + 1)
        assert seen.iou(Box(*box.tolist())) > 0.6  # a rectangle, not the ellipse it is taken for


def test_mosaics_keep_the_boxes_inside() -> None:
    boxes = torch.full((40, MOST, 4), torch.nan)
    boxes[:, 0] = torch.tensor([0.0, 0, 96, 96])
    images = torch.arange(40.0)[:, None, None, None].expand(40, 3, 96, 96)
    mixed, found = mosaic(images, boxes, torch.Generator().manual_seed(0))
    replaced = (mixed.amax((1, 2, 3)) != mixed.amin((1, 2, 3))).nonzero()[:, 0]
    assert len(replaced) > 2
    there = found[replaced[0]]
    there = there[~torch.isnan(there[:, 0])]
    assert sorted(there[:, :2].tolist()) == [[0, 0], [0, 48], [48, 0], [48, 48]]


@pytest.mark.slow
def test_training_repeats_exactly_and_learns() -> None:
    def trained() -> list[float]:
        net = small_net().train()
        sampler = Sampler(pictures(), np.random.default_rng(0), torch.Generator().manual_seed(0))
        optimizer = together.adamw(net, 3e-3, 0.05)
        batch = sampler.draw(4, 96)
        values = []
        for _ in range(12):
            value = loss(net(batch.images), batch.truth, batch.present, cells(96), 1)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            values.append(value.item())
        return values

    first = trained()
    assert trained() == first
    assert first[-1] < 0.9 * first[0]


def test_letterbox_scales_boxes_with_the_photo() -> None:
    canvas, boxes = letterbox(np.zeros((100, 200, 3), np.uint8), [(0, 0, 200, 100)])
    assert canvas.shape == (SIDE, SIDE, 3)
    np.testing.assert_allclose(boxes[0], (0, 0, SIDE, SIDE / 2))
    assert np.isnan(boxes[1:]).all()
    assert (canvas[SIDE // 2 :] == 114).all()


def test_white_paper_becomes_transparent_but_a_white_dial_does_not() -> None:
    photo = np.full((100, 100, 3), 255, np.uint8)
    photo[30:70, 30:70] = 60
    photo[40:60, 40:60] = 255
    cutout = cut_out(photo, np.array([30, 30, 70, 70], np.float32))
    alpha = np.asarray(cutout.picture.getchannel("A"))
    assert alpha[5, 5] == 0
    assert alpha[50, 50] == 255


def test_a_pasted_watch_lies_in_its_box() -> None:
    picture = Image.new("RGBA", (40, 40), (255, 0, 0, 255))
    cutout = Cutout(picture, (0.0, 0.0, 40.0, 40.0))
    pasted = 0
    for seed in range(10):
        canvas = np.zeros((200, 200, 3), np.uint8)
        box = paste(canvas, cutout, [], np.random.default_rng(seed))
        if box is None:
            assert not canvas.any()
            continue
        rows, columns = np.nonzero(canvas[..., 0] > 128)
        seen = Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert seen.iou(Box(*box.tolist())) > 0.6
        pasted += 1
    assert pasted >= 5


def test_a_turned_head_keeps_its_place() -> None:
    straight = turned((10, 20, 30, 60), (100, 80), 0.0)
    np.testing.assert_allclose(straight, (-40, -20, -20, 20))


def test_the_test_photos_are_never_read(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "JPEG")
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("train/Fruit/Apple/Royal-Gala/1.jpg", stream.getvalue())
        packed.writestr("train/Fruit/Pear/Anjou/1.jpg", stream.getvalue())
    assert [photo.label for photo in read_archive(archive)] == ["Anjou"]
    with pytest.raises(ValueError, match="holds no photos"):
        list(read_archive(archive, "watch/"))


@pytest.mark.slow
def test_the_shipped_network_finds_fresh_watches_and_little_else() -> None:
    network = load(Path(closeup.networks.__file__).parent / "builtin" / "nano-clock")
    detector = Detector(network, EngineConfig(threads=1))
    threshold = network.card.scores["threshold"]
    scenes = [render(FRESH, index, size=320) for index in range(30)]
    found = detector.detect([scene.pixels for scene in scenes], floor=threshold)
    met = sum(
        any(one.box.iou(Box(*scene.boxes[0])) >= 0.5 for one in each)
        for scene, each in zip(scenes, found, strict=True)
    )
    assert met >= 27
    empty = [render_negative(FRESH, index, size=320).pixels for index in range(12)]
    assert sum(map(len, detector.detect(empty, floor=threshold))) <= 3
