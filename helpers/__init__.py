"""What the notebooks import: ``from helpers import PerfOutput, wall_clock, …``.

Each name lives in the module beside it, and that module is loaded when the name is first asked for, so that importing
one helper never waits for the others (a notebook in the small virtual machine would notice).
"""

from importlib import import_module

_HOME = {
    "PerfOutput": "perf_output",
    "RingBuffer": "ring_buffer",
    "TracePipe": "trace_pipe",
    "EventsLost": "collector",
    "wall_clock": "clock",
    "detach_all": "cleanup",
    "exercise": "exercises",
    "report": "machine",
    "road": "show",
    "show_c": "show",
    "run": "workload",
    "run_sync": "workload",
    "start": "workload",
}

__all__ = list(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'helpers' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"helpers.{_HOME[name]}"), name)


def __dir__():
    return sorted(__all__)
