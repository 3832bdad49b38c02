"""The end of "I ran the cell twice": let go of every BPF object this notebook has made."""

import atexit
import gc
import sys


def detach_all():
    """Detach every BPF program that this Python process has attached; returns how many BPF objects were cleaned up.

    >>> detach_all()
    >>> bpf = BPF(text=program)          # now the only one: one sync, one event

    BCC keeps each ``BPF`` object until Python exits, even when its variable has a new value, so a program attached by
    an earlier run of a cell goes on firing beside the new one. Put this line before ``BPF(...)`` and the cell can be run
    as often as you like. Maps and tables of the old objects are gone afterwards; frames made from them stay.
    """
    if "bcc" not in sys.modules:
        return 0
    kind = sys.modules["bcc"].BPF
    # Not isinstance(): a weak proxy among them would ask what it stood for, which may be gone.
    alive = [thing for thing in gc.get_objects() if issubclass(type(thing), kind) and thing.module]
    for bpf in alive:
        tables = {id(table): table for table in bpf.tables.values()}
        for table, cpu in [key for key in bpf.perf_buffers if key[0] in tables]:
            del tables[table][cpu]  # BCC does it when the table goes, and stumbles when its map has gone before
        bpf.cleanup()
        atexit.unregister(bpf.cleanup)
    return len(alive)
