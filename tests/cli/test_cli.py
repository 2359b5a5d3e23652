"""The command line as a user runs it: a process with exit codes, stdout and stderr."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from closeup.cli.app import VERBS, load
from closeup.cli.models import _about
from closeup.core.config import RunConfig, flag_of, option_fields
from closeup.decisions import REVIEW_PORT
from tests import tiny
from tests.commands import closeup

ROOT = Path(__file__).resolve().parent.parent.parent


def process(*words: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own; stdout and stderr are captured apart."""
    command = [sys.executable, "-W", "error", "-m", "closeup", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the tiny networks, photos of three labels, and a finished project."""
    tiny.need_onnx()
    folder = tmp_path_factory.mktemp("cli")
    tiny.make_detector(folder / "cache")
    tiny.make_backbone(folder / "cache")
    tiny.make_photos(folder / "photos", dark=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOSEUP_CACHE", str(folder / "cache"))
        done = process("run", folder / "photos", "--parent", "thing", "--detector", "tiny-box",
                       "--backbone", "tiny-pool", "--out", folder / "out", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "run.json").write_text(done.stdout)
    return folder


@pytest.fixture(autouse=True)
def _tiny_cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "base" in request.fixturenames:
        monkeypatch.setenv("CLOSEUP_CACHE", str(request.getfixturevalue("base") / "cache"))


def test_no_words_show_the_help() -> None:
    done = process()
    assert "Usage: closeup" in done.stdout + done.stderr


@pytest.mark.parametrize("words", [["--help"], *([verb, "--help"] for verb in VERBS),
                                   ["models", "add", "--help"]])  # fmt: skip
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['closeup', *{words!r}]\n"
        "from closeup.cli import main\n"
        "try:\n    main()\nexcept SystemExit as done:\n    assert not done.code\n"
        "heavy = {'numpy', 'PIL', 'sklearn', 'openvino', 'onnxruntime', 'pyarrow', 'torch'}\n"
        f"heavy |= set({['pydantic'] if words == ['--help'] else []})\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


SECTIONS = {
    "scout": {"engine"},
    "run": set(RunConfig.model_fields),
    "crop": {"photos", "detect", "crop", "engine"},
    "train": {"split", "train", "engine", "history", "report"},
    "report": {"report"},
    "predict": {"engine"},
    "serve": {"engine"},
}
"""The sections of the configuration that a verb takes whole."""


@pytest.mark.parametrize("verb", SECTIONS)
def test_the_options_of_a_verb_are_those_of_the_configuration(verb: str) -> None:
    command = load(verb)
    offered = {name: param for param in command.params for name in (param.name,)}
    for name, (section, field) in option_fields().items():
        flag = flag_of(name, field)
        taken = flag and (
            section in SECTIONS[verb]
            or (verb, name) in {("scout", "detector"), ("scout", "parent")}
        )
        assert (name in offered) == bool(taken), name
        if taken:
            assert offered[name].opts == [flag]
            assert offered[name].default is None
            assert offered[name].help.startswith(field.description)


def test_options_arrive_as_the_configuration_wants_them() -> None:
    words = {"--pad": "0.5", "--which": "all", "--backbone": "a,b", "--threads": "2",
             "--compare-pads": "0,1", "--test": ""}  # fmt: skip
    arguments = ["p", "--out", "o", "--no-flip", *(part for pair in words.items() for part in pair)]
    given = load("run").make_context("run", arguments).params
    assert {name: value for name, value in given.items() if value not in (None, False)} == {
        "photos": "p", "out": Path("o"), "pad": 0.5, "which": "all", "backbone": "a,b",
        "threads": 2, "pads": "0,1", "test": "",
    }  # fmt: skip
    assert given["flip"] is False
    assert given["finetune"] is None


def test_help_shows_defaults_and_ranges() -> None:
    page = load("run").get_help(load("run").make_context("run", ["--out", "o"]))
    words = " ".join(page.split())
    for part in ("[default: 0.1; 0<=x<=4]", "[default: 0.2; 0<x<1]", "[default: yes]",
                 "[default: d-fine-n]", "<best|largest|all>"):  # fmt: skip
        assert part in words, part


def test_review_listens_where_reports_link_to() -> None:
    (port,) = [param for param in load("review").params if param.name == "port"]
    assert port.default == REVIEW_PORT


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nonsense"], 2, "nonsense"),
        (["rnu"], 2, "Did you mean 'run'?"),
        (["predict", "nowhere", "a.jpg", "--threads", "-1"], 2, "threads"),
        (["run"], 2, "--out"),
        (["run", "nowhere", "--out", "x"], 1, "nowhere"),
        (["run", "nowhere", "--out", "x", "--pad", "-1"], 2, "crop.pad"),
        (["predict", "nowhere", "a.jpg"], 1, "not a model folder"),
        (["train", "nowhere"], 1, "not a Closeup project"),
        (["run", "--out", "x"], 2, "PHOTOS"),
        (["run", "", "--out", "x"], 2, "is empty"),
    ],
)
def test_mistakes_have_exit_codes_and_no_traceback(
    base: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    extra = ["--detector", "tiny-box", "--parent", "thing"] if words[0] == "run" and len(
        words) > 1 else []  # fmt: skip
    done = closeup(*words, *extra, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_mistake_ends_a_process_with_its_code(tmp_path: Path) -> None:
    done = process("predict", tmp_path / "nowhere", "a.jpg")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not a model folder" in done.stderr
    assert process("nonsense").returncode == 2


def test_run_json_has_the_promised_shape(base: Path) -> None:
    value = json.loads((base / "run.json").read_text())
    assert {"photos", "cropped", "not_found", "unreadable", "labels", "detection_rate", "test",
            "seconds", "model", "report"} <= set(value)  # fmt: skip
    assert {"n", "photos", "photos_right", "none", "macro_f1", "macro_f1_low", "macro_f1_high",
            "accuracy", "macro_f1_end_to_end"} == set(value["test"])  # fmt: skip
    assert value["photos"] == value["cropped"] + value["not_found"] + value["unreadable"] == 33
    assert value["labels"] == {"ash": 11, "birch": 11, "cedar": 11}
    assert Path(value["report"]).is_file()


def test_run_for_people_names_the_next_command(base: Path) -> None:
    done = closeup("run", "--out", base / "out")
    assert done.returncode == 0
    assert "macro-F1" in done.stdout
    lines = done.stdout.splitlines()
    (use,) = (n for n, line in enumerate(lines) if line.startswith("in practice: "))
    assert lines[use - 1].startswith("  ")  # after all scores, none between it and the next step
    assert not lines[use + 1].startswith("  ")
    assert "-/s" not in done.stdout
    assert re.search(r"^[A-Z][a-z -]+ \(CU[0-9]{3}\): ", done.stdout, re.MULTILINE)
    assert "Next: closeup predict" in done.stdout


def test_predict_json_answers_each_photo_in_order(base: Path) -> None:
    good = base / "photos" / "ash" / "1.png"
    done = process("predict", base / "out" / "model", good, "gone.jpg", "--json")
    first, second = map(json.loads, done.stdout.splitlines())
    assert set(first) == {"photo", "found", "objects", "error"}
    assert first["error"] is None
    assert set(first["objects"][0]) == {"box", "parent", "parent_score", "label", "confidence",
                                        "reason", "top", "likely"}  # fmt: skip
    assert second["error"]["code"] == "missing"
    assert second["objects"] == []


def test_predict_on_ten_kinds_of_broken_file(base: Path, tmp_path: Path) -> None:
    whole = (base / "photos" / "ash" / "1.png").read_bytes()
    with Image.open(base / "photos" / "ash" / "1.png") as picture:
        picture.convert("RGB").save(tmp_path / "ok.jpg")
    jpeg = (tmp_path / "ok.jpg").read_bytes()
    broken = {
        "empty.jpg": b"", "text.jpg": b"hello", "html.png": b"<html></html>",
        "half.png": whole[: len(whole) // 2], "half.jpg": jpeg[: len(jpeg) // 2],
        "head.jpg": jpeg[:20], "zeros.webp": bytes(500), "riff.webp": b"RIFF\0\0\0\0WEBPVP8 ",
        "gif.gif": b"GIF89a\1\0", "tiff.tif": b"II*\0\xff\xff\xff\xff",
    }  # fmt: skip
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
    done = closeup("predict", base / "out" / "model", tmp_path, "--json", "--draw",
                   tmp_path / "drawn", "--csv", tmp_path / "a.csv", "--parquet",
                   tmp_path / "a.parquet")  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {Path(row["photo"]).name: row for row in map(json.loads, done.stdout.splitlines())}
    assert set(rows) == {*broken, "ok.jpg"}
    assert {name for name, row in rows.items() if row["error"]} == set(broken)
    assert [p.name for p in (tmp_path / "drawn").iterdir()] == ["ok.jpg"]
    with (tmp_path / "a.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 11
    alone = closeup("predict", base / "out" / "model", tmp_path / "half.jpg")
    assert alone.returncode == 1
    assert "half.jpg" in alone.stdout


def test_drawing_never_overwrites_a_photo(base: Path, tmp_path: Path) -> None:
    photo = shutil.copy(base / "photos" / "ash" / "1.png", tmp_path / "a.jpg")
    before = photo.read_bytes()
    done = closeup("predict", base / "out" / "model", photo, "--draw", tmp_path)
    assert done.returncode == 2
    assert photo.read_bytes() == before


@pytest.mark.parametrize("option", ["--csv", "--parquet"])
def test_a_table_never_overwrites_a_photo(base: Path, tmp_path: Path, option: str) -> None:
    photo = Path(shutil.copy(base / "photos" / "ash" / "0.png", tmp_path / "a.png"))
    before = photo.read_bytes()
    for target, why in ((photo, "is one of the photos"), (tmp_path, "is a folder"), ("-", "file")):
        done = closeup("predict", base / "out" / "model", tmp_path, option, target)
        assert done.returncode == 2
        assert why in done.stderr
        assert done.stdout == ""
    assert photo.read_bytes() == before


def test_no_name_is_not_the_working_folder(base: Path) -> None:
    done = closeup("predict", base / "out" / "model", "", cwd=base)
    assert done.returncode == 1
    assert "the name of a photo is empty" in done.stderr


def test_a_refused_option_is_not_remembered(base: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(base / "out", tmp_path / "out"))
    before = (out / "closeup.toml").read_text()
    for option, value in (("--boxes", "typo.csv"), ("--test", "typo.csv"),
                          ("--backbone", "tiny-pool,typo.csv")):  # fmt: skip
        done = closeup("run", "--out", out, option, value, cwd=tmp_path)
        assert done.returncode != 0
        assert "typo.csv" in done.stderr
        assert (out / "closeup.toml").read_text() == before
    assert closeup("report", out).returncode == 0


def test_options_are_remembered_and_taken_back_by_nothing(base: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(base / "out", tmp_path / "out"))
    tiny.make_photos(tmp_path / "own", per_label=3)
    (tmp_path / "own" / "fir").mkdir()
    Image.new("RGB", (60, 50), (9, 99, 200)).save(tmp_path / "own" / "fir" / "1.png")
    first = json.loads(closeup("run", "--out", out, "--test", tmp_path / "own", "--json").stdout)
    assert first["test"]["n"] == 9
    # That of a label that is not trained on, and the copies of the others.
    assert any("10 photos or close-ups are used neither" in note for note in first["notes"])
    again = closeup("report", out, "--json")
    assert json.loads(again.stdout) | {"seconds": 0} == first | {"seconds": 0}
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("path,x1,y1,x2,y2\n" + "".join(f"ash/{n}.png,5,5,30,30\n" for n in range(9)))
    closeup("run", "--out", out, "--boxes", boxes)
    back = closeup("run", "--out", out, "--test", "", "--boxes", "", "--json", cwd=tmp_path)
    whole = json.loads((base / "run.json").read_text())
    assert json.loads(back.stdout)["test"] == whole["test"]


def test_moved_photos_are_asked_for(base: Path, tmp_path: Path) -> None:
    photos = Path(shutil.copytree(base / "photos", tmp_path / "photos"))
    out = Path(shutil.copytree(base / "out", tmp_path / "out"))
    assert closeup("run", photos, "--out", out).returncode == 0
    photos.rename(tmp_path / "moved")
    done = closeup("train", out)
    assert done.returncode == 2
    assert f"closeup run NEW --out {out}" in done.stderr
    assert closeup("run", tmp_path / "moved", "--out", out).returncode == 0
    assert closeup("train", out).returncode == 0


def test_photos_of_one_name_are_drawn_apart(base: Path, tmp_path: Path) -> None:
    closeup("predict", base / "out" / "model", base / "photos" / "ash", base / "photos" / "birch",
            "--draw", tmp_path / "d")  # fmt: skip
    assert len(list((tmp_path / "d").iterdir())) == 22


def test_crop_then_train_equals_run(base: Path, tmp_path: Path) -> None:
    done = closeup("crop", base / "photos", "--parent", "thing", "--detector", "tiny-box", "--out",
                   tmp_path / "p")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Next: closeup train" in done.stdout
    done = closeup("train", tmp_path / "p", "--backbone", "tiny-pool", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["test"] == json.loads((base / "run.json").read_text())["test"]


def test_scout_for_people_and_programs(base: Path) -> None:
    done = closeup("scout", base / "photos", "--detector", "tiny-box", "--json")
    value = json.loads(done.stdout)
    assert {"photos", "categories", "recommended", "coverage"} <= set(value)
    assert {"name", "hit_rate", "per_label", "median_area"} <= set(value["categories"][0])
    done = closeup("scout", base / "photos", "--detector", "tiny-box")
    assert "Next: closeup run" in done.stdout
    both = ("scout", base / "photos", "--detector", "tiny-box, nano-clock", "--sample", 6)
    done = closeup(*both)
    assert re.search(
        r"^detector: parent +>= 0.05.*\ntiny-box: thing +100", done.stdout, re.MULTILINE
    )
    assert "--parent thing" in done.stdout
    compared = json.loads(closeup(*both, "--json").stdout)["detectors"]
    assert compared.keys() == {"tiny-box", "nano-clock"}
    assert compared["tiny-box"].keys() == value.keys()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_with_a_word_and_without_a_traceback(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "closeup", "demo", "--out", tmp_path / "d"],
        stderr=subprocess.PIPE, text=True,
        # A background job would ignore Ctrl-C, and its children with it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )  # fmt: skip
    assert process.stderr is not None
    assert "200 photos" in process.stderr.readline()
    while not any((tmp_path / "d" / "watches").glob("crops/*/*.jpg")):
        assert process.poll() is None
        time.sleep(0.01)  # libraries turn a Ctrl-C in the middle of their import into other errors
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    # Python ends by the signal itself where Ctrl-C met code made from a string (a dataclass).
    assert process.returncode in (130, -signal.SIGINT)
    assert "interrupted" in said
    assert "Traceback" not in said


def test_models_list_shows_what_is_there(base: Path) -> None:
    done = closeup("models", "list")
    assert "tiny-box" in done.stdout
    assert "tiny-pool" in done.stdout


def test_models_list_as_json(base: Path) -> None:
    said = json.loads(closeup("models", "list", "--json").stdout)
    assert {"tiny-box", "nano-clock"} <= {card["name"] for card in said["installed"]}
    assert said["available"]["dinov2-s"] == "backbone"
    rows = {row["name"]: row for row in said["catalogue"]}
    assert not rows["d-fine-n"]["needs_torch"]
    assert rows["mobilenetv2"]["needs_torch"]
    assert rows["convnextv2-nano"]["commercial"] is False


def test_models_list_tells_a_newcomer_what_matters(base: Path) -> None:
    said = closeup("models", "list").stdout
    lines = {line.split()[0]: line for line in said.splitlines() if line.split()}
    assert "pull" in lines["d-fine-n"]
    assert "Apache-2.0" in lines["d-fine-n"]
    assert "1x" in lines["dinov2-s"]
    assert "PyTorch" in lines["mobilenetv2"]
    assert "!CC-BY-NC-4.0" in lines["convnextv2-nano"]
    assert "here" in lines["tiny-box"]
    assert _about("tiny-pool", "Pools. Tiny.") == "Pools"
    assert _about("a@cov+b@cov-320+a", "Pools.") == "made from a, b by a run"


def test_models_remove(base: Path) -> None:
    done = closeup("models", "remove", "nano-clock")
    assert done.returncode == 2
    assert "comes with the package and stays" in done.stderr
    done = closeup("models", "remove", "no-such-net")
    assert done.returncode == 2
    assert "no network called no-such-net" in done.stderr


def test_doctor_finds_its_way(base: Path) -> None:
    done = closeup("doctor")
    assert done.returncode == 0
    assert "openvino" in done.stdout.lower()


def test_the_cli_reference_is_true() -> None:
    done = subprocess.run(
        [sys.executable, "tools/cli_reference.py", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
