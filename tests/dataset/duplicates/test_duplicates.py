from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance
from safetensors.numpy import load_file, save_file

from closeup.core.config import PhotosConfig
from closeup.core.errors import ProjectError
from closeup.core.types import Photo, PhotoState
from closeup.dataset import duplicates
from closeup.dataset.duplicates import Pair, Signatures, near_duplicates, signature_of, signatures
from closeup.dataset.duplicates.align import normalise_contrast, refine, unmoved, warp
from closeup.dataset.duplicates.compare import agreement
from closeup.dataset.duplicates.layout import LENGTH, layouts
from closeup.dataset.duplicates.signature import VERSION
from closeup.photos.listing import list_photos

SIDE = 200


def scene(seed: int, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    """Shapes of many sizes and colours on a ground that changes slowly."""
    draw = np.random.default_rng(seed)
    ground = draw.integers(90, 170, (4, 4, 3), dtype=np.uint8)
    picture = Image.fromarray(ground).resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for number in range(60):
        x, y = draw.uniform(0, size[0]), draw.uniform(0, size[1])
        w, h = draw.uniform(4, 50, 2)
        shape = (pen.ellipse, pen.rectangle)[number % 2]
        colour = draw.integers(30, 230) + draw.integers(-25, 26, 3)
        shape((x, y, x + w, y + h), fill=tuple(map(int, colour)))
    return picture


def as_jpeg(picture: Image.Image, quality: int = 85) -> Image.Image:
    """As it looks after being saved."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def listed(folder: Path, pictures: dict[str, Image.Image]) -> list[Photo]:
    """The pictures written as PNG files, and listed; ids begin with their names."""
    (folder / "label").mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        picture.save(folder / "label" / f"{name}.png")
    return list_photos(PhotosConfig(source=str(folder)))


def found(folder: Path, pictures: dict[str, Image.Image]) -> dict[tuple[str, str], float]:
    """Similarities of the pairs found, by the pictures' names."""
    photos = listed(folder, pictures)
    names = {p.id: Path(p.path).stem for p in photos}
    pairs = near_duplicates(photos, signatures(photos))
    return {(names[p.a], names[p.b]): p.similarity for p in pairs}


def unlisted(name: str, sha256: str = "") -> Photo:
    state = PhotoState.READABLE if sha256 else PhotoState.UNREADABLE
    return Photo(name, "/nowhere", name, "", "", "", state, "", "", 1, 1, 1, 1, sha256)


def test_no_photos() -> None:
    empty = signatures([])
    assert empty.keys == ()
    assert empty.luma.shape == (0, 128, 128)
    assert near_duplicates([], empty) == ()


def test_unreadable_photos_are_left_alone() -> None:
    photos = [unlisted("a"), unlisted("b")]
    none = signatures(photos)
    assert none.keys == ()
    assert near_duplicates(photos, none) == ()


def test_one_photo(tmp_path: Path) -> None:
    assert found(tmp_path, {"a": scene(0)}) == {}


def test_a_photo_that_vanished(tmp_path: Path) -> None:
    photos = listed(tmp_path, {"a": scene(0)})
    photos[0].file.unlink()
    with pytest.raises(ProjectError, match="has changed since"):
        signatures(photos)


def test_blank_photos_are_not_alike(tmp_path: Path) -> None:
    blanks = {str(grey): Image.new("RGB", (50, 40), (grey,) * 3) for grey in (0, 254, 255)}
    assert found(tmp_path, blanks) == {}


def test_identical_bytes_are_one_picture(tmp_path: Path) -> None:
    blank = Image.new("RGB", (50, 40), "white")
    photos = listed(tmp_path, {"a": blank, "b": blank, "c": blank, "d": scene(0)})
    pairs = near_duplicates(photos, signatures(photos))
    a, b, c = sorted(p.id for p in photos if "d.png" not in p.path)
    assert pairs == (Pair(a, b, 1.0), Pair(a, c, 1.0))


def hue(picture: Image.Image) -> Image.Image:
    turned = np.asarray(picture.convert("HSV")).copy()
    turned[..., 0] += 20
    return Image.fromarray(turned, "HSV").convert("RGB")


def marked(picture: Image.Image) -> Image.Image:
    copy = picture.copy()
    pen = ImageDraw.Draw(copy)
    pen.text((20, 150), "www.a-watch-shop.com", fill="white", font_size=14)
    pen.ellipse((5, 5, 35, 35), fill="red")
    return copy


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "encoded": lambda p: as_jpeg(p, 30),
    "smaller": lambda p: p.resize((100, 100), Image.Resampling.LANCZOS),
    "larger": lambda p: p.resize((300, 300), Image.Resampling.BILINEAR),
    "squeezed": lambda p: p.resize((200, 150), Image.Resampling.LANCZOS),
    "cropped": lambda p: p.crop((16, 2, 190, 184)),
    "cropped_narrow": lambda p: p.crop((16, 0, 184, 200)),
    "marked": marked,
    "brighter": lambda p: ImageEnhance.Brightness(p).enhance(1.25),
    "harder": lambda p: ImageEnhance.Contrast(p).enhance(1.3),
    "paler": lambda p: ImageEnhance.Color(p).enhance(0.4),
    "hue": hue,
    "grey": lambda p: p.convert("L").convert("RGB"),
    "marked_cropped": lambda p: as_jpeg(marked(p).crop((10, 10, 195, 190))),
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_are_found(tmp_path: Path, how: str) -> None:
    pictures = {f"other{seed}": scene(seed) for seed in range(1, 5)}
    pictures |= {"a": scene(0), "b": as_jpeg(COPIES[how](scene(0)))}
    pairs = found(tmp_path, pictures)
    assert list(pairs) == [("a", "b")]
    assert 0.72 <= pairs["a", "b"] <= 1


def test_less_alike_copies_are_less_similar(tmp_path: Path) -> None:
    other = scene(0)
    ImageDraw.Draw(other).rectangle((150, 0, 199, 40), fill="white")
    pairs = found(tmp_path, {"a": scene(0), "b": as_jpeg(scene(0)), "c": other})
    assert pairs["a", "b"] > pairs["a", "c"] + 0.01


def test_another_thing_in_the_same_layout_is_another_picture(tmp_path: Path) -> None:
    pictures = {}
    for name, seed in (("a", 1), ("b", 2), ("c", 3)):
        pictures[name] = scene(0)
        pictures[name].paste(scene(seed).resize((90, 90)), (55, 55))
    assert found(tmp_path, pictures) == {}


def watch(dial: str, strap: str = "#555555") -> Image.Image:
    """The same edges, whatever the colours."""
    picture = Image.new("RGB", (SIDE, SIDE), "#f0f0f0")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((70, 0, 130, 200), fill=strap)
    pen.ellipse((40, 40, 160, 160), fill="#909090", outline="#303030", width=4)
    pen.ellipse((52, 52, 148, 148), fill=dial, outline="#303030", width=3)
    for x in range(60, 150, 12):
        pen.line((100, 100, x, 60 + abs(x - 100)), fill="#e0e0e0", width=2)
    return picture


def test_another_colour_in_the_same_edges_is_another_picture(tmp_path: Path) -> None:
    colours = {"a": watch("#202a70"), "b": watch("#701818"), "c": watch("#226022", "#6a3a18")}
    assert found(tmp_path, colours) == {}
    pairs = found(tmp_path / "more", {"a": colours["a"], "b": hue(colours["a"])})
    assert list(pairs) == [("a", "b")]


def test_a_black_dial_is_no_grey_copy_of_a_blue_one(tmp_path: Path) -> None:
    pictures = {"black": watch("#181818"), "blue": watch("#28389a")}
    assert found(tmp_path, pictures) == {}
    pairs = found(tmp_path / "more", {"a": pictures["blue"], "b": as_jpeg(pictures["blue"], 80)})
    assert pairs["a", "b"] > 0.95
    grey = pictures["blue"].convert("L").convert("RGB")
    assert list(found(tmp_path / "grey", {"a": pictures["blue"], "b": as_jpeg(grey)})) == [
        ("a", "b")
    ]


def test_blocks_do_not_change_what_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = {
        f"{n}{part}": as_jpeg(scene(n), 90 - 20 * part) for n in range(4) for part in (0, 1)
    }
    photos = listed(tmp_path, pictures)
    known = signatures(photos)
    expected = near_duplicates(photos, known)
    assert len(expected) == 4
    monkeypatch.setattr(duplicates, "_ROWS", 3)
    monkeypatch.setattr(duplicates, "_CHUNK", 1)
    assert [(p.a, p.b) for p in near_duplicates(photos, known)] == [(p.a, p.b) for p in expected]


def test_only_near_layouts_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = listed(tmp_path, {f"{n}": as_jpeg(scene(0), 40 + n) for n in range(12)})
    known = signatures(photos)
    assert len(near_duplicates(photos, known)) >= 12 * 8 / 2
    monkeypatch.setattr(duplicates, "_NEIGHBOURS", 1)
    assert len(near_duplicates(photos, known)) <= 12


def test_the_order_of_photos_does_not_matter(tmp_path: Path) -> None:
    pictures = {
        f"{n}{part}": as_jpeg(scene(n), 90 - 20 * part) for n in range(6) for part in (0, 1)
    }
    photos = listed(tmp_path, pictures)
    expected = near_duplicates(photos, signatures(photos))
    assert len(expected) == 6
    assert all(pair.a < pair.b for pair in expected)
    assert list(expected) == sorted(expected, key=lambda pair: pair.a)
    random.Random(0).shuffle(photos)
    assert near_duplicates(photos, signatures(photos)) == expected


def test_only_the_photos_given_are_compared(tmp_path: Path) -> None:
    photos = listed(tmp_path, {"a": scene(0), "b": as_jpeg(scene(0)), "c": scene(1)})
    known = signatures(photos)
    assert near_duplicates(photos[::2], known) == ()
    assert len(near_duplicates(photos[:2], known)) == 1


def test_the_threshold_is_kept(tmp_path: Path) -> None:
    photos = listed(tmp_path, {"a": scene(0), "b": as_jpeg(marked(scene(0)))})
    known = signatures(photos)
    (pair,) = near_duplicates(photos, known)
    assert near_duplicates(photos, known, similar=pair.similarity + 0.01) == ()
    assert near_duplicates(photos, known, similar=pair.similarity - 0.01) == (pair,)


def test_known_signatures_are_not_made_again(tmp_path: Path) -> None:
    photos = listed(tmp_path, {"a": scene(0), "b": scene(1), "c": scene(2)})
    known = signatures(photos[:2])
    marked_rows = replace(known, luma=np.full_like(known.luma, 7))
    made: list[int] = []
    both = signatures(photos, marked_rows, lambda _, done, total: made.append(total))
    assert set(made) == {1}
    assert both.keys == tuple(sorted(p.sha256 for p in photos))
    old = [both.keys.index(p.sha256) for p in photos[:2]]
    assert (both.luma[old] == 7).all()
    assert np.array_equal(signatures(photos[1:], known).luma, signatures(photos[1:]).luma)


def test_signatures_as_a_file(tmp_path: Path) -> None:
    photos = listed(tmp_path / "photos", {"a": scene(0), "b": scene(1)})
    made, file = signatures(photos), tmp_path / "signatures.safetensors"
    assert Signatures.read(file) is None
    file.write_bytes(b"".join(made.parts()))
    again = Signatures.read(file)
    assert again is not None
    assert again.keys == made.keys
    for name in ("luma", "colour", "layout"):
        assert np.array_equal(getattr(again, name), getattr(made, name))
    file.write_bytes(b"".join(made.parts())[:-5])
    assert Signatures.read(file) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("version", "0"), ("keys", '["b", "a"]'), ("keys", '["a"]'), ("keys", "{"), ("keys", "5")],
)
def test_an_old_or_odd_file_is_made_again(tmp_path: Path, name: str, value: str) -> None:
    luma, colour = (np.stack([half, half]) for half in signature_of(np.asarray(scene(0))))
    arrays = {"luma": luma, "colour": colour, "layout": layouts(luma)}
    file = tmp_path / "signatures.safetensors"
    meta = {"version": str(VERSION), "keys": '["a", "b"]'}
    save_file(arrays, file, meta)
    assert Signatures.read(file) is not None
    save_file(load_file(file), file, meta | {name: value})
    assert Signatures.read(file) is None


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_layout_does_not_depend_on_its_neighbours(count: int) -> None:
    luma = np.stack([np.asarray(scene(n).convert("L").resize((128, 128))) for n in range(6)])
    assert layouts(luma[:count]).shape == (count, LENGTH)
    assert np.array_equal(layouts(luma[:count]), layouts(luma)[:count])
    assert np.linalg.norm(layouts(luma).astype(float), axis=1) == pytest.approx(
        np.ones(6), abs=1e-3
    )


def test_the_layout_of_nothing_is_nothing() -> None:
    assert not layouts(np.full((1, 128, 128), 77, np.uint8)).any()


def test_a_shift_and_a_scale_are_found() -> None:
    whole = np.asarray(scene(0).convert("L").resize((128, 128))).astype(np.float32)[None]
    truth = np.array([[0.9, 0.05, 0.95, -0.03]], np.float32)
    part, inside = warp(whole, truth)
    assert inside.all()
    placed = refine(normalise_contrast(part), normalise_contrast(whole), unmoved(1), 30)
    assert placed == pytest.approx(truth, abs=0.005)
    assert agreement(part, whole, placed).agreeing > 0.98
    assert agreement(part, whole, unmoved(1)).agreeing < 0.5


def test_outside_there_is_nothing() -> None:
    white = np.full((1, 8, 8), 255, np.float32)
    _, inside = warp(white, np.array([[1, 0.5, 1, 0]], np.float32))
    assert inside[0, 0].tolist() == [True] * 6 + [False] * 2
