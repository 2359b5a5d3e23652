from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from closeup.api import SECTIONS, settings
from closeup.core.config import RunConfig, resolve, to_toml
from closeup.core.errors import ProjectError, UsageError
from closeup.pipeline.report_page import command_of


def test_flag_beats_file_beats_default(tmp_path: Path) -> None:
    file = tmp_path / "closeup.toml"
    file.write_text('[photos]\nsource = "p"\n[crop]\npad = 0.3\nwhich = "all"\n')
    config = resolve({"crop": {"pad": 0.5, "which": None}}, file)
    assert (config.crop.pad, config.crop.which, config.crop.on_miss) == (0.5, "all", "photo")


def test_a_missing_file_counts_as_empty(tmp_path: Path) -> None:
    flags = {"photos": {"source": "p"}}
    assert resolve(flags, tmp_path / "none.toml") == resolve(flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"crop": {"pad": -1}}, r"crop\.pad: input should be greater"),
        ({"crop": {"which": "some"}}, r"crop\.which"),
        ({"split": {"test_fraction": 1.0}}, r"split\.test_fraction"),
        ({"nonsense": {"a": 1}}, "nonsense"),
    ],
)
def test_a_wrong_value_is_named(flags: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve({"photos": {"source": "p"}, **flags})


def test_broken_toml_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "closeup.toml").write_text("[photos")
    with pytest.raises(ProjectError, match=r"closeup\.toml is not valid TOML"):
        resolve({}, tmp_path / "closeup.toml")


def test_boxes_take_the_detectors_place_unless_one_is_named() -> None:
    photos = {"source": "p"}
    assert resolve({"photos": photos, "detect": {"boxes": "b"}}).detect.detector == ""
    both = resolve({"photos": photos, "detect": {"boxes": "b", "detector": "d"}})
    assert both.detect.detector == "d"


def test_without_boxes_any_more_the_detector_is_the_default_again(tmp_path: Path) -> None:
    file = tmp_path / "closeup.toml"
    for given, then in (("", "d-fine-n"), ("d", "d")):
        detect = {"boxes": "b"} | ({"detector": given} if given else {})
        file.write_text(to_toml(resolve({"photos": {"source": "p"}, "detect": detect})))
        back = resolve({"detect": {"boxes": ""}}, file)
        assert (back.detect.boxes, back.detect.detector) == ("", then)


def test_every_option_has_its_section() -> None:
    fields = {name: set(section.annotation.model_fields)  # type: ignore[union-attr]
              for name, section in RunConfig.model_fields.items()}  # fmt: skip
    assert {name: set(options) for name, options in SECTIONS.items()} == fields


def test_unknown_options_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown option 'paren'"):
        settings(None, {"source": "p", "paren": "clock"})


def test_the_command_on_the_report_makes_the_same_configuration(tmp_path: Path) -> None:
    import shlex

    from closeup.core.config import DetectConfig

    config = settings(None, {"source": tmp_path / "my photos", "parent": "clock, cell phone",
                             "pad": 0.2, "compare_photo": True,
                             "test": tmp_path / "t"})  # fmt: skip
    words = shlex.split(command_of(config, tmp_path / "out"))
    assert words[:3] == ["closeup", "run", str(tmp_path / "my photos")]
    flags = dict(pairwise(words))
    assert flags["--parent"] == "clock,cell phone"
    assert flags["--pad"] == "0.2"
    assert flags["--test"] == str(tmp_path / "t")
    assert "--compare-photo" in words
    assert "--detector" not in words
    assert config.detect.detector == DetectConfig().detector
    assert "cell phone" in to_toml(config)
