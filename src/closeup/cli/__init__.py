"""The command line: ``closeup VERB …``."""

from closeup.cli.app import main

__all__ = ["main"]
