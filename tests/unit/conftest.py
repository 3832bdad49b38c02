"""Plots without a screen, and none of them left open behind a test; and ■ as in a notebook."""

import signal

import matplotlib
import pytest
from matplotlib import pyplot as plt

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(autouse=True)
def interruptible():
    """A shell starts its background jobs with SIGINT ignored; a notebook's kernel never has it so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
