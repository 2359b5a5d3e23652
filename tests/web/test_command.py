"""The command itself, and the steps of the Dockerfile as far as they go without docker."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import httpx2
import pytest
from hatchling.builders.wheel import WheelBuilder
from threadpoolctl import threadpool_info
from typer.testing import CliRunner

from closeup.cli.app import app
from closeup.cli.serve import name_of
from closeup.core.errors import ModelError, UsageError

ROOT = Path(__file__).resolve().parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf8").replace("\\\n", " ")


def steps(word: str) -> list[str]:
    return re.findall(rf"^{word} (.*)$", DOCKERFILE, flags=re.MULTILINE)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_and_ends_well(
    folder: Path, photo: Path, how: signal.Signals
) -> None:
    command = [sys.executable, "-m", "closeup", "serve", str(folder / "out" / "model"),
               "--port", "0"]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.fullmatch(
            r"out answers at (http://127\.0\.0\.1:\d+) \(press Ctrl-C to stop\)\n", line
        )
        assert found, line + process.stderr.read()
        answer = httpx2.post(f"{found[1]}/predict", files={"photo": ("a", photo.read_bytes())})
        assert answer.json()["found"]
        process.send_signal(how)
        assert process.wait(30) == 0
        rest = process.stderr.read()
        assert re.fullmatch(
            r"[^\n]*test photos[^\n]* similar training close-ups; --no-examples [^\n]*\n"
            r"[^\n]* kept in \S+/out/corrected [^\n]*; --no-corrections [^\n]*\n",
            rest,
        ), rest


def test_while_it_serves_linear_algebra_leaves_the_processors_to_the_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from closeup.web import run

    seen: list[int] = []

    def instead(*_: object, **__: object) -> None:
        seen.extend(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")

    monkeypatch.setattr(run, "serve_app", instead)
    done = CliRunner().invoke(app, ["serve", str(folder / "out" / "model"), "--port", "0"])
    assert done.exit_code == 0, done.output
    assert 1 in seen


def test_wrong_calls_are_told_before_anything_is_served(folder: Path, tmp_path: Path) -> None:
    model = str(folder / "out" / "model")
    environment = {"CLOSEUP_TOKEN": ""}
    for arguments, error in (
        ([model, "--host", "0.0.0.0"], UsageError),
        ([model, "--token", "short"], UsageError),
        ([str(tmp_path)], ModelError),
        ([model, "--host", "no.such.host.invalid", "--token", "x" * 16, "--port", "0"], UsageError),
    ):
        done = CliRunner(env=environment).invoke(app, ["serve", *arguments])
        assert isinstance(done.exception, error), done.output


def test_without_its_packages_it_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name.startswith("closeup.web") or name == "uvicorn":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = CliRunner().invoke(app, ["serve", str(folder / "out" / "model")])
    assert isinstance(done.exception, UsageError)
    assert "pip install -e '.[serve]'" in str(done.exception)


def test_a_model_is_called_by_its_project() -> None:
    assert name_of(Path("watches/model")) == "watches"
    assert name_of(Path("watches/best")) == "best"
    assert name_of(Path("/")) == "model"


def test_the_image_is_built_from_files_that_are_there() -> None:
    let_in = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")
    }
    copied = [name for step in steps("COPY") if "--from" not in step
              for name in shlex.split(step)[:-1]]  # fmt: skip
    assert copied
    assert set(copied) == let_in
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_installs_what_serving_needs_and_no_pytorch() -> None:
    (install,) = [step for step in steps("RUN") if "pip install" in step]
    extra = re.search(r"'\.\[(\w+)\]'", install)
    assert extra
    facts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = facts["dependencies"] + facts["optional-dependencies"][extra[1]]
    names = {re.split(r"[<>=\[]", one)[0] for one in needed}
    assert {"fastapi", "uvicorn", "jinja2", "python-multipart", "prometheus-client"} <= names
    assert not {"torch", "torchvision", "timm"} & names
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().split()}
    assert {name.lower().replace("_", "-") for name in names} <= {
        name.lower().replace("_", "-") for name in pinned
    }


def test_the_image_runs_as_nobody_special_and_looks_after_itself() -> None:
    (user,) = steps("USER")
    assert user != "root"
    assert any("useradd" in step and step.endswith(user) for step in steps("RUN"))
    (check,) = re.findall(r"^HEALTHCHECK .*?CMD \[(.*)\]$", DOCKERFILE, flags=re.MULTILINE)
    (entry,) = steps("ENTRYPOINT")
    assert "/healthz" in check
    assert "/model" in entry
    port = re.search(r'"--port", "(\d+)"', entry)
    assert port
    assert steps("EXPOSE") == [port[1]]
    assert f":{port[1]}/healthz" in check
    compile(shlex.split(check.replace('", "', '" "'))[-1], "healthcheck", "exec")


def test_the_entry_point_wants_a_token(folder: Path) -> None:
    (entry,) = steps("ENTRYPOINT")
    model = str(folder / "out" / "model")
    words = [model if word == "/model" else word for word in re.findall(r'"([^"]*)"', entry)]
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, check=False,
        env=os.environ | {"CLOSEUP_TOKEN": ""},
    )  # fmt: skip
    assert done.returncode == 2
    assert "CLOSEUP_TOKEN" in done.stderr


def test_the_wheel_holds_pages_and_static_files(tmp_path: Path) -> None:
    builder = WheelBuilder(str(ROOT))
    (wheel,) = builder.build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as built:
        held = set(built.namelist())
    web = ROOT / "src" / "closeup" / "web"
    shown = [f for f in web.rglob("*") if f.suffix in {".html", ".css", ".js", ".svg"}]
    assert len(shown) >= 8
    assert {f.relative_to(ROOT / "src").as_posix() for f in shown} <= held
