"""One tiny network with PyTorch weights for all of these tests: converting it takes a second."""

from __future__ import annotations

import pytest

from closeup.networks import Network
from tests.learn.finetune.parts import make_network


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """In a cache of its own, which nothing may be written into."""
    folder = tmp_path_factory.mktemp("networks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOSEUP_CACHE", str(folder))
        return make_network(folder)
