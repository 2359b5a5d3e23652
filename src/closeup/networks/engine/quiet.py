"""Import OpenVINO without its telemetry.

The package reports each import to its makers (through Google Analytics) from a process that it
forks, and keeps an identifier in the home folder for it. Where its telemetry module cannot be
imported it does without.
"""

from __future__ import annotations

import sys
from types import ModuleType


def import_openvino() -> ModuleType:
    """The module ``openvino``; nobody is told that it was imported.

    What is already imported stays as it is: in a program of the user's own, that is theirs.
    """
    telemetry = "openvino_telemetry"
    if "openvino" in sys.modules or telemetry in sys.modules:
        import openvino

        return openvino  # type: ignore[no-any-return]
    sys.modules[telemetry] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        del sys.modules[telemetry]
    return openvino  # type: ignore[no-any-return]
