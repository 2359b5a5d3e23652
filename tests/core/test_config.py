from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from closeup import api
from closeup.api import settings
from closeup.core.config import (
    CropConfig,
    DetectConfig,
    EngineConfig,
    Options,
    PhotosConfig,
    RunConfig,
    TrainConfig,
    option_fields,
    resolve,
    to_toml,
    validated,
)
from closeup.core.errors import ProjectError, UsageError
from closeup.core.flags import flags_of
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
        ({"train": {"head": ("rigde",)}}, r"^train\.head: input should be 'ridge', "),
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


def keyword(name: str, annotation: Any) -> Any:
    """The type of an option as a keyword, from its type in the configuration."""
    if name in ("test", "boxes"):
        return str | Path
    if get_origin(annotation) is tuple:
        item = get_args(annotation)[0]
        return str | Sequence[item.__origin__ if hasattr(item, "__metadata__") else item]
    return annotation


def test_the_keywords_are_the_options_of_the_configuration() -> None:
    hints = {name: keyword(name, field.annotation) for name, (_, field) in option_fields().items()}
    assert hints.pop("source") is str  # which is the argument `photos`
    assert get_type_hints(Options) == hints


@pytest.mark.parametrize("verb", [api.scout, api.crop, api.train, api.run])
def test_every_verb_takes_the_keywords(verb: Any) -> None:
    assert verb.__annotations__["options"] == "Unpack[Options]"


def test_no_two_sections_share_an_option() -> None:
    sections = [section.annotation for section in RunConfig.model_fields.values()]
    count = sum(len(section.model_fields) for section in sections)  # type: ignore[union-attr]
    assert len(option_fields()) == count


def test_every_option_is_explained() -> None:
    for name, (_, field) in option_fields().items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_flags_of_a_configuration() -> None:
    config = RunConfig(
        photos=PhotosConfig(source="p", test="t", max_pixels=5),
        detect=DetectConfig(parent=("clock", "cell phone"), boxes="b", detector=""),
        crop=CropConfig(on_miss="drop"),
        train=TrainConfig(pads=(0, 0.5), finetune=True, flip=False),
        engine=EngineConfig(threads=1),
    )
    assert flags_of(config) == [
        ("--test", "t"), ("--parent", "clock,cell phone"), ("--boxes", "b"),
        ("--on-miss", "drop"), ("--compare-pads", "0.0,0.5"), ("--finetune", ""), ("--no-flip", ""),
        ("--threads", "1"),
    ]  # fmt: skip
    assert flags_of(RunConfig(photos=PhotosConfig(source="p"))) == []


def test_a_section_alone_is_checked_like_the_whole() -> None:
    assert validated(EngineConfig, {"threads": 2, "engine": None}) == EngineConfig(threads=2)
    with pytest.raises(UsageError, match="threads: input should be greater"):
        validated(EngineConfig, {"threads": -1})


def test_unknown_options_are_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown option 'paren' \(did you mean 'parent'\?\)"):
        settings(None, {"paren": "clock"}, "p")
    with pytest.raises(UsageError, match="did you mean 'pads'"):
        settings(None, {"compare_pads": "0,0.5"}, "p")
    with pytest.raises(UsageError, match="unknown option 'batch_size'; known are"):
        settings(None, {"batch_size": 8}, "p")
    with pytest.raises(UsageError, match="unknown option 'source'"):
        settings(None, {"source": "q"}, "p")
    with pytest.raises(UsageError, match="is empty"):
        settings(None, {}, "")


def test_the_command_on_the_report_makes_the_same_configuration(tmp_path: Path) -> None:
    import shlex

    given = {"parent": "clock, cell phone", "pad": 0.2, "compare_photo": True}
    config = settings(None, {**given, "test": tmp_path / "t"}, tmp_path / "my photos")
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
