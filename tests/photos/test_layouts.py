"""Layouts of folders and tables that people have: each gives the right rows or sentence."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from closeup.core.config import PhotosConfig
from closeup.core.errors import PhotosError
from closeup.core.types import PhotoState
from closeup.photos.listing import Collection, collect, list_photos
from tests.photos.test_kinds import dng

A, B = "a", "b"


@dataclass(frozen=True)
class Case:
    """A layout: its files, and what comes of it.

    - `files`: paths, ``{x,y}`` standing for several; a photo each, unless `text` has its content
    - `rows`: ``path -> label``, or ``path -> label | test``; ``(path, label, code)`` in `codes`
    - `refused`: a part of the message instead of rows
    - `notes`: parts of sentences that must be among the notes
    """

    name: str
    files: str
    rows: dict[str, str] = field(default_factory=dict)
    refused: str = ""
    notes: tuple[str, ...] = ()
    silent: bool = False
    text: dict[str, str | bytes] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    source: str = ""


def expanded(pattern: str) -> list[str]:
    """``a/{1,2}.jpg`` as two paths."""
    found = re.search(r"\{([^{}]*)\}", pattern)
    if not found:
        return [pattern]
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [one for word in found[1].split(",") for one in expanded(before + word + after)]


def make(root: Path, case: Case) -> None:
    for number, name in enumerate(p for word in case.files.split() for p in expanded(word)):
        file = root / name
        if name.endswith("/"):
            file.mkdir(parents=True)
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        colour = np.full((8, 8, 3), (number * 7 % 256, number // 37, 9), np.uint8)
        Image.fromarray(colour).save(file, "PNG")
    for name, content in case.text.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())


def listed(case: Case, root: Path) -> Collection:
    test = {"test": str(root / case.options["test"])} if "test" in case.options else {}
    return collect(PhotosConfig(source=str(root / case.source), **{**case.options, **test}))


def as_rows(found: Collection) -> dict[str, str]:
    return {e.path: f"{e.label} | {e.split}" if e.split else e.label for e in found.entries}


SPLIT = "the split is that of your folders"
FOLDERS = [
    Case("ImageFolder, one folder per label", "{rolex,omega}/{1,2}.jpg",
         {"omega/1.jpg": "omega", "omega/2.jpg": "omega", "rolex/1.jpg": "rolex",
          "rolex/2.jpg": "rolex"}, silent=True),
    Case("deeper folders below a label", "rolex/2020/summer/1.jpg omega/1.jpg",
         {"omega/1.jpg": "omega", "rolex/2020/summer/1.jpg": "rolex"}, silent=True),
    Case("torchvision, train and val", "{train,val}/{a,b}/1.jpg",
         {"train/a/1.jpg": A, "train/b/1.jpg": B, "val/a/1.jpg": A, "val/b/1.jpg": B},
         notes=("train/ and val/ are put together", "name it with --test")),
    Case("val as the test part", "{train,val}/{a,b}/1.jpg",
         {"train/a/1.jpg": A, "train/b/1.jpg": B, "a/1.jpg": "a | test", "b/1.jpg": "b | test"},
         options={"test": "val"}),
    Case("Keras, train, validation and test", "{train,validation,test}/{a,b}/1.jpg",
         {"train/a/1.jpg": A, "train/b/1.jpg": B, "validation/a/1.jpg": A,
          "validation/b/1.jpg": B, "test/a/1.jpg": "a | test", "test/b/1.jpg": "b | test"},
         notes=(SPLIT, "train/ and validation/ (4 photos) for training, test/ (2) for testing",
                "--ignore-split")),
    Case("Roboflow's classification export", "{train,valid,test}/{a,b}/x_jpg.rf.1.jpg",
         {f"{s}/{c}/x_jpg.rf.1.jpg": c + (" | test" if s == "test" else "")
          for s in ("train", "valid", "test") for c in "ab"},
         notes=(SPLIT, "2 x .txt"),
         text={"README.dataset.txt": "x", "README.roboflow.txt": "x"}),
    Case("parts in capitals", "{TRAIN,Test}/{a,b}/1.jpg",
         {"TRAIN/a/1.jpg": A, "TRAIN/b/1.jpg": B, "Test/a/1.jpg": "a | test",
          "Test/b/1.jpg": "b | test"}, notes=(SPLIT,)),
    Case("the split ignored", "{train,test}/{a,b}/1.jpg",
         {"train/a/1.jpg": A, "train/b/1.jpg": B, "test/a/1.jpg": A, "test/b/1.jpg": B},
         options={"ignore_split": True}, notes=("the split is drawn anew",)),
    Case("Kaggle, seg_train twice, seg_pred without labels",
         "seg_{train,test}/seg_{train,test}/{a,b}/1.jpg seg_pred/seg_pred/9.jpg",
         refused="may be"),
    Case("Kaggle, each part in itself once more",
         "seg_train/seg_train/{a,b}/1.jpg seg_test/seg_test/{a,b}/1.jpg seg_pred/seg_pred/9.jpg",
         {"seg_train/seg_train/a/1.jpg": A, "seg_train/seg_train/b/1.jpg": B,
          "seg_test/seg_test/a/1.jpg": "a | test", "seg_test/seg_test/b/1.jpg": "b | test",
          "seg_pred/seg_pred/9.jpg": ""}, notes=(SPLIT, "seg_pred/ have no label")),
    Case("Kaggle, training_set and test_set", "{training,test}_set/{a,b}/1.jpg",
         {"training_set/a/1.jpg": A, "training_set/b/1.jpg": B,
          "test_set/a/1.jpg": "a | test", "test_set/b/1.jpg": "b | test"}, notes=(SPLIT,)),
    Case("a test part without labels", "train/{a,b}/1.jpg test/{8,9}.jpg",
         {"train/a/1.jpg": A, "train/b/1.jpg": B, "test/8.jpg": "", "test/9.jpg": ""},
         notes=("a part of them is held out",)),
    Case("parts below the labels", "{a,b}/{train,test}/1.jpg",
         {"a/train/1.jpg": A, "b/train/1.jpg": B, "a/test/1.jpg": "a | test",
          "b/test/1.jpg": "b | test"}, notes=(SPLIT,)),
    Case("one folder around everything", "dataset/{a,b}/1.jpg",
         {"dataset/a/1.jpg": A, "dataset/b/1.jpg": B},
         notes=("dataset/ lies around all photos and is no label",)),
    Case("two folders around a split", "download/v2/{train,test}/{a,b}/1.jpg",
         {f"download/v2/{s}/{c}/1.jpg": c + (" | test" if s == "test" else "")
          for s in ("train", "test") for c in "ab"}, notes=("download/v2/ lies around",)),
    Case("images below each part", "{train,test}/images/{a,b}/1.jpg",
         {f"{s}/images/{c}/1.jpg": c + (" | test" if s == "test" else "")
          for s in ("train", "test") for c in "ab"}, notes=(SPLIT,)),
    Case("only a training part", "train/{a,b}/1.jpg",
         {"train/a/1.jpg": A, "train/b/1.jpg": B}, notes=("all photos are in train/",)),
    Case("a class called train", "{bus,car,train}/1.jpg",
         {"bus/1.jpg": "bus", "car/1.jpg": "car", "train/1.jpg": "train"}, silent=True),
    Case("classes with numbers", "{0,1,10}/1.jpg",
         {"0/1.jpg": "0", "1/1.jpg": "1", "10/1.jpg": "10"}, silent=True),
    Case("parts beside something else", "{train,test}/{a,b}/1.jpg extra/1.jpg",
         refused="test/, train/, which are parts of a split, beside extra/"),
    Case("a flat test folder beside labels", "{rolex,omega,test}/1.jpg",
         refused="--label-level 1 if all of them are labels"),
    Case("the same, said to be labels", "{rolex,omega,test}/1.jpg",
         {"omega/1.jpg": "omega", "rolex/1.jpg": "rolex", "test/1.jpg": "test"},
         options={"label_level": 1}),
    Case("parts without labels", "{train,test}/{1,2}.jpg",
         refused="is divided into test/, train/, but there are no label folders below"),
    Case("dogs and cats with a table", "{train,test}/{1,2}.jpg",
         refused="if train.csv holds the labels, give it as PHOTOS",
         text={"train.csv": "id,label"}),
    Case("labels below batches", "batch_{1,2}/{a,b}/1.jpg",
         refused="say --label-level 1 if the labels are batch_1/, batch_2/, or --label-level 2 if"),
    Case("labels below batches, said so", "batch_{1,2}/{a,b}/1.jpg",
         {f"batch_{n}/{c}/1.jpg": c for n in "12" for c in "ab"}, options={"label_level": 2}),
    Case("dates", "{2021-05-01,2021-05-02}/1.jpg", refused="not named like labels"),
    Case("coins by year", "{1998,1999}/1.jpg", refused="--label-level 1 if the labels are"),
    Case("coins by year, said so", "{1998,1999}/1.jpg",
         {"1998/1.jpg": "1998", "1999/1.jpg": "1999"}, options={"label_level": 1}),
    Case("the same labels below two parents", "{shop,street}/{rolex,omega}/1.jpg",
         refused="may be shop/, street/, or omega/, rolex/, which lie below several of them"),
    Case("the same views below all labels", "{rolex,omega}/{2020,2021}/1.jpg",
         {f"{c}/{y}/1.jpg": c for c in ("rolex", "omega") for y in ("2020", "2021")}, silent=True),
    Case("a detection set in YOLO's form", "{train,valid}/images/1.jpg",
         refused=r"train/labels looks like the boxes of a detection set: give it as --boxes",
         text={"train/labels/1.txt": "0 .5 .5 .1 .1", "valid/labels/1.txt": ""}),
    Case("a detection set, images beside labels", "images/{1,2}.jpg",
         refused="labels looks like the boxes of a detection set",
         text={"labels/1.txt": "0 .5 .5 .1 .1"}),
    Case("a detection set in COCO's form", "{train,valid}/{1,2}.jpg",
         refused="_annotations.coco.json looks like the boxes",
         text={"train/_annotations.coco.json": "{}"}),
    Case("Pascal VOC", "JPEGImages/{1,2}.jpg", refused=r"Annotations/\*.xml looks like the boxes",
         text={"Annotations/1.xml": "<annotation/>"}),
    Case("no folders", "{1,2}.jpg", refused="2 photos but no label; use a folder with one sub-"),
    Case("no folders, but metadata.csv", "{1,2}.jpg", refused="if metadata.csv holds the labels",
         text={"metadata.csv": "file_name,label"}),
    Case("a label level that is not there", "{a,b}/1.jpg", options={"label_level": 3},
         refused="no photo of .* lies in a folder of level 3"),
    Case("photos at the top", "{a,b}/1.jpg {8,9}.jpg",
         {"a/1.jpg": A, "b/1.jpg": B, "8.jpg": "", "9.jpg": ""},
         notes=("2 photos in no label folder have no label",)),
    Case("an empty label folder", "{a,b}/1.jpg seiko/ notes/x/",
         {"a/1.jpg": A, "b/1.jpg": B}, notes=("without a photo, and so no label: notes/, seiko/",)),
    Case("folders of the system",
         "{a,b}/1.jpg {@eaDir,__MACOSX,$RECYCLE.BIN,#recycle,lost+found}/x/1.jpg "
         "a/{.ipynb_checkpoints,@eaDir}/1.jpg a/{._1,Thumbs}.jpg",
         {"a/1.jpg": A, "b/1.jpg": B, "a/Thumbs.jpg": A},
         notes=("not looked into: #recycle/, $RECYCLE.BIN/, @eaDir/", "and 2 more", "1 hidden")),
    Case("side files are counted", "{a,b}/1.jpg",
         {"a/1.jpg": A, "b/1.jpg": B},
         notes=("not used: 1 x .json, 1 x .mp4, 2 x .txt, 1 x no suffix",),
         text={"a/1.txt": "", "b/1.txt": "", "a/1.json": "", "b/1.mp4": "", "LICENSE": ""}),
    Case("labels that differ in case and spaces", "Omega/{1,2}.jpg omega/3.jpg rolex/1.jpg",
         {"Omega/1.jpg": "Omega", "Omega/2.jpg": "Omega", "omega/3.jpg": "Omega",
          "rolex/1.jpg": "rolex"},
         notes=("look alike are one class: Omega (also written 'omega')",)),
    Case("labels in two Unicode forms", "caf\u00e9/{1,2}.jpg cafe\u0301/3.jpg b/1.jpg",
         {"caf\u00e9/1.jpg": "caf\u00e9", "caf\u00e9/2.jpg": "caf\u00e9",
          "cafe\u0301/3.jpg": "caf\u00e9", "b/1.jpg": B}, notes=("also written 'cafe\\u0301'",)),
    Case("one spelling in training, another in the test part",
         "train/{A.,b}/1.jpg test/{a,B}/1.jpg",
         {"train/A./1.jpg": "A.", "train/b/1.jpg": "B", "test/a/1.jpg": "A. | test",
          "test/B/1.jpg": "B | test"}, notes=("A. (also written 'a')", "B (also written 'b')")),
]  # fmt: skip
PREDICTED = (
    "photo,found,x1,y1,x2,y2,parent,parent_score,label,confidence,reason,error_code,error_message\n"
    "p/1.jpg,true,1,2,3,4,clock,0.9,rolex,0.8,,,\n"
    "p/2.jpg,true,1,2,3,4,clock,0.9,unknown,0.3,not confident,,\n"
    "p/3.jpg,true,1,2,3,4,clock,0.9,rolex,0.8,,,\n"
    "p/3.jpg,true,5,6,7,8,clock,0.9,omega,0.8,,,\n"
    "p/4.jpg,false,,,,,,,,,,truncated,the end is missing\n"
    "p/5.jpg,true,1,2,3,4,clock,0.9,omega,0.9,,,\n"
    "p/5.jpg,true,5,6,7,8,clock,0.7,omega,0.9,,,\n"
)
PHOTOS = "p/{1,2,3,4,5}.jpg"


def table(name: str, text: str | bytes, rows: dict[str, str] | None = None, refused: str = "",
          notes: tuple[str, ...] = (), file: str = "t.csv", **options: Any) -> Case:  # fmt: skip
    return Case(name, PHOTOS, rows or {}, refused, notes, False, {file: text}, options, file)


TWO = {"p/1.jpg": A, "p/2.jpg": B}
TABLES = [
    table("path and label", "path,label\np/1.jpg,a\np/2.jpg,b\n", TWO),
    *(table(f"{path}, {label}", f"id,{path},{label}\n7,p/1.jpg,a\n8,p/2.jpg,b\n", TWO)
      for path, label in (("file_name", "class"), ("Filename", "Category"), ("image", "species"),
                          ("photo", "target"), ("image path", "class-name"), ("filepath", "label"),
                          ("File", "labels"))),
    table("sep=; in the first line", "sep=;\r\npath;label\r\np/1.jpg;a\r\np/2.jpg;b\r\n", TWO),
    table("blank first lines and a BOM",
          "\ufeff\r\n \r\npath;label\r\np/1.jpg;a\r\np/2.jpg;b\r\n", TWO),
    table("Excel's Unicode text", "path\tlabel\np/1.jpg\ta\np/2.jpg\tb\n".encode("utf-16"), TWO,
          file="t.tsv"),
    table("backslashes", "path,label\np\\1.jpg,a\n.\\p\\2.jpg,b\n", TWO),
    table("labels that look like numbers or nothing",
          "path,label\np/1.jpg,007\np/2.jpg,NA\np/3.jpg,nan\np/4.jpg,7\np/5.jpg,None\n",
          {"p/1.jpg": "007", "p/2.jpg": "NA", "p/3.jpg": "nan", "p/4.jpg": "7", "p/5.jpg": "None"}),
    table("a split", "path,label,split\np/1.jpg,a,train\np/2.jpg,b,Val\np/3.jpg,a,TEST\n",
          {"p/1.jpg": A, "p/2.jpg": B, "p/3.jpg": "a | test"},
          notes=("the split is that of your table: 2 photos for training, 1 for testing",)),
    table("a split in a column called subset",
          "path,label,subset\np/1.jpg,a,training\np/2.jpg,b,\np/3.jpg,a,testing\n",
          {"p/1.jpg": A, "p/2.jpg": B, "p/3.jpg": "a | test"}),
    table("a split, ignored", "path,label,split\np/1.jpg,a,train\np/2.jpg,b,test\n", TWO,
          ignore_split=True),
    table("no part of a split", "path,label,split\np/1.jpg,a,train\np/2.jpg,b,holdback\n",
          refused="t.csv, line 3: 'holdback' is no part of a split; write train, val or test"),
    table("one photo in two parts", "path,label,split\np/1.jpg,a,train\np/1.jpg,a,test\n",
          refused="lines 2 and 3 give p/1.jpg different labels, groups or parts"),
    table("a doubled column", "path,label,Label\np/1.jpg,a,b\n",
          refused="the columns label and label could both be the label of a photo; delete one"),
    table("two columns that may be the path", "file,image,label\np/1.jpg,x,a\n",
          refused="the columns file and image could both be the path.*rename the right one to"),
    table("no column for the label", "path,brand\np/1.jpg,a\n",
          refused="lacks the column label .it has: path, brand.*may also be called labels, class"),
    table("our own answers", PREDICTED,
          {"p/1.jpg": "rolex", "p/2.jpg": "", "p/3.jpg": "", "p/4.jpg": "", "p/5.jpg": "omega"},
          notes=("1 photos with objects of different labels have no label: p/3.jpg",)),
    table("the hub's metadata.jsonl", '{"file_name": "p/1.jpg", "label": "a", "box": [1]}\n\n'
          '{"file_name": "p/2.jpg", "label": "b"}\n', TWO, file="metadata.jsonl"),
    table("broken JSON lines", '{"file_name": 1', refused="not one JSON object a line",
          file="t.jsonl"),
    table("no photo where the table says", "path,label\nx/1.jpg,a\nx/2.jpg,b\n",
          refused="names 2 photos, and none of them is there; the first, x/1.jpg, would be /"),
    table("labels that differ in case", "path,label\np/1.jpg,A\np/2.jpg,a\np/3.jpg,a\np/4.jpg,b\n",
          {"p/1.jpg": A, "p/2.jpg": A, "p/3.jpg": A, "p/4.jpg": B}, notes=("look alike",)),
]  # fmt: skip


@pytest.mark.parametrize("case", [*FOLDERS, *TABLES], ids=lambda case: case.name)
def test_layout(case: Case, tmp_path: Path) -> None:
    make(tmp_path, case)
    if case.refused:
        with pytest.raises(PhotosError, match=f"(?s){case.refused}") as caught:
            listed(case, tmp_path)
        assert "\n" not in str(caught.value)
        return
    found = listed(case, tmp_path)
    assert as_rows(found) == case.rows
    for note in case.notes:
        assert any(note in sentence for sentence in found.notes), found.notes
    if case.silent:
        assert not found.notes
    assert len({entry.id for entry in found.entries}) == len(found.entries)


def test_a_refusal_shows_what_was_understood(tmp_path: Path) -> None:
    make(tmp_path, Case("", "batch_1/{a,b}/{1,2}.jpg batch_2/a/3.jpg"))
    with pytest.raises(PhotosError) as caught:
        collect(PhotosConfig(source=str(tmp_path)))
    assert caught.value.__notes__ == [
        f"{tmp_path}  5 photos",
        "  batch_1/  4",
        "    a/  2",
        "    b/  2",
        "  batch_2/  1",
        "    a/  1",
    ]


def test_the_tree_shows_labels_and_parts(tmp_path: Path) -> None:
    make(tmp_path, Case("", "{train,test}/{a,b}/1.jpg train/c\x1b/9.jpg"))
    assert collect(PhotosConfig(source=str(tmp_path))).tree == (
        f"{tmp_path}  5 photos",
        "  test/  2  testing",
        "    a/  1  label",
        "    b/  1  label",
        "  train/  3  training",
        "    a/  1  label",
        "    b/  1  label",
        "    c\\x1b/  1  label",
    )


def test_many_labels_are_cut_short(tmp_path: Path) -> None:
    make(tmp_path, Case("", "l{1,2,3,4,5,6,7,8,9}{1,2}/1.jpg"))
    tree = collect(PhotosConfig(source=str(tmp_path))).tree
    assert len(tree) == 14
    assert tree[-1] == "  … 6 more  6"


def test_every_file_is_a_row_a_side_file_or_hidden(tmp_path: Path) -> None:
    make(tmp_path, Case("", "a/{1.jpg,plain,2.jpg.bak,photo.dat} b/1.jpg"))
    (tmp_path / "a" / "2.dng").write_bytes(dng(400))
    (tmp_path / "a" / "3.jxl").write_bytes(b"\xff\x0a" + bytes(20))
    (tmp_path / "a" / "4.jpg").write_bytes(b"\0\0\0\x1cftypisom\0\0\2\0isommp41" + bytes(40))
    (tmp_path / "a" / "5.unheard").write_text("of")
    (tmp_path / "a" / "notes").write_text("no photo")
    os.mkfifo(tmp_path / "a" / "pipe")
    rows = {p.path: p for p in list_photos(PhotosConfig(source=str(tmp_path)))}
    assert {path: row.code for path, row in rows.items()} == {
        "a/1.jpg": "",
        "a/2.dng": "unsupported",
        "a/3.jxl": "unsupported",
        "a/4.jpg": "not_an_image",
        "a/5.unheard": "not_an_image",
        "a/notes": "not_an_image",
        "a/photo.dat": "",  # a photo by its first bytes
        "a/pipe": "not_a_file",
        "a/plain": "",
        "b/1.jpg": "",
    }
    assert all(row.reason for row in rows.values() if row.state is PhotoState.UNREADABLE)
    found = collect(PhotosConfig(source=str(tmp_path)))
    assert any("1 x .bak" in note for note in found.notes)


def test_what_is_no_photo_makes_no_label(tmp_path: Path) -> None:
    make(tmp_path, Case("", "{a,b}/1.jpg", text={"docs/x.unheard": "of"}))
    rows = as_rows(collect(PhotosConfig(source=str(tmp_path))))
    assert rows == {"a/1.jpg": A, "b/1.jpg": B, "docs/x.unheard": ""}


def test_a_folder_that_cannot_be_read_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, Case("", "{a,b}/1.jpg a/closed/1.jpg c/1.jpg"))
    scan = os.scandir

    def denied(folder: Path) -> Any:
        if Path(folder).name in ("closed", "c"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", denied)
    config = PhotosConfig(source=str(tmp_path))
    rows = {p.path: (p.label, p.code, p.reason) for p in list_photos(config) if p.code}
    reason = "the folder cannot be listed: Permission denied; check its permissions"
    assert rows == {
        "a/closed": (A, "no_permission", reason),
        "c": ("", "no_permission", reason),
    }
    assert any("cannot be listed: a/closed/, c/" in n for n in collect(config).notes)


def test_web_addresses_are_rows(tmp_path: Path) -> None:
    make(tmp_path, TABLES[0])
    (tmp_path / "t.csv").write_text("path,label\np/1.jpg,a\nhttps://x.org/2.jpg,b\n")
    rows = list_photos(PhotosConfig(source=str(tmp_path / "t.csv")))
    row = next(row for row in rows if row.code)
    assert row.path == "https://x.org/2.jpg"
    assert row.reason == "this is a web address; download the photo and name the file"


def test_ids_do_not_depend_on_how_labels_are_understood(tmp_path: Path) -> None:
    make(tmp_path, Case("", "{a,b}/x/1.jpg"))
    one, other = (
        collect(PhotosConfig(source=str(tmp_path), label_level=level)).entries for level in (0, 1)
    )
    assert [e.id for e in one] == [e.id for e in other] == ["1-c0cfe01b", "1-58468f31"]


def test_labels_from_elsewhere_need_no_folders(tmp_path: Path) -> None:
    make(tmp_path, Case("", "{train,test}/images/{1,2}.jpg"))
    found = collect(PhotosConfig(source=str(tmp_path)), labels_elsewhere=True)
    assert as_rows(found) == {
        "train/images/1.jpg": "",
        "train/images/2.jpg": "",
        "test/images/1.jpg": " | test",
        "test/images/2.jpg": " | test",
    }
    shutil.rmtree(tmp_path / "train")
    make(tmp_path, Case("", "1.jpg"))
    collect(PhotosConfig(source=str(tmp_path)), labels_elsewhere=True)
