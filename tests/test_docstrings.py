"""The examples in docstrings run, and every public name has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import closeup

PACKAGE = Path(closeup.__file__).parent
FILES = sorted(file for file in PACKAGE.rglob("*.py") if ">>> " in file.read_text("utf8"))
HAVE_NONE = {
    "CloseupError": "what is raised is in the docstrings of what raises it",
    "Model": "its methods have them",
    "Prediction": "its methods have them",
    "RunResult": "its methods have them",
}
"""Public names without an example of their own, and why."""


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``closeup demo`` has run."""
    folder = tmp_path_factory.mktemp("docstrings")
    done = subprocess.run([sys.executable, "-m", "closeup", "demo"], cwd=folder, check=False,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def module_of(file: Path) -> str:
    return ".".join(("closeup", *file.relative_to(PACKAGE).with_suffix("").parts))


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_examples(file: Path, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(module_of(file).removesuffix(".__init__"))
    here = tmp_path / "here"
    shutil.copytree(demo, here)
    monkeypatch.chdir(here)
    names = {**vars(module), "closeup": closeup, "Path": Path}
    ran = 0
    for example in doctest.DocTestFinder().find(module, extraglobs=names):
        told: list[str] = []
        doctest.DocTestRunner().run(example, out=told.append)
        assert not told, "".join(told)
        ran += len(example.examples)
    assert ran, f"{file.name} has examples that are not found"


@pytest.mark.parametrize("name", sorted(set(closeup.__all__) - {"__version__"}))
def test_every_public_name_says_what_it_raises_and_shows_how_it_is_used(name: str) -> None:
    thing = getattr(closeup, name)
    text = inspect.getdoc(thing) or ""
    assert text, f"closeup.{name} has no docstring"
    if inspect.isclass(thing):
        methods = [method for key, method in vars(thing).items()
                   if inspect.isfunction(method) and not key.startswith("_")]  # fmt: skip
        assert all(inspect.getdoc(method) for method in methods)
    if name in HAVE_NONE:
        return
    assert ">>> " in text, f"closeup.{name} has no example"
    assert "Raises" in text or "is raised" in text, f"closeup.{name} does not say what it raises"
