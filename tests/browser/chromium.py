"""Debian's Chromium, driven by Playwright."""

import contextlib
import os
import shutil

from playwright.sync_api import sync_playwright


@contextlib.contextmanager
def chromium():
    with sync_playwright() as playwright:
        # Nothing here may look for the network: what Chromium asks of it in the background is switched off.
        quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*quiet, *sandbox])
        yield browser
        browser.close()
