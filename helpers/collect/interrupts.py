"""■ at an awkward moment: it waits until the moment has passed.

Python calls the handler of SIGINT (signal(7)) between any two steps of its main thread: also before the first line of
an ``__exit__``, where no ``try`` can help, and in the middle of starting a thread.
"""

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class DeferredInterrupt:
    """From now on SIGINT is deferred while one of some functions runs, and does elsewhere what it did before.

    It lasts until `end`. Outside the main thread, and where nothing in Python hears SIGINT, it does nothing.
    """

    # Still to be delivered: one for all, because each stands in for the one before; ■ is the main thread's.
    pending = False

    def __init__(self, *functions: Callable[..., Any]) -> None:
        self._codes = {function.__code__ for function in functions}
        handler = signal.getsignal(signal.SIGINT)
        if isinstance(handler, DeferredInterrupt):
            handler._codes |= self._codes  # it stands in for this one, too, in a block within its own
        self._before: Any = handler._before if isinstance(handler, DeferredInterrupt) else handler
        if handler is self._before and callable(handler) and _in_main_thread():
            signal.signal(signal.SIGINT, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGINT (a signal's number), which came while ``frame`` ran."""
        caller = frame
        while caller and caller.f_code not in self._codes:
            caller = caller.f_back
        if caller:
            DeferredInterrupt.pending = True
        else:
            self._before(number, frame)

    def deliver(self) -> None:
        """Now is a good moment for an interrupt that was deferred."""
        if DeferredInterrupt.pending and _in_main_thread():
            DeferredInterrupt.pending = False
            self._before(signal.SIGINT, sys._getframe())

    def end(self) -> None:
        """Deliver it, and defer no other one."""
        handler: Any = signal.getsignal(signal.SIGINT)
        if handler is self:
            signal.signal(signal.SIGINT, self._before)
        self.deliver()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
