"""What the tests of faults print at their end: each fault tried, and what happened, in numbers measured in the test."""

import os

import pytest

HAPPENED = pytest.StashKey[list]()

# How often a test repeats what can go wrong at many moments; with patience, `REPEATS=1000 make test`.
REPEATS = int(os.environ.get("REPEATS", 10))


def pytest_configure(config):
    config.stash[HAPPENED] = []


@pytest.fixture
def happened(request):
    """A function that notes a fault and what happened; a test calls it last, when all that it says has been checked."""
    return lambda fault, what: request.config.stash[HAPPENED].append((fault, what))


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash[HAPPENED]
    if rows:
        terminalreporter.section("faults tried, and what happened")
        width = max(len(fault) for fault, _ in rows)
        for fault, what in rows:
            terminalreporter.write_line(f"{fault:<{width}}  {what}")
