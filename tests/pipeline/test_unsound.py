"""A detector that overflows on some photos: nothing is found there, and a note says so."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import closeup
from tests.tiny import TINY, make_cache, make_photos


def test_values_that_are_no_numbers_end_as_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache(tmp_path / "cache", monkeypatch)
    import onnx

    folder = cache / "networks" / "tiny-box"
    model = onnx.load(str(folder / "graph.onnx"))
    (last,) = (node for node in model.graph.node if "scores" in node.output)
    last.output[0] = "plain"
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(np.array([0.05], np.float32), "dark")
    )
    model.graph.node.append(onnx.helper.make_node("Sub", ["plain", "dark"], ["less"]))
    model.graph.node.append(onnx.helper.make_node("Sqrt", ["less"], ["scores"]))
    data = model.SerializeToString()
    (folder / "graph.onnx").write_bytes(data)
    card = json.loads((folder / "card.json").read_text())
    card |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "card.json").write_text(json.dumps(card))
    photos = make_photos(tmp_path / "photos", dark=1)
    for _ in range(2):  # the note comes again where nothing else is to be done
        result = closeup.crop(photos, out=tmp_path / "out", detector=TINY["detector"],
                              parent=TINY["parent"])  # fmt: skip
        assert (result.counts.cropped, result.counts.not_found) == (30, 3)
        (note,) = (note for note in result.notes if "not finite" in note)
        assert "for 3 of 33 photos (ash/10.png, birch/10.png, cedar/10.png)" in note
