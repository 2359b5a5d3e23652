"""A project under review for tests: the demo's photos, cut and trained on, ready to be copied."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi.testclient import TestClient

import closeup
from closeup.cli.demo import BACKBONE, DETECTOR
from closeup.core.project import Project
from closeup.core.types import Example
from closeup.web.review.app import ReviewConfig, make_review_app
from closeup.web.run import make_access_policy
from tools.render.photos import write_photos

PER_MAKER = 8


def make_reviewed(base: Path) -> Path:
    """The demo's project, smaller, with one photo in which nothing is found; its folder."""
    from PIL import Image

    write_photos(base / "photos", per_maker=PER_MAKER, seed=1, workers=1)
    grey = Image.new("RGB", (320, 240), (120, 120, 120))
    grey.save(base / "photos" / "Averlund" / "grey.png")
    (base / "photos" / "Averlund" / "broken.jpg").write_bytes(b"no picture")
    closeup.run(base / "photos", out=base / "watches", parent="clock", detector=DETECTOR,
                backbone=BACKBONE, seed=0)  # fmt: skip
    return base / "watches"


def copy_of(project: Path, to: Path) -> Path:
    """A project of one's own, on the same photos."""
    shutil.copytree(project, to)
    return to


def config_of(project: Path, who: str = "tester") -> ReviewConfig:
    """As the command makes it."""
    return ReviewConfig(project, make_access_policy("review", "127.0.0.1", ""), who)


@contextmanager
def asking(project: Path) -> Iterator[TestClient]:
    """A client of the application in this process."""
    app = make_review_app(config_of(project))
    with TestClient(app, base_url="http://127.0.0.1", follow_redirects=False) as client:
        yield client


def with_issues(project: Path, count: int = 3) -> list[str]:
    """Make labels of training close-ups doubtful, as if training had; their ids."""
    known = Project(project).read("dataset", Example)
    scores = json.loads((project / "scores.json").read_text())
    assert known is not None
    rows = [row for row in known.rows if row.split == "train"][:count]
    labels = sorted({row.label for row in known.rows})
    issues = [
        {"index": place, "given": row.label, "score": 0.9 - place / 100, "p_given": 0.04,
         "suggested": next(label for label in labels if label != row.label),
         "p_suggested": 0.81, "confident": True}
        for place, row in enumerate(rows)
    ]  # fmt: skip
    scores["findings"]["suspects"] = {
        "n": len(known.rows), "share": 0.1, "confident": 0.1, "least": 0.1, "rows": issues
    }  # fmt: skip
    scores["findings"]["suspect_crops"] = [row.crop_id for row in rows]
    (project / "scores.json").write_text(json.dumps(scores))
    return [row.crop_id for row in rows]
