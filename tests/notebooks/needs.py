"""What each notebook needs from a kernel: python -m tests.notebooks.needs [NAME …] runs them and notes what they use.

Each program that a notebook has BCC load is looked at as the kernel gets it: its type, the helpers that its bytecode
calls, the kinds of its maps, and what it is attached to; and what a notebook asks of the kernel by our own helpers,
such as a network apart. needs.json keeps that, with the kernels on which the notebook ran to its end. Run it with
EBPF_LAB_SUITE=bookworm, too. The table of notebook 14 and the README is written anew of it.
"""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from nbclient.exceptions import CellExecutionError

FILE = Path(__file__).with_name("needs.json")

# Runs in the notebook's kernel before its first cell. Scripts that a notebook starts do what its own programs do.
RECORDER = """
def _record():
    import ctypes, functools, os, struct
    from bcc import BPF, USDT, lib
    used = {"kinds": set(), "helpers": set(), "maps": set()}

    def before(cls, name, note):
        plain = getattr(cls, name)
        @functools.wraps(plain)
        def noting(self, *arguments, **options):
            result = plain(self, *arguments, **options)
            note(self, result, arguments, options)
            return result
        setattr(cls, name, noting)

    def loaded(module, kind, name, begin, size, *more):
        result = load(module, kind, name, begin, size, *more)
        code = ctypes.string_at(begin, size) if result >= 0 else b""
        for opcode, registers, _, number in struct.iter_unpack("<BBhi", code):
            if opcode == 0x85 and registers >> 4 == 0:  # a call of a helper, by its number
                used["helpers"].add(number)
        types = {BPF.XDP: "XDP", BPF.SCHED_CLS: "tc", BPF.SCHED_ACT: "tc", BPF.SOCKET_FILTER: "socket filter"}
        if code:
            used["kinds"] |= {types[kind]} if kind in types else set()
            used["maps"] |= {lib.bpf_table_type_id(module, at) for at in range(lib.bpf_num_tables(module))}
        return result

    lib.bpf_num_tables.argtypes = [ctypes.c_void_p]  # BCC forgot it, and an address is longer than an int
    load, lib.bcc_func_load = lib.bcc_func_load, loaded
    for name, kind in {"kprobe": "kprobe", "kretprobe": "kprobe", "tracepoint": "tracepoint", "uprobe": "uprobe",
                       "uretprobe": "uprobe", "kfunc": "fentry", "kretfunc": "fentry", "perf_event": "perf event",
                       "raw_tracepoint": "raw tracepoint"}.items():
        def note(bpf, result, arguments, options, kind=kind):
            point = str(options.get("tp") or (arguments[0] if arguments else ""))
            syscalls = kind == "tracepoint" and "syscalls" in point
            used["kinds"].add("tracepoint of a system call" if syscalls else kind)
        before(BPF, f"attach_{name}", note)
    before(USDT, "enable_probe", lambda *_: used["kinds"].add("USDT"))
    return used
_used = _record()
"""
TELL = """
import json, os
print(json.dumps({name: sorted(these) for name, these in _used.items()} | {"kernel": os.uname().release}))
"""

# The Linux that first had it: BCC's docs/kernel-versions.md, which names the commit of each.
KINDS = {
    "kprobe": "4.1",
    "tc": "4.1",
    "uprobe": "4.3",
    "USDT": "4.3",
    "tracepoint": "4.7",
    "tracepoint of a system call": "4.7",
    "XDP": "4.8",
    "perf event": "4.9",
    "socket filter": "3.19",
    "raw tracepoint": "4.17",
    "fentry": "5.5",
}
OPTIONS = {
    "kprobe": ["KPROBES"],
    "uprobe": ["UPROBES"],
    "USDT": ["UPROBES"],
    "tracepoint of a system call": ["FTRACE_SYSCALLS"],
    "perf event": ["PERF_EVENTS"],
    "fentry": ["DEBUG_INFO_BTF"],
}
# What our helpers ask of it beside programs: the Linux that first had it, and its options.
BESIDE: dict[str, tuple[str, list[str]]] = {
    "cable": ("3.17", ["NET_NS", "VETH"]),  # /proc/thread-self
    "attach_tc": ("4.5", ["NET_CLS_ACT", "NET_CLS_BPF", "NET_SCH_INGRESS"]),  # clsact
    "transmit": ("5.18", []),  # BPF_F_TEST_XDP_LIVE_FRAMES
}
EVERYWHERE = ["BPF_SYSCALL", "BPF_EVENTS"]
# By number, <linux/bpf.h>: the name, and the Linux that first had it.
HELPERS = {
    1: ("map_lookup_elem", "3.19"),
    2: ("map_update_elem", "3.19"),
    3: ("map_delete_elem", "3.19"),
    4: ("probe_read", "4.1"),
    5: ("ktime_get_ns", "4.1"),
    6: ("trace_printk", "4.1"),
    7: ("get_prandom_u32", "4.1"),
    8: ("get_smp_processor_id", "4.1"),
    14: ("get_current_pid_tgid", "4.2"),
    15: ("get_current_uid_gid", "4.2"),
    16: ("get_current_comm", "4.2"),
    23: ("redirect", "4.4"),
    25: ("perf_event_output", "4.4"),
    26: ("skb_load_bytes", "4.5"),
    27: ("get_stackid", "4.6"),
    35: ("get_current_task", "4.8"),
    45: ("probe_read_str", "4.11"),
    67: ("get_stack", "4.18"),
    112: ("probe_read_user", "5.5"),
    # In its place BCC takes probe_read where there is no such helper.
    113: ("probe_read_kernel", "4.1"),
    114: ("probe_read_user_str", "5.5"),
    115: ("probe_read_kernel_str", "4.11"),
    120: ("get_ns_current_pid_tgid", "5.7"),
    130: ("ringbuf_output", "5.8"),
    131: ("ringbuf_reserve", "5.8"),
    132: ("ringbuf_submit", "5.8"),
    133: ("ringbuf_discard", "5.8"),
    134: ("ringbuf_query", "5.8"),
    158: ("get_current_task_btf", "5.11"),
}
MAPS = {1: "3.19", 2: "3.19", 3: "4.2", 4: "4.3", 5: "4.6", 6: "4.6", 7: "4.6", 9: "4.10", 10: "4.10", 27: "5.8"}


def version(text: str) -> tuple[int, ...]:
    """A version of Linux as numbers, to be compared."""
    return tuple(map(int, text.split(".")[:2]))


def oldest(used: dict[str, Any]) -> str:
    """The oldest Linux that has all that a notebook uses."""
    versions = [KINDS[kind] for kind in used["kinds"]] + [HELPERS[number][1] for number in used["helpers"]]
    versions += [MAPS[kind] for kind in used["maps"]] + [BESIDE[name][0] for name in used.get("beside", [])]
    return max(versions, key=version, default="—")


def table(needs: dict[str, Any]) -> str:
    """The table, in Markdown: a row for each notebook."""
    rows = [
        "| notebook | probes | oldest Linux | options beside `BPF_SYSCALL` and `BPF_EVENTS` | BTF | ran on |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, used in sorted(needs.items()):
        options = {option for kind in used["kinds"] for option in OPTIONS.get(kind, [])} - {"DEBUG_INFO_BTF"}
        options |= {option for name in used.get("beside", []) for option in BESIDE[name][1]}
        cells = [
            name[:2],
            ", ".join(used["kinds"]) or "none",
            oldest(used),
            ", ".join(f"`{option}`" for option in sorted(options)) or "—",
            "yes" if "fentry" in used["kinds"] else "no",
            ", ".join(sorted({".".join(kernel.split(".")[:2]) for kernel in used["kernels"]}, key=version)),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def put(text: str, new: str) -> str:
    """A text with its table in Markdown replaced by another one."""
    head = re.escape(new.partition("\n")[0])
    return re.sub(rf"^{head}\n(\|.*\n?)*", lambda _: f"{new}\n", text, flags=re.MULTILINE).rstrip("\n") + "\n"


def write(new: str) -> None:
    """Put the table into the README and into notebook 14."""
    from tests.notebooks import FOLDER, cache

    readme, [notebook] = cache.PROJECT / "README.md", FOLDER.glob("14_*.ipynb")
    readme.write_text(put(readme.read_text(), new))
    cells = nbformat.read(notebook, as_version=4)
    for cell in cells.cells:
        if new.partition("\n")[0] in cell.source:
            cell.source = put(cell.source, new).rstrip("\n")
    nbformat.write(cells, notebook)


def read() -> dict[str, Any]:
    """What is known: for the name of each notebook, what it uses."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def record(path: Path) -> dict[str, Any]:
    """Run a notebook in the lab, and return what it used.

    Raises:
        CellExecutionError: it does not run to its end there.
    """
    from tests.notebooks import opened, words_of

    notebook = nbformat.read(path, as_version=4)
    recorder, tell = (nbformat.v4.new_code_cell(code) for code in (RECORDER, TELL))
    notebook.cells = [recorder, *notebook.cells, tell]
    with opened(notebook, path.parent) as run:
        for place in range(len(notebook.cells)):
            run(place)
    used = dict(json.loads(words_of(tell)))
    # What clang compiles, BCC does not load.
    compiled = "".join(cell.source for cell in notebook.cells if re.match(r"%%writefile \S+\.bpf\.c\n", cell.source))
    called = {number for number, (name, _) in HELPERS.items() if f"bpf_{name}(" in compiled}
    code = "".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    beside = {"beside": names} if (names := sorted(name for name in BESIDE if f"{name}(" in code)) else {}
    return used | beside | {"helpers": sorted({*used["helpers"], *called})}


def main(names: Iterable[str]) -> int:
    """Run notebooks, and keep what they used."""
    from tests.notebooks import NOTEBOOKS

    failed = False
    for path in NOTEBOOKS:
        if names and path.stem[:2] not in names:
            continue
        try:
            used = record(path)
        except CellExecutionError as error:
            print(f"{path.stem}: {error}", file=sys.stderr)
            failed = True
            continue
        needs = read()
        known = needs.get(path.stem, {}).get("kernels", [])
        used["kernels"] = sorted({*known, used.pop("kernel")}, key=version)
        # On every kernel it is the same, but for what BCC itself chooses.
        print(path.stem, used, flush=True)
        needs[path.stem] = used
        FILE.write_text(json.dumps(needs, sort_keys=True).replace('}, "', '},\n "') + "\n")
    write(table(read()))
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
