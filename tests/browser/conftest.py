"""JupyterLab as `make lab` opens it, in a real browser: Debian's Chromium, driven by Playwright."""

import os
import shutil

import pytest
from playwright.sync_api import sync_playwright

from helpers.lab import cache
from tests.lab.conftest import built, person, server  # noqa: F401

ARTEFACTS = cache.PROJECT / "tests/artefacts"


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        # Nothing here may look for the network: what Chromium asks of it in the background is switched off.
        quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*quiet, *sandbox])
        yield chromium
        chromium.close()
