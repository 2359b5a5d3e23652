"""Make the fixture of a format: a finished project with its photos and model, a few tens of kB.

    python -m tools.make_format_fixture tests/fixtures/format-N

It is made once for each format, with the version that writes it, and kept: the tests open it with
every later version. The photos are thumbnails of rendered watches, the networks the tiny
ones of the tests. What can be made again (close-ups, signatures, the report) is left out, and no
path of the machine that made it is in it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import closeup
from closeup.core.config import CONFIG_FILE
from closeup.core.project import Project
from closeup.core.types import Crop, Photo
from closeup.decisions.kinds import Decision, Kind
from closeup.decisions.log import Decisions
from tests import tiny
from tools.render.photos import write_photos

PER_MAKER = 4
SIZE = 64
LEFT_OUT = ("crops", "embeddings", "signatures.safetensors", "report.html")


def make(target: Path) -> None:
    """Write the fixture into the new folder `target`."""
    with tempfile.TemporaryDirectory() as work:
        base = Path(work)
        os.environ["CLOSEUP_CACHE"] = str(base / "cache")
        tiny.make_detector(base / "cache")
        tiny.make_backbone(base / "cache")
        write_photos(target / "photos", per_maker=PER_MAKER, size=SIZE, workers=1)
        for note in ("boxes.csv", "demo.json"):
            (target / "photos" / note).unlink()
        out = target / "project"
        closeup.run(target / "photos", out=out, detector="tiny-box", backbone="tiny-pool",
                    parent="thing")  # fmt: skip
        (target / "answers.json").write_text("\n".join(["[", *lines(target), "]", ""]))
        decide(out)
        forget_places(out)
    for name in LEFT_OUT:
        place = out / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()


def lines(target: Path) -> list[str]:
    """What the model says of every photo, one a line, with paths relative to the fixture."""
    model = closeup.load(target / "project" / "model")
    files = sorted((target / "photos").rglob("*.jpg"))
    answers = [
        json.dumps({**answer.to_dict(), "photo": file.relative_to(target).as_posix()})
        for file, answer in zip(files, model.predict_many(files, always=True), strict=True)
    ]
    return [f" {answer}," for answer in answers[:-1]] + [f" {answers[-1]}"]


def decide(out: Path) -> None:
    """A person's decision, as `closeup review` writes it: the first close-up gets another label."""
    table = Project(out).read("crops", Crop)
    assert table is not None
    crop = table.rows[0]
    label = table.rows[-1].label
    with closing(Decisions(out)) as log:
        log.append("somebody", [Decision(Kind.RELABEL, crop.photo_id, crop.id, label=label)])


def forget_places(out: Path) -> None:
    """Name the photos' folder as if it lay at the root."""
    project = Project(out)
    table = project.read("photos", Photo)
    assert table is not None
    rows = [replace(row, root="/photos", mtime_ns=0) for row in table.rows]
    project.write("photos", Photo, rows, table.key, table.meta)
    config = project.config()
    photos = config.photos.model_copy(update={"source": "/photos"})
    project.write_config(config.model_copy(update={"photos": photos}))
    assert (out / CONFIG_FILE).is_file()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", type=Path)
    given = parser.parse_args().target
    if given.exists():
        parser.error(f"{given} is there already; the fixture of a format is never changed")
    make(given)
