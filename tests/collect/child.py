"""``python -m tests.collect.child LIST PHOTOS``: collect from a farm of another process."""

import signal
import sys
from pathlib import Path

from closeup.collect.collecting import gather
from closeup.collect.lists import read_addresses
from tests.collect.test_farm import access

if __name__ == "__main__":
    # A shell starts what runs in the background with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gather(read_addresses(Path(sys.argv[1])), Path(sys.argv[2]), access())
