"""A disk that fails for a while, for every process that has this folder on its PYTHONPATH.

``CLOSEUP_TEST_DISK`` is ``SWITCH:FOLDER:…``. While the file SWITCH exists, whatever is opened or
renamed below a FOLDER fails: reading with EIO, writing with EIO and ENOSPC in turn.
"""

import errno
import itertools
import os
import sys
from pathlib import Path

_SWITCH, *_FOLDERS = os.environ.get("CLOSEUP_TEST_DISK", "").split(":")
_CODES = itertools.cycle((errno.EIO, errno.ENOSPC))


def _fail(event: str, args: tuple[object, ...]) -> None:
    if event not in ("open", "os.rename"):
        return
    path = args[0]
    if isinstance(path, str) and path.startswith(tuple(_FOLDERS)) and Path(_SWITCH).exists():
        mode = args[1] if event == "open" else "w"
        reads = isinstance(mode, str) and mode.startswith("r")
        code = errno.EIO if reads else next(_CODES)
        raise OSError(code, os.strerror(code), path)


if _FOLDERS:
    sys.addaudithook(_fail)
