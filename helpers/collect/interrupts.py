"""■ at an awkward moment: it waits until the moment has passed.

Python calls the handler of SIGINT (signal(7)) between any two steps of its main thread: also before the first line of an
``__exit__``, where no ``try`` can help, and in the middle of starting a thread.
"""

import signal
import sys
import threading


class Patience:
    """From now on SIGINT waits while one of some functions runs, and does elsewhere what it did before.

    It lasts until ``end()``. Outside the main thread, and where nothing in Python hears SIGINT, it does nothing.
    """

    # And still to come through: one for all, because each stands in for the one before; ■ is the main thread's.
    pressed = False

    def __init__(self, *functions):
        self._codes = {function.__code__ for function in functions}
        now = signal.getsignal(signal.SIGINT)
        if isinstance(now, Patience):
            self._before = now._before
        else:
            self._before = now
            if callable(now) and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, self)

    def __call__(self, number, frame):
        caller = frame
        while caller and caller.f_code not in self._codes:
            caller = caller.f_back
        if caller:
            Patience.pressed = True
        else:
            self._before(number, frame)

    def let_through(self):
        """Now is a good moment for an interrupt that waits."""
        if Patience.pressed and threading.current_thread() is threading.main_thread():
            Patience.pressed = False
            self._before(signal.SIGINT, sys._getframe())

    def end(self):
        """Let it through, and no other one wait."""
        if signal.getsignal(signal.SIGINT) is self:
            signal.signal(signal.SIGINT, self._before)
        self.let_through()
