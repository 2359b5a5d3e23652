"""Films: one answer an object, tables with times, drawn films, and frames to train on."""

from __future__ import annotations

import csv
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import closeup
from closeup.core.config import PhotosConfig
from closeup.core.errors import PhotosError, UsageError
from closeup.core.project import Project
from closeup.core.types import Example, Photo
from closeup.demo.photos import MAKERS
from closeup.model.tracks import TRACK_COLUMNS
from closeup.model.video import Film, Still, follow, is_drawn_film
from closeup.photos.films import FRAMES_TABLE, is_film, recordings
from closeup.photos.listing import collect
from tests import commands, tiny
from tests.model.films import RATE, write_film

av = pytest.importorskip("av", reason="PyAV is not installed (closeup[video])")


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the tiny networks, and a film that shows an ash, nothing, and a cedar."""
    folder = tmp_path_factory.mktemp("video")
    tiny.make_project(folder)
    photos = [Image.open(folder / "photos" / name / "1.png") for name in ("ash", "cedar")]
    write_film(folder / "clip.mp4", [photos[0], None, photos[1]])
    return folder


@pytest.fixture(scope="module")
def model(base: Path) -> closeup.Model:
    return closeup.load(base / "out" / "model")


def test_each_object_has_one_answer_with_its_times(base: Path, model: closeup.Model) -> None:
    with Film(str(base / "clip.mp4")) as film:
        assert film.seconds == pytest.approx(6, abs=0.2)
        first, second = follow(model, film, fps=5)
        assert film.damaged == 0
    assert (first.label, second.label) == ("ash", "cedar")
    assert (first.start, second.start) == pytest.approx((0, 4), abs=0.25)
    assert (first.end, second.end) == pytest.approx((1.8, 5.8), abs=0.25)
    assert (len(first.sightings), first.votes, first.reason) == (10, 10, "")


@pytest.mark.parametrize(("fps", "expected"), [(0, 60), (5, 30), (3, 18), (0.5, 3), (100, 60)])
def test_frames_come_at_the_rate_that_is_asked_for(base: Path, fps: float, expected: int) -> None:
    with Film(str(base / "clip.mp4")) as film:
        times = [still.time for still in film.stills(fps)]
    assert len(times) == expected
    assert times == sorted(set(times))
    with Film(str(base / "clip.mp4")) as film:
        assert [still.time for still in film.stills(fps, 2)] == [t for t in times if t < 2]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_phones_film_is_upright(tmp_path: Path, degrees: int) -> None:
    """FFmpeg's display matrix says by how much a player has to turn it."""
    picture = Image.new("RGB", (128, 96), "red")
    picture.paste("blue", (0, 0, 128, 30))
    file = write_film(tmp_path / "plain.mp4", [picture], 0.5)
    data = bytearray(file.read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # the matrix of the track's header, version 0
    one = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    for n, value in zip((0, 4, 12, 16), one, strict=True):
        data[place + n : place + n + 4] = (value << 16 & 0xFFFFFFFF).to_bytes(4, "big")
    (tmp_path / "turned.mp4").write_bytes(data)
    with Film(str(tmp_path / "turned.mp4")) as film:
        still = next(film.stills(0))
    pixels = still.picture.pixels().astype(int)
    blue = {90: pixels[:, -8:], 180: pixels[-8:], 270: pixels[:, :8]}[degrees]  # clockwise
    assert pixels.shape[:2] == ((96, 128) if degrees == 180 else (128, 96))
    assert (blue[..., 2] > blue[..., 0] + 100).all()


# What is no film


def test_what_is_a_film() -> None:
    yes = ["a.mp4", "A.MOV", "rtsp://cam/1", "http://cam/stream", "/dev/video1", "x/y.webm"]
    no = ["a.jpg", "https://e.org/a.jpg", "/dev/null", "a", "rtsp.png"]
    assert all(map(is_film, yes))
    assert not any(map(is_film, no))


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("gone.mp4", None, "cannot be opened as a film: No such file"),
        ("empty.mp4", b"", "cannot be opened as a film"),
        ("text.mp4", b"hello" * 99, "cannot be opened as a film: Invalid data"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n", "cannot be opened"),
        ("concat.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n", "cannot be opened"),
    ],
)
def test_what_is_no_film_is_an_error_and_a_row(
    base: Path, tmp_path: Path, name: str, data: bytes | None, words: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(PhotosError, match=words):
        Film(str(tmp_path / name))
    table = tmp_path / "t.csv"
    alone = commands.closeup("predict", base / "out" / "model", name, cwd=tmp_path)
    assert alone.returncode == 1
    both = commands.closeup("predict", base / "out" / "model", name, base / "clip.mp4",
                            "--csv", table, cwd=tmp_path)  # fmt: skip
    assert both.returncode == 0, both.stderr
    rows = rows_of(table)
    assert [row["label"] for row in rows] == ["ash", "cedar", ""]
    assert words.split(":", maxsplit=1)[0] in rows[2]["error"]


@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_a_film_that_breaks_off_is_answered_up_to_there(
    base: Path, model: closeup.Model, tmp_path: Path, share: float
) -> None:
    pictures = [Image.open(base / "photos" / "ash" / f"{n}.png") for n in range(5)]
    whole = write_film(tmp_path / "a.mkv", pictures, 1)
    data = whole.read_bytes()
    cut = round(len(data) * share)
    (tmp_path / "cut.mkv").write_bytes(data[:cut])
    with Film(str(tmp_path / "cut.mkv")) as film:
        (track,) = follow(model, film, fps=5)
    assert track.label == "ash"
    assert 0.5 < track.end < 4
    (tmp_path / "hole.mkv").write_bytes(data[:cut] + b"\0" * 300 + data[cut + 300 :])
    with Film(str(tmp_path / "hole.mkv")) as film:
        assert {track.label for track in follow(model, film, fps=5)} == {"ash"}


# The command line


def test_predict_of_a_film_writes_tables_and_a_drawn_film(base: Path, tmp_path: Path) -> None:
    done = commands.closeup(
        "predict", base / "out" / "model", base / "clip.mp4", "--fps", "4", "--csv",
        tmp_path / "a.csv", "--parquet", tmp_path / "a.parquet", "--draw", tmp_path / "drawn",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "8 of 8" in done.stdout
    rows = rows_of(tmp_path / "a.csv")
    assert tuple(rows[0]) == TRACK_COLUMNS
    assert [(row["label"], row["frames"]) for row in rows] == [("ash", "8"), ("cedar", "8")]
    table = pq.read_table(tmp_path / "a.parquet")
    assert tuple(table.column_names) == TRACK_COLUMNS
    assert table["start"].to_pylist() == [float(row["start"]) for row in rows]
    drawn = tmp_path / "drawn" / "clip.mp4"
    assert is_drawn_film(drawn)
    assert [file.name for file in drawn.parent.iterdir()] == ["clip.mp4"]
    with Film(str(drawn)) as film, Film(str(base / "clip.mp4")) as original:
        stills = list(zip(film.stills(0), original.stills(4), strict=True))
    assert len(stills) == 24
    for made, still in stills:
        assert made.time == pytest.approx(still.time, abs=0.02)
    difference = np.abs(stills[4][0].picture.pixels().astype(int) - stills[4][1].picture.pixels())
    assert difference.max() > 100  # the box
    again = commands.closeup("predict", base / "out" / "model", base / "clip.mp4", "--json",
                             "--csv", tmp_path / "a.csv", "--draw", tmp_path / "drawn")  # fmt: skip
    assert again.returncode == 0, again.stderr
    told = [json.loads(line) for line in again.stdout.splitlines()]
    assert [one["label"] for one in told] == ["ash", "cedar"]


def test_what_is_not_ours_is_not_replaced(base: Path, tmp_path: Path) -> None:
    model = base / "out" / "model"
    clip = shutil.copy(base / "clip.mp4", tmp_path / "clip.mp4")
    mine = shutil.copy(base / "clip.mp4", tmp_path / "out.mp4")
    before = {file: file.read_bytes() for file in map(Path, (clip, mine))}
    (tmp_path / "mine").mkdir()
    shutil.copy(mine, tmp_path / "mine" / "clip.mp4")
    (tmp_path / "t.csv").write_text("a,b\n")
    for words in (["--draw", tmp_path], ["--draw", tmp_path / "mine"], ["--csv", mine],
                  ["--csv", clip, "--overwrite"], ["--csv", "-"],
                  ["--csv", tmp_path / "t.csv"], ["other.jpg"]):  # fmt: skip
        done = commands.closeup("predict", model, clip, *words, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
    assert {file: file.read_bytes() for file in before} == before


def test_without_pyav_a_sentence_says_what_to_install(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(UsageError, match=r"films need PyAV: pip install -e '.\[video\]'"):
        Film(str(base / "clip.mp4"))


# Streams


@contextmanager
def camera(data: bytes, times: int) -> Iterator[str]:
    """A stream without an end that is known, over the loopback."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            for _ in range(times):
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/live"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_stream_is_looked_at_where_it_is(base: Path, model: closeup.Model) -> None:
    picture = Image.open(base / "photos" / "ash" / "1.png")
    film = write_film(base / "stream.ts", [picture], 20)
    with camera(film.read_bytes(), 1) as url, Film(url) as stream:
        assert stream.live
        times = []
        tracks = list(
            follow(model, stream, fps=RATE, seen=lambda still, _: times.append(still.time))
        )
    assert tracks
    assert times == sorted(set(times)), times
    assert len(times) < 20 * RATE  # it was sent all at once: frames were left out


def test_ctrl_c_ends_a_stream_like_a_film(base: Path, model: closeup.Model) -> None:
    film = write_film(base / "stream.ts", [Image.open(base / "photos" / "ash" / "1.png")], 20)
    frames: list[float] = []

    def seen(still: Still, _: object) -> None:
        frames.append(still.time)
        if len(frames) == 4:
            raise KeyboardInterrupt

    with camera(film.read_bytes(), 50) as url, Film(url) as stream:
        tracks = list(follow(model, stream, fps=RATE, seen=seen))
    assert sum(len(track.sightings) for track in tracks) == 4
    frames.clear()
    with Film(str(base / "clip.mp4")) as whole, pytest.raises(KeyboardInterrupt):
        list(follow(model, whole, fps=RATE, seen=seen))


def test_a_stream_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(PhotosError, match="cannot be opened as a film: Connection refused"):
        Film("rtsp://127.0.0.1:9/1")


# Frames to train on


@pytest.fixture(scope="module")
def films(base: Path) -> Path:
    """Six films of each label, as people keep them."""
    for label in ("ash", "birch", "cedar"):
        for n in range(6):
            picture = Image.open(base / "photos" / label / f"{n}.png")
            write_film(base / "films" / label / f"IMG_{n}.mp4", [picture], 2)
    (base / "films" / "ash" / "broken.mp4").write_bytes(b"no film")
    return base / "films"


def test_no_recording_stands_on_two_sides(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "photos"
    done = commands.closeup("frames", films, "--out", out, "--every", "500ms", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["labels"] == {"ash": 24, "birch": 24, "cedar": 24}
    assert told["films"] == 18
    assert [Path(name).name for name in told["failed"]] == ["broken.mp4"]
    tiny.make_cache(tmp_path / "cache", monkeypatch)
    closeup.run(out, out=tmp_path / "project", preset="quick", **tiny.TINY)
    project = Project(tmp_path / "project")
    photos, rows = project.read("photos", Photo), project.read("dataset", Example)
    assert photos is not None
    assert rows is not None
    group = {photo.id: photo.group for photo in photos.rows}
    assert len(set(group.values())) == 18
    sides = {(group[row.photo_id], row.split) for row in rows.rows if row.split}
    assert {side for _, side in sides} == {"train", "test"}
    assert len(sides) == 18


def test_frames_stay_known_when_they_are_moved(films: Path, tmp_path: Path) -> None:
    out = tmp_path / "photos"
    commands.closeup("frames", films / "ash" / "IMG_1.mp4", films / "birch" / "IMG_1.mp4",
                     "--label", "tree", "--out", out)  # fmt: skip
    known = recordings(out)
    assert len(known) == 2  # one each: the films have the same name, but not the same frames
    assert len(set(known.values())) == 2
    (out / "other").mkdir()
    first = sorted((out / "tree").iterdir())[0]
    first.rename(out / "other" / first.name)
    found = collect(PhotosConfig(source=str(out)))
    assert {entry.path.split("/")[0]: entry.group for entry in found.entries} == {
        "other": known[first.name], "tree": known[sorted((out / "tree").iterdir())[0].name]
    }  # fmt: skip
    assert any("frames of 2 films" in note for note in found.notes)


def test_a_table_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / FRAMES_TABLE).write_text("frame,what\n1,2\n")
    assert recordings(tmp_path) == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--every", "0s"], "expected a time"),
        (["--every", "soon"], "expected a time"),
        (["--out", "full"], "not an empty folder"),
    ],
)
def test_what_frames_refuses(films: Path, tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").touch()
    done = commands.closeup("frames", films, "--out", "new", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_film_without_a_label_is_refused(base: Path, films: Path, tmp_path: Path) -> None:
    done = commands.closeup("frames", base / "clip.mp4", "--out", tmp_path / "new")
    assert done.returncode == 2
    assert "has no label" in done.stderr


def test_a_film_of_the_demos_photos(tmp_path: Path) -> None:
    """From their photos to a film of one, with the networks that ship with the package."""
    from closeup.demo.photos import copy_fresh_photo

    made = commands.closeup("demo", "--out", tmp_path / "demo")
    assert made.returncode == 0, made.stderr
    copy_fresh_photo(MAKERS[1], tmp_path / "fresh.jpg")
    with Image.open(tmp_path / "fresh.jpg") as photo:
        size = photo.size
        with av.open(str(tmp_path / "watch.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=RATE)
            stream.width, stream.height = (side - side % 2 for side in size)
            stream.bit_rate = 8_000_000
            for n in range(20):
                moved = Image.new("RGB", (stream.width, stream.height), "grey")
                moved.paste(photo, (n, n // 2))
                frame = av.VideoFrame.from_image(moved)
                frame.pts, frame.time_base = n, Fraction(1, RATE)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    done = commands.closeup("predict", tmp_path / "demo" / "watches" / "model",
                            tmp_path / "watch.mp4", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    (told,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (told["label"], told["frames"]) == (MAKERS[1], 10)
