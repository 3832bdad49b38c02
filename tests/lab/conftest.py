"""What the lab's tests ask pytest for."""

from tests.lab.person import bcc_tools, built, leaves_nothing, person, server

__all__ = ["bcc_tools", "built", "leaves_nothing", "person", "server"]
