"""What the lab's tests ask pytest for."""

from tests.lab.person import built, leaves_nothing, person, server

__all__ = ["built", "leaves_nothing", "person", "server"]
