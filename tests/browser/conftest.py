"""JupyterLab as `make lab` opens it, in a real browser: Debian's Chromium, driven by Playwright."""

import contextlib
import os
import shutil

import pytest
from playwright.sync_api import sync_playwright

from helpers.lab import cache
from tests.lab.conftest import built, person, server  # noqa: F401

ARTEFACTS = cache.PROJECT / "tests/artefacts"


@contextlib.contextmanager
def chromium():
    with sync_playwright() as playwright:
        # Nothing here may look for the network: what Chromium asks of it in the background is switched off.
        quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*quiet, *sandbox])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def browser():
    with chromium() as browser:
        yield browser
