"""JupyterLab as `make lab` opens it, in a real browser."""

import pytest

from tests.browser.chromium import chromium
from tests.lab.person import built, person, server

__all__ = ["browser", "built", "person", "server"]


@pytest.fixture(scope="session")
def browser():
    with chromium() as browser:
        yield browser
