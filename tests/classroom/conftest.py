"""What the classroom's tests ask pytest for."""

from tests.classroom.school import school
from tests.lab.person import built

__all__ = ["built", "school"]
