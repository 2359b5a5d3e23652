"""Everything that reads a file from elsewhere, each with a small valid file to start from.

A reader may refuse a file with an error of :mod:`closeup.core.errors` and with nothing else.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from closeup.batch import Summary
from closeup.batch.asks import rows_of
from closeup.batch.files import Store
from closeup.batch.parts import read_parts, settle
from closeup.batch.run import read_about
from closeup.batch.source import list_source
from closeup.batch.worker import PARTS, encode_part
from closeup.cli.history import table
from closeup.collect.lists import read_addresses
from closeup.collect.record import COLLECTED_FILE, LOG_FILE, Collected, Log, Status, read_collected
from closeup.collect.robots import parse as parse_robots
from closeup.collect.sources import search
from closeup.core.config import resolve
from closeup.core.project import Project, encode_table, read_table
from closeup.core.serialization import to_json
from closeup.core.types import (
    Box,
    Crop,
    CropState,
    Detection,
    Example,
    Photo,
    PhotoState,
    Result,
    Rights,
)
from closeup.dataset.duplicates import Signatures
from closeup.dataset.kept import Place, read_split
from closeup.decisions.log import Decisions
from closeup.detect.scouting import Scouted
from closeup.evaluate.against import Answered, Comparison
from closeup.evaluate.bootstrap import Interval
from closeup.evaluate.scores import Difference
from closeup.learn.embed import Embeddings
from closeup.model.history import Changes, Named, Training, read_history
from closeup.model.model import load_model
from closeup.model.prediction import Prediction
from closeup.model.video import Film
from closeup.networks import load, ready
from closeup.networks.catalogue import catalogue
from closeup.networks.engine import read_signature
from closeup.networks.layouts import read_json
from closeup.photos.films import recordings
from closeup.photos.origins import Origins
from closeup.photos.reading import read_photo
from closeup.photos.tables import listed_photos
from closeup.photos.tables import read_table as read_list
from closeup.pipeline import restored_config
from closeup.pipeline.scouting import read_scouted
from closeup.pipeline.suggested import Suggested, read_corrected, read_suggested
from closeup.pipeline.written_boxes import BOXES_FILE, read_boxes_file
from closeup.web.serve.uploads import photo_in_json
from tests.collecting import BY, failed, saved, write_collected
from tests.corpus.encode import encode, exif, plain, smooth, with_exif
from tests.detect.reading import read_boxes
from tests.networks.ready_graphs import D_FINE_INPUT, DINO_INPUT
from tests.photos.test_kinds import dng

FIXTURE = Path(__file__).parent.parent / "fixtures" / "format-1"
_MODEL = FIXTURE / "project" / "model"
_PHOTO = Photo("a-1", "/p", "x/a.jpg", "x", "", "", PhotoState.READABLE, "", "", 64, 48, 9, 9, "h")
_CROP = Crop("a-1", "a-1", "x", CropState.CROPPED, "", False, Box(1, 2, 9, 9), Box(0, 0, 10, 10),
             10, "clock", 0.5, "crops/x/a-1.jpg")  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """`read` takes a new folder and a file's bytes, of which `seeds` are valid ones."""

    name: str
    seeds: tuple[bytes, ...] = field(repr=False)
    read: Callable[[Path, bytes], object]


def _labels() -> bytes:
    return json.dumps({"id2label": {str(n): f"thing {n}" for n in range(80)}}).encode()


def _categories(file: Path) -> object:
    return ready.categories(catalogue()["d-fine-n"], read_json(file))


def _preprocessor(name: str, file: Path) -> None:
    ready.compare_input(catalogue()[name], read_json(file))


def _file(name: str, read: Callable[[Path], object], folder: Path, data: bytes) -> object:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return read(file)


def _folder(name: str, read: Callable[[Path], object], folder: Path, data: bytes) -> object:
    return _file(name, lambda _: read(folder), folder, data)


def _model(name: str, folder: Path, data: bytes) -> object:
    """A model with one file replaced, and the card's hash of it with it, as a forger would."""
    model = folder / "model"
    shutil.copytree(_MODEL, model, dirs_exist_ok=True)
    (model / name).write_bytes(data)
    if name != "model.json":
        card = json.loads((_MODEL / "model.json").read_text())
        card["files"][name] = hashlib.sha256(data).hexdigest()
        if name.endswith("graph.onnx"):
            inner = json.loads((_MODEL / name).with_name("card.json").read_text())
            inner |= {"bytes": len(data) or 1, "sha256": card["files"][name]}
            text = json.dumps(inner).encode()
            (model / name).with_name("card.json").write_bytes(text)
            card["files"][name.replace("graph.onnx", "card.json")] = hashlib.sha256(
                text
            ).hexdigest()
        (model / "model.json").write_text(json.dumps(card))
    return load_model(model)


def _decisions(folder: Path, data: bytes) -> object:
    (folder / "decisions.sqlite").write_bytes(data)
    log = Decisions(folder)
    try:
        return log.rows()
    finally:
        log.close()


def _split(folder: Path, data: bytes) -> object:
    (folder / "closeup.toml").touch()
    (folder / "split.parquet").write_bytes(data)
    return read_split(Project(folder))


def _split_seed() -> bytes:
    places = [Place("0a", "train", 0), Place("0b", "test", -1)]
    return encode_table(
        Place, places, "k", {"draw": {"seed": 0, "own_test": False}, "notes": {"k": ["moved"]}}
    )


def _suggested(folder: Path, data: bytes) -> object:
    (folder / "closeup.toml").touch()
    (folder / "suggested.parquet").write_bytes(data)
    return read_suggested(Project(folder))


def _corrected(folder: Path, data: bytes) -> object:
    (folder / "closeup.toml").touch()
    return _file("corrected/a-0b.json", lambda _: read_corrected(Project(folder)), folder, data)


_SUGGESTED = Suggested("a-0b", "a.jpg", 64, 48, 9, 1, "0b", True, "clock", 0.5, Box(1, 2, 9, 8),
                       "rolex", 0.4, "not confident", 0.01, 0)  # fmt: skip


def _suggested_seed() -> bytes:
    return encode_table(Suggested, [_SUGGESTED], "k", {})


def _scouted(folder: Path, data: bytes) -> object:
    shutil.copy(FIXTURE / "project" / "closeup.toml", folder)
    (folder / "scouted.json").write_bytes(data)
    project = Project(folder)
    return read_scouted(project, project.config())


_DRAWN = {
    "info": {"network": "grounding-dino", "weights": "ab", "words": ["compass"]},
    "images": [{"id": 1, "file_name": "x/a.jpg", "width": 64, "height": 48, "sha256": "cd"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 8, 7.5], "score": 0.5}
    ],
    "categories": [{"id": 1, "name": "compass"}],
}


def _drawn(folder: Path, data: bytes) -> object:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "closeup.toml").touch()
    (folder / BOXES_FILE).write_bytes(data)
    return read_boxes_file(Project(folder).read_json(BOXES_FILE))


def _film(folder: Path, data: bytes) -> object:
    """A film from elsewhere, as far as it goes."""
    (folder / "a.mkv").write_bytes(data)
    with Film(str(folder / "a.mkv")) as film:
        return [still.picture.size for still in film.stills(5)]


def _films() -> tuple[bytes, ...]:
    """A film to start from, none where PyAV is not installed."""
    if find_spec("av") is None:
        return ()
    from tests.model.films import write_film

    with tempfile.TemporaryDirectory() as folder:
        return (write_film(Path(folder, "a.mkv"), [smooth()], 0.5).read_bytes(),)


def _history(folder: Path, data: bytes) -> object:
    """An entry from elsewhere: read, printed, and its options taken."""
    shutil.copy(FIXTURE / "project" / "closeup.toml", folder)
    entry = folder / "history" / "1"
    entry.mkdir(parents=True)
    (entry / "training.json").write_bytes(data)
    shutil.copy(_MODEL / "model.json", entry)
    (folder / "history" / "files").mkdir()
    for sha in json.loads((entry / "model.json").read_text())["files"].values():
        (folder / "history" / "files" / sha).touch()
    found = read_history(Project(folder))
    lines = table(found) if found.trainings else []
    return lines, found.to_json(), restored_config(folder, 1)


def _training() -> bytes:
    score = Interval(0.5, 0.4, 0.6)
    gap = Difference(0.5, 0.6, Interval(0.1, -0.1, 0.2))
    changes = Changes({"train.head": ("ridge", "mlp")}, {"reject": (0, 1)}, Named(1, ("x/a.jpg",)))
    return json.dumps(to_json(Training(
        1, "2026-01-01T00:00:00+00:00", "0.1.0", "k", "m", {"train": {"head": ["ridge"]}},
        {"reject": 1}, changes, 9, 3, score, score, score, 1.5, "s", False, True, 1,
        Comparison(1, 3, gap, 1, gap, 9, gap), True, "the first training",
    ))).encode()  # fmt: skip


_OPEN_DATA = {
    "taxa": b"taxon_id\tancestry\tname\tactive\n1\t\tApis\ttrue\n2\t1\tApis mellifera\ttrue\n",
    "observations": b"observation_uuid\ttaxon_id\tquality_grade\nu1\t2\tresearch\n",
    "photos": b"photo_id\tobservation_uuid\tobserver_id\textension\tlicense\twidth\theight\n"
              b"9\tu1\t7\tjpg\tCC-BY\t2048\t1536\n",
    "observers": b"observer_id\tlogin\tname\n7\tjo\tJo Berg\n",
}  # fmt: skip


def _open_data(table: str, folder: Path, data: bytes) -> object:
    for name, content in (_OPEN_DATA | {table: data}).items():
        (folder / f"{name}.csv").write_bytes(content)
    found = search("inaturalist", "Apis", label="a", count=9, contact="a@b.cc", folder=folder)
    return list(found)


def _network(folder: Path, data: bytes) -> object:
    shutil.copy(_MODEL / "backbone" / "graph.onnx", folder)
    (folder / "card.json").write_bytes(data)
    return load(folder)


def _embeddings() -> bytes:
    return Embeddings(("h:0,0,9,9:9",), np.ones((1, 4), np.float32)).to_bytes()


def _parts(folder: Path) -> object:
    parts = read_parts(Store(str(folder)))
    return parts.done(), parts.counts()


def _part() -> bytes:
    rows = rows_of([Prediction("a", False, (), "io_error", "why")])
    return encode_part(rows, [b"/a"], [b"0" * 16])


def _manifest() -> bytes:
    with TemporaryDirectory() as folder:
        store = Store(folder)
        store.write(f"{PARTS}/00001-ab.parquet", _part())
        settle(store, read_parts(store))
        return store.read("manifest.parquet") or b""


_ABOUT = {"format": 1, "model": "k", "always": False}


def _about() -> bytes:
    last = to_json(Summary(1, 9, 9, 0, 0, 9, {"x": 9}))
    return json.dumps({**_ABOUT, "last": last}).encode()


def _read_about(folder: Path) -> object:
    return read_about(Store(str(folder)), _ABOUT)


_GOT = Collected("http://a.test/1.jpg", "x", *[""] * 9, Status.SAVED, 200, "", "allowed",
                 "2026-01-01T00:00:00+00:00", "ab", 9, "image/jpeg", 3, 2,
                 "x/ab.jpg", 1)  # fmt: skip
_SCOUTED = Scouted(("clock",), "d-fine-n", 200, 1951, 0.9, ("a warning",))
_COCO = {
    "images": [{"id": 1, "file_name": "x/a.jpg", "width": 64, "height": 48}],
    "annotations": [{"id": 1, "image_id": 1, "bbox": [1, 2, 9, 9], "category_id": 3}],
    "categories": [{"id": 3, "name": "clock"}],
}
_REGION = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 30,
           "rectanglelabels": ["clock"]}  # fmt: skip
_SEEN = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.2, 0.3, 0.4], "label": "clock"}
_JSON: Mapping[str, object] = {
    "label-studio": [{"id": 1, "data": {"image": "/data/local-files/?d=x/a.jpg"}, "annotations": [
        {"result": [{"id": "r", "original_width": 64, "original_height": 48, "value": _REGION},
                    {"id": "r", "value": {"choices": ["steel"]}},
                    {"value": {"points": [[1, 2], [9, 2], [9, 8]], "polygonlabels": ["x"]}}]}]}],
    "label-studio-minimal": [{"image": "x/a.jpg", "label": [
        {**_REGION, "original_width": 64, "original_height": 48}]}],
    "megadetector": {"images": [{"file": "x/a.jpg", "detections": [_SEEN]}],
                     "detection_categories": {"1": "clock"}},
    "speciesnet": {"predictions": [{"filepath": "x/a.jpg", "detections": [_SEEN]}]},
}  # fmt: skip
_VOC = (b"<annotation><filename>a.jpg</filename><size><width>64</width><height>48</height></size>"
        b"<object><name>clock</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax>"
        b"<ymax>9</ymax></bndbox></object></annotation>")  # fmt: skip
_TABLES: Mapping[type, list[object]] = {
    Photo: [_PHOTO], Crop: [_CROP], Detection: [Detection("a-1", 0, "clock", 0.5, Box(1, 2, 3, 4))],
    Example: [Example("a-1", "a-1", "x", "g", "train", True, "")],
    Result: [Result("a-1", "a-1", "x", "y", 0.5, True)],
    Answered: [Answered("h", "x/a.jpg", Box(1, 2, 9, 9), "x", "g", "test", "y")],
    Rights: [Rights("a-1", "CC BY 4.0", "", "Ada", "", "", "", "", "https://a.example/1")],
}  # fmt: skip


@cache
def readers() -> tuple[Reader, ...]:
    """All of them; the seeds are made when first asked for."""
    boxes = partial(read_boxes, photos=[_PHOTO])
    pictures = tuple(map(plain, ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")))
    odd = tuple(encode(smooth(), kind) for kind in ("MPO", "JPEG2000", "TGA", "QOI", "ICO", "AVIF"))
    rotated = with_exif(plain("JPEG"), exif(6))
    project = FIXTURE / "project"
    lists = io.BytesIO()
    _write_list(lists)
    return (
        Reader("photo", (*pictures, *odd, rotated, dng(1024)), lambda _, data: read_photo(data)),
        Reader("list", (b"path,label,group\nx/a.jpg,x,\n", b'path;label\n"a;b";"c""d"\n'),
               partial(_file, "a.csv", partial(read_list, required=("path", "label")))),
        Reader("list-lines", (b'{"file_name": "x/a.jpg", "label": "x"}\n',),
               partial(_listed, "a.jsonl")),
        Reader("list-photos", (b"sep=;\nimage;class;split\nx\\a.jpg;x;val\n",
                               b"photo,label,found,parent,confidence,reason,error_code\n"
                               b"x/a.jpg,x,,,,,\n"),
               partial(_listed, "a.csv")),
        Reader("list-parquet", (lists.getvalue(),),
               partial(_file, "a.parquet", partial(read_list, required=("path", "label")))),
        Reader("origins", (_collected_seed(),), partial(_file, COLLECTED_FILE, _origins)),
        Reader("addresses", (b"url,label,licence\nhttp://a.test/1.jpg,x,by\n",),
               partial(_file, "a.csv", read_addresses)),
        Reader("addresses-text", (b"# mine\nhttp://a.test/1.jpg x\n",),
               partial(_file, "a.txt", read_addresses)),
        Reader("collected", (encode_table(Collected, [_GOT], "", {}),),
               partial(_folder, COLLECTED_FILE, read_collected)),
        Reader("collecting", (json.dumps(to_json(_GOT)).encode() + b"\n",),
               partial(_folder, LOG_FILE, lambda folder: Log(folder).read())),
        Reader("robots", (b"User-agent: *\nDisallow: /a*b$\nCrawl-delay: 2\n",),
               lambda _, data: parse_robots(data.decode(errors="replace")).allows("/a")),
        Reader("frames", (b"path,label,group,film,seconds\nx/a.jpg,x,a,a.mp4,0\n",),
               partial(_file, "frames.csv", lambda file: recordings(file.parent))),
        *(Reader("film", (film,), _film) for film in _films()),
        Reader("boxes-coco", (json.dumps(_COCO).encode(),), partial(_file, "a.json", boxes)),
        Reader("boxes-drawn", (json.dumps(_DRAWN).encode(),), _drawn),
        Reader("boxes-csv", (b"path,x1,y1,x2,y2,category,score\nx/a.jpg,1,2,9,9,clock,0.5\n",),
               partial(_file, "a.csv", boxes)),
        Reader("boxes-yolo", (b"0 0.5 0.5 0.2 0.2 0.9\n", b"0 0.1 0.1 0.2 0.2 0.3 0.1\n"),
               partial(_folder, "x/a.txt", boxes)),
        Reader("boxes-voc", (_VOC, _VOC.replace(b"bndbox", b"polygon").replace(
                   b"</ymax>", b"</ymax><x3>5</x3><y3>12</y3>")),
               partial(_folder, "x/a.xml", boxes)),
        Reader("boxes-voc-file", (_VOC,), partial(_file, "x/a.xml", boxes)),
        *(Reader(f"boxes-{name}", (json.dumps(content).encode(),), partial(_file, "a.json", boxes))
          for name, content in _JSON.items()),
        Reader("boxes-yolo-names", (b"names: [clock, watch]\n", b"names:\n  0: clock\n"),
               partial(_yolo_names, boxes)),
        Reader("configuration", ((project / "closeup.toml").read_bytes(),),
               partial(_file, "closeup.toml", partial(resolve, {}))),
        *(Reader(f"table-{row.__name__.lower()}", (encode_table(row, rows, "k", {"a": [1]}),),
                 partial(_file, "a.parquet", partial(read_table, row=row)))
          for row, rows in _TABLES.items()),
        Reader("split", (_split_seed(),), _split),
        Reader("suggested", (_suggested_seed(),), _suggested),
        Reader("corrected", (json.dumps(to_json(_SUGGESTED)).encode(),), _corrected),
        Reader("photo-in-json", (b'{"image": "aGVsbG8="}',
                                 b'{"image": "data:image/png;base64,aGVs\\nbG8="}'),
               lambda _, data: photo_in_json(data)),
        Reader("batch-part", (_part(),), partial(_folder, f"{PARTS}/00001-ab.parquet", _parts)),
        Reader("batch-manifest", (_manifest(),), partial(_folder, "manifest.parquet", _parts)),
        Reader("batch-about", (_about(),), partial(_folder, "batch.json", _read_about)),
        Reader("batch-list", (lists.getvalue(),),
               partial(_file, "a.parquet", lambda file: list(list_source(str(file))))),
        Reader("decisions", ((project / "decisions.sqlite").read_bytes(),), _decisions),
        Reader("embeddings", (_embeddings(),), partial(_file, "e", Embeddings.read)),
        Reader("signatures", (_embeddings(),), partial(_file, "s", Signatures.read)),
        Reader("history", (_training(),), _history),
        *(Reader(f"inaturalist-{table}", (seed,), partial(_open_data, table))
          for table, seed in _OPEN_DATA.items()),
        Reader("hub-config", (_labels(),), partial(_file, "config.json", _categories)),
        *(Reader(f"hub-{name}", (json.dumps(wants).encode(),),
                 partial(_file, "p.json", partial(_preprocessor, name)))
          for name, wants in (("d-fine-n", D_FINE_INPUT), ("dinov2-s", DINO_INPUT))),
        Reader("scouted", (json.dumps(to_json(_SCOUTED)).encode(),), _scouted),
        Reader("network-card", ((_MODEL / "backbone" / "card.json").read_bytes(),), _network),
        Reader("onnx", ((_MODEL / "backbone" / "graph.onnx").read_bytes(),
                        (_MODEL / "detector" / "graph.onnx").read_bytes()),
               partial(_file, "a.onnx", read_signature)),
        *(Reader(f"model-{Path(name).name}", ((_MODEL / name).read_bytes(),), partial(_model, name))
          for name in ("model.json", "head.safetensors", "unknown.safetensors",
                       "backbone/graph.onnx", "detector/card.json")),
    )  # fmt: skip


def _origins(file: Path) -> object:
    """What is known of a collected photo, by its place and by its content."""
    (file.parent / "x").mkdir(exist_ok=True)
    for name in ("a.jpg", "b.jpg"):
        (file.parent / "x" / name).write_bytes(b"photo")
    origins = Origins.beside([file])
    return [origins.of(file.parent / "x" / name) for name in ("a.jpg", "b.jpg")]


def _collected_seed() -> bytes:
    with TemporaryDirectory() as folder:
        photo = Path(folder, "x", "a.jpg")
        photo.parent.mkdir()
        photo.write_bytes(b"photo")
        rows = [saved(photo, Path(folder), **BY, group="g"), failed("https://a.example/gone")]
        return write_collected(Path(folder), rows).read_bytes()


def _yolo_names(boxes: Callable[[Path], object], folder: Path, data: bytes) -> object:
    (folder / "a.txt").write_bytes(b"0 0.5 0.5 0.2 0.2\n")
    return _folder("data.yaml", boxes, folder, data)


def _listed(name: str, folder: Path, data: bytes) -> object:
    (folder / "x").mkdir(exist_ok=True)
    (folder / "x" / "a.jpg").touch()
    return _file(name, listed_photos, folder, data)


def _write_list(stream: io.BytesIO) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"path": ["x/a.jpg"], "label": ["x"]}), stream)
