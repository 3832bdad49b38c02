"""The map of the house, and what notebooks import: ``from helpers import PerfOutput, wall_clock, …``.

An event's road goes from the kernel to a picture, and each room is a part of it.

collect: from the kernel to a DataFrame
    trace_pipe      `TracePipe`: the lines that bpf_trace_printk() writes
    perf_output     `PerfOutput`: perf buffers, a ring for each CPU
    ring_buffer     `RingBuffer`: the BPF ring buffer, one for all CPUs
    collection      what these three share: beginning and end, the thread that reads, the progress bar, loss said aloud
    maps            `read_map`: any BPF map, read as a whole
    stacks          `fold_stacks`: stack ids to names, and folded stacks
    records         the bytes of a perf buffer or a ring buffer, record by record
    columns         events as they come, to columns of a DataFrame
    clocks          `wall_clock`: from nanoseconds since boot to the time of day
    interrupts      what ■ does, and when it has to wait
    tracefs         where the kernel's trace files are
    functions       `kernel_functions`: where a kprobe can be put
    bcc_internals   what is asked of BCC beyond its documented interface; `detach_all`
    refusals        what the kernel or clang says of a program that it refuses, in full
draw: from a DataFrame to a picture
    plots           timeline, rate, counts, gaps, latency, log2_histogram, heatmap, flame_graph,
                    gantt, losses, arrival, live
    live            a picture that follows events while they come
    log2            what a BPF program counted by powers of two
    heatmap         how long things took, and when
    flame_graph     where time went, stack upon stack
    gantt           what lasted from when to when
    histograms      bins on a log axis, percentiles
    style           what all plots look like: colours, fonts, Axes
    values          columns, times and groups found in a frame; numbers and units in words
    road            `road`: the picture of an event's road
    listing         `show_c`: C with its lines numbered
    display         what a notebook shows in colour, and a terminal as plain text
course: what only a lesson needs
    exercises       `exercise`: checks an answer, and says what is missing
    explain         `explain`: a refusal in words, beside the line of C
    verdicts        what was refused: eight kinds, and a sentence for each
    verifier        the verifier's log, taken apart
    c_lines         from the log's lines of C to those of the learner
    workloads       `run`, `run_sync`, `start`: processes that make system calls
    child           such a process: forked, under its name, on its CPU, at its rate
    cable           `cable`: two computers and a cable between them, gone after the block whatever happens
    packets         `udp_frame`, `transmit`, `attach_tc`: packets by the million, and programs in their way
lab: where a notebook's Python runs, this machine or a small virtual machine; `python -m helpers.lab`
    setup           what `make` does first, what can be done side by side
    debian          Debian's packages, by the groups of binder/apt.txt, and how they get here
    requirements    Python's packages, by the locks in binder/requirements
    machine         `report`: what this machine can trace, and what to do about each "no"
    choose          this machine or the virtual one: the choice
    image           the virtual machine's disk: its Debian release, what is in it (init.sh is the first to run)
    precompile      headers compiled once, in the image; libbcc.c uses them, so that each `BPF(…)` is quick
    template        booted once, Python warm, frozen; how long that may take
    vm              one QEMU process, thawed from the template: a notebook's, or a command's
    guest           what runs inside, as the notebook's kernel
    kernel          what Jupyter starts for a notebook, here
    session         one use of the virtual machine, from thaw to end
    serve           JupyterLab, its settings and its end
    student         what a class's JupyterHub starts for each student
    sockets         a kernel's channels, closed to the others in a class
    cache           where everything built lies, and whose it is
    building        something is built by one process at a time, whole or not at all
    causes          why setting up failed, from what apt-get, mmdebstrap or pip said
language: `tr`, the helpers' words in the language of the notebook, and locale/ with the translations

Each name is loaded when it is first asked for, so that importing one never waits for the others.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "PerfOutput": "collect.perf_output",
    "RingBuffer": "collect.ring_buffer",
    "TracePipe": "collect.trace_pipe",
    "EventsLost": "collect.collection",
    "MapFull": "collect.maps",
    "read_map": "collect.maps",
    "fold_stacks": "collect.stacks",
    "wall_clock": "collect.clocks",
    "kernel_functions": "collect.functions",
    "detach_all": "collect.bcc_internals",
    "plots": "draw.plots",
    "road": "draw.road",
    "show_c": "draw.listing",
    "exercise": "course.exercises",
    "explain": "course.explain",
    "Caller": "course.workloads",
    "Calls": "course.workloads",
    "run": "course.workloads",
    "run_sync": "course.workloads",
    "start": "course.workloads",
    "sync_from_everywhere": "course.workloads",
    "cable": "course.cable",
    "attach_tc": "course.packets",
    "transmit": "course.packets",
    "udp_frame": "course.packets",
    "report": "lab.machine",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'helpers' has no attribute {name!r}; it has {', '.join(__all__)}")
    module = import_module(f"helpers.{_HOME[name]}")
    return module if name == "plots" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
