"""Look the installed packages up in the public lists of known vulnerabilities (with pip-audit).

    python tools/audit.py

Ends with 0 where none is known of, 1 where some are, and 2 where the service could not be asked,
for nothing found is not the same as nothing there. Needs ``pip install -e '.[audit]'``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

COMMAND = ("--local", "--skip-editable", "--progress-spinner", "off", "--format", "json")
UNREACHABLE = 2


def verdict(answer: str) -> tuple[int, list[str]]:
    """The exit code, and what to print, from pip-audit's answer (``""`` where it gave none)."""
    try:
        packages: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return UNREACHABLE, ["the advisory service cannot be reached; nothing was audited"]
    asked = [one for one in packages if "skip_reason" not in one]
    if 2 * len(asked) < len(packages) or not packages:
        return UNREACHABLE, [
            f"the advisory service knows only {len(asked)} of {len(packages)} packages from here "
            "(a mirror without it?); this is no audit"
        ]
    known = [
        f"{one['name']} {one['version']}: {found['id']}, mended in "
        f"{', '.join(found.get('fix_versions', ())) or 'no version yet'}"
        for one in asked
        for found in one["vulns"]
    ]
    return (1, known) if known else (0, [f"nothing known against {len(asked)} packages"])


def main() -> int:
    """Ask, and print what was found."""
    done = subprocess.run([sys.executable, "-m", "pip_audit", *COMMAND],
                          capture_output=True, text=True, check=False)  # fmt: skip
    if "No module named pip_audit" in done.stderr:
        print("pip-audit is not installed: pip install -e '.[audit]'", file=sys.stderr)
        return UNREACHABLE
    code, lines = verdict(done.stdout)
    print(*lines, sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
