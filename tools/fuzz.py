"""Look for files that break a reader, guided by the code that they reach (with atheris).

    python -m tools.fuzz READER [--seconds 60]        # one of those of tests/fuzz/readers.py
    python -m tools.fuzz --list

Ends with 0 where nothing but Closeup's own errors came out, else shows the error and writes the
file that led to it. Needs ``pip install -e '.[fuzz]'``.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path


def fuzz(name: str, seconds: int, size: int) -> None:
    """Fuzz one reader; the process ends here."""
    try:
        import atheris
    except ModuleNotFoundError:
        sys.exit("atheris is not installed: pip install -e '.[fuzz]' (Linux and macOS only)")
    with atheris.instrument_imports(include=["closeup", "tests.fuzz"]):
        from closeup.core.errors import CloseupError
        from tests.fuzz.readers import readers
    reader = next((one for one in readers() if one.name == name), None)
    if reader is None:
        sys.exit(f"there is no reader {name}: {', '.join(one.name for one in readers())}")

    with tempfile.TemporaryDirectory() as work:
        corpus = Path(work) / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(reader.seeds):
            (corpus / str(number)).write_bytes(seed)

        def one(data: bytes) -> None:
            fresh = tempfile.TemporaryDirectory(dir=work)
            with fresh as folder, contextlib.suppress(CloseupError):
                reader.read(Path(folder), data)

        words = [
            sys.argv[0], f"-max_total_time={seconds}", f"-max_len={size}", "-timeout=20",
            "-rss_limit_mb=2500", "-verbosity=0", "-print_final_stats=0",
            f"-artifact_prefix={name}-", str(corpus),
        ]  # fmt: skip
        atheris.Setup(words, one)
        atheris.Fuzz()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("reader", nargs="?")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--size", type=int, default=20_000, help="bytes of a file, at most")
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args()
    if given.list:
        from tests.fuzz.readers import readers

        print(*(reader.name for reader in readers()), sep="\n")
        return
    if given.reader is None:
        parser.error("name a reader, or --list them")
    fuzz(given.reader, given.seconds, given.size)


if __name__ == "__main__":
    main()
