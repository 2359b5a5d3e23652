"""A folder for the hub says what is true, its example runs, and it goes up and comes down again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import closeup
from closeup.core.errors import ModelError, NetworkError, UsageError
from closeup.export.hub import push, write_hub_folder
from closeup.export.model import export_model
from closeup.model.card import read_card
from closeup.model.fetch import model_at
from tests import tiny
from tests.commands import closeup as command
from tests.networks.hub_server import Hub, hub_server

REPO = "me/trees"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    return tiny.make_project(tmp_path_factory.mktemp("hub"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A local hub that takes uploads, and is the one that is asked."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-such-cache"))
    with hub_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        yield server


def parts_of(folder: Path) -> tuple[dict[str, Any], str]:
    """The metadata and the text of a model card."""
    _, head, text = (folder / "README.md").read_text(encoding="utf8").split("---\n", 2)
    return yaml.safe_load(head), text


def test_the_model_card(model: Path, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    done = export_model(model, "hub", tmp_path / "out")
    head, text = parts_of(tmp_path / "out")
    assert head["license"] == "apache-2.0"
    assert (head["library_name"], head["pipeline_tag"]) == ("closeup", "image-classification")
    assert head["model-index"][0]["name"] == "out"
    assert text.startswith("\n# out\n")
    card = read_card(model)
    scores = card.scores
    measured = {
        row["name"]: row["value"] for row in head["model-index"][0]["results"][0]["metrics"]
    }
    assert measured == {
        "accuracy": round(scores["accuracy"]["value"], 4),
        "macro-F1": round(scores["macro_f1"]["value"], 4),
        "macro-F1, end to end": round(scores["macro_f1_end_to_end"]["value"], 4),
    }
    one = scores["macro_f1_end_to_end"]
    assert scores["n_end_to_end"]
    row = (f"| macro-F1, end to end | {one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f}) | "
           f"{scores['n_end_to_end']} |")  # fmt: skip
    assert row in text
    for name in ("tiny-box", "tiny-pool"):
        assert re.search(rf"\| {name} \| Apache-2.0 \|", text)
    # The hub's own reader, which insists on what the hub does.
    assert ModelCard.load(tmp_path / "out" / "README.md").data.eval_results
    # And it is a model folder still.
    for name in ("model.json", *card.files):
        assert (tmp_path / "out" / name).read_bytes() == (model / name).read_bytes()
    assert set(done.files) == {"README.md", "model.json", *card.files}


def test_the_example_runs(model: Path, tmp_path: Path) -> None:
    export_model(model, "hub", tmp_path / "out")
    _, text = parts_of(tmp_path / "out")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    photo = next((model.parent.parent / "photos" / "ash").glob("1.png"))
    (tmp_path / "out" / "photo.jpg").write_bytes(photo.read_bytes())
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "out", check=False,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    (answer,) = closeup.load(model).predict(photo).objects
    assert done.stdout.split()[0] == answer.label


@pytest.mark.parametrize(
    ("licences", "wanted"),
    [
        (("MIT", "MIT"), "mit"),
        (("MIT", "Apache-2.0"), "other"),
        (("unknown", "unknown"), "unknown"),
        (("OpenRAIL-X", "OpenRAIL-X"), "other"),
        (("MIT", "MIT; CC-BY-NC-4.0"), "other"),
    ],
)
def test_the_licence(model: Path, tmp_path: Path, licences: tuple[str, str], wanted: str) -> None:
    import shutil

    copy = Path(shutil.copytree(model, tmp_path / "model"))
    for part, licence in zip(("detector", "backbone"), licences, strict=True):
        file = copy / part / "card.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "licence": licence}))
    (tmp_path / "out").mkdir()
    write_hub_folder(copy, read_card(copy), tmp_path / "out", "x")
    head, text = parts_of(tmp_path / "out")
    assert head["license"] == wanted
    assert ("license_name" in head) == (wanted == "other")
    for licence in licences:
        assert f"| {licence} |" in text


def test_a_card_with_odd_labels_and_without_scores(model: Path, tmp_path: Path) -> None:
    names = ("a|b", "<script>", "x\n# y")
    for scores in ({}, {"accuracy": 0.5}):
        card = read_card(model).model_copy(update={"labels": names, "scores": scores})
        out = tmp_path / f"out{len(scores)}"
        out.mkdir()
        write_hub_folder(model, card, out, "x")
        head, text = parts_of(out)
        assert "model-index" not in head
        assert "a\\|b, &lt;script&gt;, x \\# y\n" in text
        assert "<script>" not in text


def test_a_push_is_a_dry_run_first(model: Path, tmp_path: Path, hub: Hub) -> None:
    out = tmp_path / "out"
    done = command("export", model, out, "--to", "hub", "--push", REPO)
    assert done.returncode == 0, done.stderr
    assert f"nothing was uploaded; --yes uploads these to {REPO}" in done.stderr
    assert "  backbone/graph.onnx  " in done.stderr
    assert (hub.asked, hub.files) == ([], {})
    readme = out / "README.md"
    readme.write_text(readme.read_text().replace("# trees\n", "# Trees of our street\n"))
    (out / ".DS_Store").write_bytes(b"x")

    done = command("export", model, out, "--to", "hub", "--push", REPO, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["pushed"] == f"{hub.url}/{REPO}/commit/{'c' * 40}"
    assert hub.made == {REPO: True}  # private
    held = {name.removeprefix(f"{REPO}/resolve/main/"): data for name, data in hub.files.items()}
    assert held.keys() == told["files"].keys() == {"README.md", "model.json",
                                                   *read_card(model).files}  # fmt: skip
    assert b"# Trees of our street\n" in held["README.md"]
    assert all(data == (out / name).read_bytes() for name, data in held.items())
    assert set(hub.tokens) == {"Bearer hf_secret"}


def test_what_was_pushed_can_be_loaded(
    model: Path, tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command("export", model, tmp_path / "out", "--to", "hub", "--push", REPO, "--yes")
    assert done.returncode == 0, done.stderr
    assert f"uploaded: {hub.url}/{REPO}/commit/" in done.stdout
    photo = next((model.parent.parent / "photos" / "ash").glob("1.png"))
    wanted = closeup.load(model).predict(photo)
    assert closeup.load(f"hf:{REPO}").predict(photo) == wanted
    _, text = parts_of(tmp_path / "out")
    assert f'closeup.load("hf:{REPO}")' in text
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert closeup.load(f"hf:{REPO}").predict(photo) == wanted


def test_a_newer_model_on_the_hub_is_fetched(model: Path, tmp_path: Path, hub: Hub) -> None:
    import hashlib
    import shutil

    hub.publish(REPO, model)
    older = closeup.load(f"hf:{REPO}").card
    copy = Path(shutil.copytree(model, tmp_path / "model"))
    told = json.loads((copy / "model.json").read_text())
    (copy / "references.json").write_bytes((copy / "references.json").read_bytes() + b"\n")
    told["files"]["references.json"] = hashlib.sha256(
        (copy / "references.json").read_bytes()
    ).hexdigest()
    (copy / "model.json").write_text(json.dumps({**told, "key": "newer"}))
    hub.publish(REPO, copy)
    newer = closeup.load(f"hf:{REPO}").card
    assert (older.key, newer.key) == (told["key"], "newer")


def test_another_model_or_a_damaged_one_is_not_pushed(
    model: Path, tmp_path: Path, hub: Hub
) -> None:
    out = tmp_path / "out"
    export_model(model, "hub", out)
    told = json.loads((out / "model.json").read_text())
    (out / "head.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match="has changed"):
        export_model(model, "hub", out, repo=REPO)
    (out / "model.json").write_text(json.dumps({**told, "key": "another"}))
    with pytest.raises(UsageError, match="is not empty"):
        export_model(model, "hub", out, repo=REPO)
    assert hub.files == {}


def test_a_hub_that_refuses(model: Path, tmp_path: Path, hub: Hub) -> None:
    hub.private[REPO] = 403
    export_model(model, "hub", tmp_path / "out")
    with pytest.raises(NetworkError, match=f"{REPO} was not uploaded: .*hf auth login"):
        push(tmp_path / "out", REPO)
    assert hub.files == {}


def test_names_that_lead_out_of_the_cache_are_refused(model: Path, hub: Hub) -> None:
    told = json.loads((model / "model.json").read_text())
    told["files"]["../../../evil"] = "0" * 64
    hub.files = {f"{REPO}/resolve/main/model.json": json.dumps(told).encode()}
    with pytest.raises(ModelError, match="outside the folder"):
        model_at(f"hf:{REPO}")
    assert len(hub.asked) <= 2
    for name in ("hf:me", "hf:me/a/b", "hf:../../x", "hf:me/.."):
        with pytest.raises(UsageError, match="expected hf:OWNER/NAME"):
            model_at(name)
