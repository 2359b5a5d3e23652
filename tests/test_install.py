"""The install lines of README and docs work as written, in a clone of the repository."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = [*(ROOT / "src").rglob("*.py"), *(ROOT / "tools").rglob("*.py"), *PAGES]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"][
    "optional-dependencies"
]
FACTS = """
import closeup, importlib.metadata as metadata, json, pathlib
print(json.dumps({
    "version": closeup.__version__,
    "file": str(pathlib.Path(closeup.__file__).resolve()),
    "installed": metadata.version("closeup"),
    "extras": metadata.metadata("closeup").get_all("Provides-Extra"),
}))
"""


def install_lines() -> list[str]:
    """Each line of a page's code that installs something, without its comment."""
    found = set()
    for page in PAGES:
        for block in re.findall(
            r"^```\w*\n(.*?)^```", page.read_text(encoding="utf8"), re.M | re.S
        ):
            found |= {line.partition("#")[0].strip() for line in block.splitlines()
                      if line.strip().startswith("pip install")}  # fmt: skip
    return sorted(found)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with nothing in it but pip."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    probe = pip(python, "install", "--dry-run", "--no-deps", "--retries", "0", "hatchling")
    if probe.returncode:
        pytest.skip(f"no package index can be reached: {probe.stderr.strip().splitlines()[-1]}")
    return python


def pip(python: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run pip in the clone, knowing nothing of the environment that runs the tests."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *words]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )


def test_there_are_install_lines_for_the_users_extras() -> None:
    assert {"pip install -e '.[torch]'", "pip install -e '.[serve]'"} <= set(install_lines())


def test_the_version_to_cite_is_that_of_the_package() -> None:
    from closeup._version import __version__

    text = (ROOT / "CITATION.cff").read_text(encoding="utf8")
    assert f"\nversion: {__version__}\n" in text


def test_nothing_is_said_to_be_in_an_index() -> None:
    for file in CODE:
        text = file.read_text(encoding="utf8")
        assert not re.search(r"pip install (?:-U |--upgrade )?['\"]?closeup\b", text), file
        named = re.findall(r"pip install[^\n]*? '?\.\[([a-z,]+)\]", text)
        assert {extra for names in named for extra in names.split(",")} <= EXTRAS.keys(), file


@pytest.mark.slow
@pytest.mark.parametrize("line", install_lines())
def test_an_install_line_works(fresh: Path, line: str) -> None:
    """Without the dependencies, which are gigabytes: the package, its version, its extras."""
    words = shlex.split(line)
    done = pip(fresh, *words[1:], "--no-deps")
    assert done.returncode == 0, done.stderr
    assert "does not provide the extra" not in done.stdout + done.stderr
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    said = subprocess.run([str(fresh), "-W", "error", "-c", FACTS], capture_output=True, text=True,
                          check=True, env=environment, cwd=fresh.parent)  # fmt: skip
    facts = json.loads(said.stdout)
    assert facts["version"] == facts["installed"]
    assert Path(facts["file"]).is_relative_to(ROOT / "src")
    assert set(facts["extras"]) == EXTRAS.keys()
