"""Imports run one way, PyTorch stays out of the way, and files stay small."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "closeup"
FILES = sorted(PACKAGE.rglob("*.py"))


def documented_order() -> list[str]:
    """The modules in import order, as docs/architecture.md lists them."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf8")
    return re.findall(r"^\| `([a-z_]+)/?` \|", text, flags=re.MULTILINE)


def stage_of(file: Path) -> str:
    """The module or folder directly below the package; "" for the package itself."""
    first = file.relative_to(PACKAGE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def imported_stages(tree: ast.AST) -> Iterator[str]:
    """The stages that a file imports, whether at its top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "closeup":
            names = [f"closeup.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            first = rest.split(".")[0]
            if (
                top == "closeup"
                and first
                and any((PACKAGE / n).exists() for n in (first, f"{first}.py"))
            ):
                yield first


def test_every_module_is_documented() -> None:
    stages = {stage_of(file) for file in FILES} - {""}
    assert stages == set(documented_order())


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_run_one_way(file: Path) -> None:
    order = documented_order()
    mine = stage_of(file)
    if not mine:
        return  # the package's own names are looked up when first used
    above = set(order[: order.index(mine) + 1])
    below = set(imported_stages(ast.parse(file.read_text(encoding="utf8")))) - above
    assert not below, f"{file} imports from {sorted(below)}, which stand below it"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_files_stay_small_and_say_what_they_are(file: Path) -> None:
    text = file.read_text(encoding="utf8")
    assert len(text.splitlines()) <= 400
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    broad = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or getattr(node.type, "id", "") in {"Exception", "BaseException"})
    ]
    assert not broad, f"broad except at lines {broad}"


BLOCK_TORCH = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "timm", "transformers", "onnx"}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
"""


def run_without_torch(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCK_TORCH + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_module_imports_without_torch() -> None:
    names = [
        ".".join(("closeup", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
            ".__init__"
        )
        for file in FILES
    ]
    run_without_torch(
        "import importlib\n" + "".join(f"importlib.import_module({n!r})\n" for n in names)
    )


def test_import_is_light() -> None:
    run_without_torch(
        "import closeup\n"
        "heavy = {'numpy', 'PIL', 'sklearn', 'openvino', 'onnxruntime', 'pyarrow', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )


def test_public_names_resolve() -> None:
    import closeup

    for name in closeup.__all__:
        assert getattr(closeup, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = closeup.nonsense  # type: ignore[attr-defined]


def test_no_public_name_is_a_module() -> None:
    import closeup

    # Importing such a module would put itself in the function's place.
    assert not [n for n in closeup.__all__ if (PACKAGE / f"{n}.py").exists()]
