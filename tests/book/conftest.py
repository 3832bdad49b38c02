"""The book, made once, and opened from its files in Chromium with no network."""

import subprocess
import sys

import pytest

from helpers.lab import cache
from tests.browser.chromium import chromium


@pytest.fixture(scope="session")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def book(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "book"
    subprocess.run([sys.executable, cache.PROJECT / "binder/book/build.py", path], check=True, timeout=120)
    return path


@pytest.fixture
def visit(browser, book):
    """A function that opens a page of the book. No page may ask for anything but files, or complain."""
    contexts, wrong = [], []

    def visit(name, width=1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 844}, offline=True, **options)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or wrong.append(request.url))
        # What a page that is left was still loading is aborted, and a picture that is not there is not found.
        page.on("requestfailed", lambda it: it.failure == "net::ERR_ABORTED" or wrong.append(f"{it.url}: {it.failure}"))
        page.on("pageerror", lambda error: wrong.append(f"{name}: {error}"))
        page.on("console", lambda said: said.type in ("error", "warning") and wrong.append(f"{name}: {said.text}"))
        page.goto((book / name).as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not wrong
